"""A single file in Chromium, by the page in `examples/browser`: seconds, and its map against Python's.

    python -m benchmarks.browser explain.onnx picture.png [--masks 50] [--runs 3] [--threads]

The page has to be built: cd examples/browser && npm install --ignore-scripts && npm run build
The file has to be exported --single-file --with-preprocessing --required-inputs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import ClassVar

import numpy as np
from PIL import Image

from docs.chromium import Tab, installed, opened
from sise_rt.running.one_graph import open_single_file

PAGE = Path(__file__).resolve().parents[1] / "examples" / "browser"
FILES = ("index.html", "style.css", "page.js", "engine.js", "facts.js", "drawing.js", "worker.js")
ISOLATED = {  # what a browser wants for threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
BETWEEN_LOOKS = 0.2  # seconds
# The page's own modules, without its buttons; the answer stays in the window until it is fetched.
EXPLAIN = """
(async () => {{
  const {{ Engine }} = await import("./engine.js");
  const {{ pixelsOf }} = await import("./drawing.js");
  const model = new Uint8Array(await (await fetch("explain.onnx")).arrayBuffer());
  const picture = await pixelsOf(await (await fetch("picture.png")).blob());
  const engine = new Engine();
  const {{ threads }} = await engine.load(model);
  const runs = [];
  for (let run = 0; run < {runs}; run++) runs.push(await engine.explain(picture, -1, {masks}));
  const {{ map, ...found }} = runs[0];
  return {{ ...found, map: Array.from(map), logits: Array.from(found.logits), threads,
    seconds: runs.map(({{ seconds }}) => seconds) }};
}})().then((found) => (window.found = {{ found }}), (error) => (window.found = {{ error: String(error) }}))
"""


@dataclass(frozen=True)
class Found:
    """What the browser gives for a picture.

    Attributes:
        map: (H, W) float32 in [0, 1].
        target: the best class.
        confidence: in it.
        scored: how many masks were scored.
        threads: that ran the model.
        seconds: of each run, the first one with what is made at first.
    """

    map: np.ndarray
    target: int
    confidence: float
    scored: int
    threads: int
    seconds: tuple[float, ...]


def built() -> bool:
    """Whether ONNX Runtime lies beside the page."""
    return (PAGE / "ort").is_dir()


def lay_out(folder: Path, model: Path, picture: Path | None = None) -> None:
    """Copy the page into a folder, a model and a picture beside it."""
    for name in FILES:
        shutil.copy(PAGE / name, folder)
    shutil.copytree(PAGE / "ort", folder / "ort")
    shutil.copy(model, folder / "explain.onnx")
    if picture is not None:
        with Image.open(picture) as image:
            image.convert("RGB").save(folder / "picture.png")


class _Files(SimpleHTTPRequestHandler):
    more: ClassVar[dict[str, str]] = {}

    def end_headers(self) -> None:
        for name, value in self.more.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path, headers: dict[str, str] | None = None) -> Iterator[str]:
    """The address of a folder's files, as `python -m http.server` serves them, with more headers or none."""
    handler = type("Files", (_Files,), {"more": headers or {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        finally:
            server.shutdown()
            thread.join()


def explained_in(tab: Tab, masks: int, runs: int = 1) -> Found:
    """What the open page's modules give for `picture.png`; raises RuntimeError with what they say."""
    tab.run("void " + EXPLAIN.format(masks=masks, runs=runs))
    while (answer := tab.run("window.found ? JSON.stringify(window.found) : null")) is None:
        time.sleep(BETWEEN_LOOKS)
    answer = json.loads(answer)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    found = answer["found"]
    map_ = np.array(found["map"], np.float32).reshape(found["rows"], found["columns"])
    own = {name: found[name] for name in ("target", "confidence", "scored", "threads")}
    return Found(map_, seconds=tuple(found["seconds"]), **own)


def main(argv: Sequence[str] | None = None) -> None:
    """Print what is found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--masks", type=int, default=50, help="that are scored at most (default %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=3, help="of which the median is printed (default %(default)s)"
    )
    parser.add_argument(
        "--threads", action="store_true", help="send the headers with which browsers allow them"
    )
    given = parser.parse_args(argv)
    compare(given.model, given.picture, given.masks, given.runs, given.threads)


def compare(model: Path, picture: Path, masks: int, runs: int, threads: bool) -> None:
    """Run a file on a picture in Chromium and in Python."""
    program = installed()
    if program is None or not built():
        sys.exit("needs Chromium" if program is None else "build the page: see --help")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page, profile = Path(folder, "page"), Path(folder, "profile")
        page.mkdir()
        lay_out(page, model, picture)
        with served(page, ISOLATED if threads else None) as address, opened(program, profile) as tab:
            tab.open(address)
            found = explained_in(tab, masks, runs)
        pixels = np.asarray(Image.open(page / "picture.png"))
    single = open_single_file(model, threads=1)
    begin = time.perf_counter()
    own = single.explain(pixels, max_masks=masks)
    seconds = time.perf_counter() - begin
    off = np.abs(found.map - own.map)
    confidence = abs(found.confidence - own.confidence)
    print(f"{model.name}: class {found.target} ({own.target}), {found.scored} masks")
    print(f"confidence off by {confidence:.1e}, map by {off.max():.1e} at most")
    print(f"{100 * (off > 1e-3).mean():.2f} % of the map's pixels are off by more than 1e-3")
    print(f"seconds: {median(found.seconds):.1f} by {found.threads} threads, Python's by one {seconds:.1f}")


if __name__ == "__main__":
    main()
