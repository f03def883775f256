"""Several explanations of one picture in one drawing."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from .captions import class_named, heeded, provenance, titled
from .drawing.contrast import contrast
from .drawing.framing import Caption
from .drawing.palettes import INFERNO
from .drawing.sizes import SIZE
from .drawing.strips import strip
from .errors import ArgumentError
from .explanation import Explanation

MOST_IN_A_ROW = 6  # pictures, so that they still fit on a screen
LONG = 30  # characters of a label that stands in a question
SAME = ("name", "model", "method", "settings", "placement")


def side_by_side(explanations: Mapping[str, Explanation | None], picture: Any = None) -> np.ndarray:
    """The picture and the maps of several explanations of one target, side by side: uint8 RGB (H, W, 3).

    Of many methods it has several rows.

    Args:
        explanations: by what is written over each, None where there is none; at least one is there.
        picture: as for `Explanation.overlay`, and with its errors.
    """
    first = next(e for e in explanations.values() if e is not None)
    tiles = len(explanations) + 1
    return strip(
        first.pixels(picture),
        [(name, None if e is None else e.map) for name, e in explanations.items()],
        placement=first.placement,
        heading=first.heading(),
        columns=ceil(tiles / ceil(tiles / MOST_IN_A_ROW)),
    )


def _short(explanation: Explanation) -> str:
    """Its class, so that two of them fit into a line."""
    label, target = explanation.label, explanation.target
    return class_named(label if len(label) <= LONG else f"{label[: LONG - 1]}…", target)


def compare(
    first: Explanation,
    second: Explanation,
    picture: Any = None,
    *,
    size: int = SIZE,
    outline: float | None = 0.5,
    palette: str = INFERNO,
) -> np.ndarray:
    """Why one class and not the other: both maps on one scale, and their difference; uint8 RGB (H, W, 3).

    An explanation's `map` runs from 0 to 1 whatever there was, so two of them say nothing about which class
    had more. What is drawn is `raw`, the method's own values, with one lowest and one highest value for both
    (`sise_rt.drawing.contrast.on_one_scale`). Of SISE these tell in how many blocks a place stands out
    for a class, not how sure the model is of it: that stands over each map.

    Args:
        first: of a class.
        second: of another class of the same picture, by the same model and method.
        picture: as for `Explanation.overlay`.
        size: as for `Explanation.png`.
        outline: likewise, as a share of each map's highest value.
        palette: likewise.

    Raises:
        ArgumentError: the two do not belong together; and as `Explanation.png` does.
        ImageError: the picture cannot be read.
    """
    other = [name for name in SAME if getattr(first, name) != getattr(second, name)]
    if other or first.target == second.target:
        what = f"the same {other[0]}" if other else "two classes"
        raise ArgumentError(f"two explanations are compared that have {what}", settings=("second",))
    best = first.predicted
    decision = f"{class_named(best.label, best.index)}, {first.said(best.confidence)}"
    caption = Caption(
        f"Why {_short(first)} and not {_short(second)}?",
        lines=(
            f"The model decided for {decision}. {provenance(first)}.",
            *heeded(first.warnings + second.warnings),
        ),
    )
    return contrast(
        first.pixels(picture),
        (first.raw, second.raw),
        first.placement,
        caption,
        (titled(first), titled(second)),
        size=size,
        outline=outline,
        palette=palette,
    )
