"""What an explanation is saved as: its map, its record, and what is drawn of it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Collection
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .drawing.png import encode_png
from .errors import ArgumentError
from .files import make_folder, write_whole
from .foreign import refuse_foreign
from .naming import SUFFIXES, base_name
from .pictures.resizing import resize_map

if TYPE_CHECKING:
    from .explanation import Explanation

Draw = Callable[["Explanation", Any], bytes]
Protect = Callable[[Path, str, dict[str, Any]], None]

OUTPUTS = {"record": ".json", "map": ".npy", "overlay": ".png", "blocks": ".blocks.png", "report": ".html"}
"""What can be written of an explanation, and how the file's name ends: in the order of writing.

The record comes first, by which an interrupted run knows its own files.
"""
USUAL = frozenset({"map", "overlay", "record"})
"""What is written where nobody says."""
DRAWN = {"overlay", "blocks", "report"}
NONE = "none"


def outputs_of(text: str) -> frozenset[str]:
    """What is to be written, from its names with commas between: some of `OUTPUTS`, or `none`.

    Raises:
        ArgumentError: one is unknown, `none` stands beside others, or there is nothing.
    """
    names = [name.strip() for name in text.split(",")]
    if names == [NONE]:
        return frozenset()
    for name in names:
        if name == NONE:
            raise ArgumentError(f"{NONE!r} stands alone: leave out the others", settings=("outputs",))
        if name not in OUTPUTS:
            raise _unknown(name)
    return frozenset(names)


def _unknown(output: str) -> ArgumentError:
    return ArgumentError(
        f"there is no output {output!r}: choose of {', '.join(OUTPUTS)}", settings=("outputs",)
    )


def write_explanation(
    explanation: Explanation,
    folder: Path,
    picture: Any,
    stem: str | None,
    *,
    label: str,
    outputs: Collection[str],
    map_size: int | None,
    draw: Draw,
    protect: Protect = refuse_foreign,
) -> list[Path]:
    """Write an explanation; arguments, result and errors are those of `Explanation.save`.

    `protect` takes folder, base name and record, and raises where files of that name have to stay.
    """
    for output in outputs:
        if output not in OUTPUTS:
            raise _unknown(output)
    picture = explanation.picture if picture is None else picture
    if picture is None:
        if {"blocks", "report"} & {*outputs}:
            raise no_picture(explanation)
        outputs = {*outputs} - DRAWN
    if not explanation.blocks:
        outputs = {*outputs} - {"blocks"}
    base = base_name(Path(explanation.name).stem if stem is None else stem, explanation.target, label)
    shown = explanation.pixels(picture) if DRAWN & {*outputs} else None
    files = {}
    if outputs:
        protect(folder, base, explanation.record())
        make_folder((folder / base).parent, settings=("folder",))
    for output, suffix in OUTPUTS.items():
        if output in outputs:
            files[suffix] = folder / f"{base}{suffix}"
            write_whole(files[suffix], _content(output, explanation, shown, map_size, draw))
    return [files[suffix] for suffix in SUFFIXES if suffix in files]


def _content(
    output: str, explanation: Explanation, shown: np.ndarray | None, map_size: int | None, draw: Draw
) -> bytes:
    """What is written as one of `OUTPUTS`; `shown` are the picture's pixels, of which `DRAWN` are drawn."""
    match output:
        case "record":
            return record_bytes(explanation.record())
        case "map":
            return map_bytes(smaller_map(explanation.map, map_size))
        case "overlay":
            return draw(explanation, shown)
        case "blocks":
            return encode_png(explanation.strip(shown))
        case "report":
            return explanation.html(shown).encode("utf-8")
    raise AssertionError(output)


def record_bytes(record: dict[str, Any]) -> bytes:
    """A record as the file has it."""
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    # File names may hold bytes that are no UTF-8; JSON writes such a character as Python does.
    return text.encode("utf-8", "backslashreplace")


def map_bytes(map_: np.ndarray) -> bytes:
    """A map as the `.npy` file has it."""
    array = io.BytesIO()
    np.save(array, map_, allow_pickle=False)
    return array.getvalue()


def smaller_map(map_: np.ndarray, size: int | None) -> np.ndarray:
    """A map averaged over areas; what is kept of a large run's maps.

    Args:
        map_: (H, W) float32 in [0, 1].
        size: pixels of the short side; None, and a map that has no more, leave it as it is.

    Returns:
        (h, w) float32 in [0, 1], in the proportions of the map. Averages reach neither its 0 nor its 1.

    Raises:
        ArgumentError: the size is no positive number.
    """
    if size is None:
        return map_
    shape = map_.shape[0], map_.shape[1]
    wanted = smaller_size(shape, size)
    if wanted == shape:
        return map_
    return np.clip(resize_map(map_, wanted), 0, 1)  # averaging may round beyond


def smaller_size(shape: tuple[int, int], size: int | None) -> tuple[int, int]:
    """The (height, width) that `smaller_map` gives a map of such a shape; errors likewise."""
    if size is None:
        return shape
    if not (isinstance(size, Integral) and size > 0):
        raise ArgumentError(f"maps are kept 1 pixel large or more, not {size!r}", settings=("map_size",))
    scale = min(1.0, int(size) / min(shape))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def no_picture(explanation: Explanation) -> ArgumentError:
    """What is raised where an explanation is to be drawn that does not hold its picture any more."""
    return ArgumentError(
        f"the explanation of {explanation.name} does not hold its picture any more: give it as well",
        settings=("picture",),
    )
