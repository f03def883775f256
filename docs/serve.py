"""Draw `docs/serve.png`: the page of `sise-rt serve` in Chromium, with the built-in picture explained.

Usage: python docs/serve.py docs/serve.png
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from docs.chromium import installed, opened  # noqa: E402

WIDTH, HEIGHT = 1180, 900  # pixels of the window
COLOURS = 256  # which a PNG of a fifth of the size has
SERVE = [sys.executable, "-P", "-c", "from sise_rt.cli import main; main()", "serve", "--port", "0"]


@contextmanager
def served() -> Iterator[str]:
    """The address of a service with the built-in model."""
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        try:
            yield service.stdout.readline().split()[-1]
        finally:
            service.terminate()


def main(path: str) -> None:
    """Start the service, explain its example in a browser, and write what is seen."""
    program = installed()
    if program is None:
        sys.exit("needs Chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        with opened(program, Path(profile)) as tab, served() as address:
            tab.screen(WIDTH, HEIGHT)
            tab.open(address)
            tab.until("!document.getElementById('example').hidden")
            tab.click("#example")
            tab.until("document.getElementById('main').dataset.phase === 'done'")
            tab.run("document.activeElement.blur()")
            shot = Image.open(io.BytesIO(tab.picture())).convert("RGB")
    few = shot.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
