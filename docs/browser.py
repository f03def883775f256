"""Draw `docs/browser.png`: the page of `examples/browser` in Chromium, with the built-in model's own picture.

The page has to be built, and the single file made of the built-in model:
sise-rt export sise_rt/demo/surface.sise --single-file --with-preprocessing --required-inputs -o explain.onnx

Usage: python docs/browser.py explain.onnx docs/browser.png
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

from benchmarks.browser import built, lay_out, served  # noqa: E402
from docs.chromium import installed, opened  # noqa: E402

WIDTH, HEIGHT = 1060, 720  # pixels of the window
COLOURS = 256  # which a PNG of a fifth of the size has
EXAMPLE = ROOT / "sise_rt" / "demo" / "surface.png"


def main(model: str, path: str) -> None:
    """Explain the picture on the page, and write what is seen."""
    program = installed()
    if program is None or not built():
        sys.exit("needs Chromium, and a page that is built")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder, "page")
        page.mkdir()
        lay_out(page, Path(model))
        with served(page) as address, opened(program, Path(folder, "profile")) as tab:
            tab.screen(WIDTH, HEIGHT)
            tab.open(address)
            tab.until("document.getElementById('main').dataset.phase === 'ready'")
            tab.choose(EXAMPLE, "#file")
            tab.until("document.getElementById('main').dataset.phase === 'done'")
            tab.run("document.activeElement.blur()")
            shot = Image.open(io.BytesIO(tab.picture())).convert("RGB")
    few = shot.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
