"""What may become of a bundle's files while a process uses it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.fuzz.mutations import damage_bytes

# Each opens graphs of its own.
METHODS = ("sise", "grad-cam", "integrated-gradients:steps=2", "rise:masks=4")


def truncate(path: Path, rng: random.Random) -> None:
    """Cut the file off where it lies, as a full disk or a copy that has just begun does."""
    os.truncate(path, rng.choice((0, path.stat().st_size // 2)))


def overwrite(path: Path, rng: random.Random) -> None:
    """Write other content of the same length into it: other weights, or a damaged graph."""
    if path.suffix == ".bin":
        weights = np.fromfile(path, np.float32)[::-1]
        data = (weights * np.float32(rng.choice((-1, 0.5, np.nan)))).tobytes()
    else:
        data = damage_bytes(path.read_bytes(), rng)
    with path.open("r+b") as file:
        file.write(data)


def exchange(path: Path, rng: random.Random) -> None:
    """Put another file of the bundle in its place."""
    others = [other for other in sorted(path.parent.iterdir()) if other.is_file() and other != path]
    if others:
        shutil.copyfile(rng.choice(others), beside := path.with_name("beside"))
        os.replace(beside, path)


def delete(path: Path, rng: random.Random) -> None:
    """Remove it."""
    path.unlink()


CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (truncate, overwrite, exchange, delete)


def change_files(folder: Path, rng: random.Random) -> None:
    """Change a bundle's files where they lie: the weights always, and some others."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        if path.suffix == ".bin" or rng.random() < 0.7:
            rng.choice(CHANGES)(path, rng)


def answers(
    bundle: Path, become: Callable[[], None], refusal: tuple[type[Exception], ...] = ()
) -> dict[str, np.ndarray | None]:
    """What several methods and verify answer, where the files change after the first map.

    Args:
        bundle: the folder.
        become: changes the files.
        refusal: errors that are an answer, which is None then; others are raised.

    Returns:
        The map before, under `before`; the map of each method; what verify measures, under `verify`.
    """
    import sise_rt
    from sise_rt.running.verify import verify

    explainer = sise_rt.load(bundle, "cpu", 1)
    channels, height, width = explainer.manifest.preprocess.input_size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    given: dict[str, np.ndarray | None] = {"before": explainer.explain(picture, 0, batch_size=2).raw}
    become()
    for method in METHODS:
        with contextlib.suppress(*refusal):
            given[method] = None
            ((answer,),) = explainer.explain_methods(picture, [0], [method], batch_size=2).values()
            given[method] = getattr(answer, "raw", np.empty(0))  # no evidence has no map
    with contextlib.suppress(*refusal):
        given["verify"] = None
        given["verify"] = np.array(list(verify(explainer.engine).values()))
    return given
