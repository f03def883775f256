"""What stands over the picture of an explanation, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .cautions import Caution
from .drawing.framing import Caption
from .methods import METHODS, PRESETS
from .pictures.placement import Placement
from .wording import counted

if TYPE_CHECKING:
    from .explanation import Explanation

HEEDED = {
    "bundle": "the export warned of this model",
    "bit-depth-unsure": "the picture may have fewer bits than are assumed",
    "no-gradients": "no feature map was preferred to another",
    "masks-alike": "all masks score alike, so that the map shows the masks and not the model",
    "map-constant": "the map has one value everywhere",
    "sure-of-nothing": "the model is sure of nothing here, by a preprocessing that was assumed",
    "map-at-border": "much of the map lies along the border, where a network sees its own padding",
    "region-not-borne": "hiding the marked region takes hardly more confidence than hiding as much elsewhere",
    "class-ignored": "the map is the same for every class",
    "model-ignored": "the map does not depend on the model: it explains nothing",
}
"""Cautions that make a map mean something else, in the words of a caption: the worst last."""

NOTHING = "Nothing in this picture stood out."
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")  # of the ninths of a picture


def caption_of(explanation: Explanation) -> Caption:
    """The class and its confidence, whether it is the decision, where the model looked, and who says so."""
    predicted, lines = explanation.predicted, []
    decided = predicted.index == explanation.target
    if not decided:
        best = f"{class_named(predicted.label, predicted.index)}, {explanation.said(predicted.confidence)}"
        lines.append(f"The model decided for {best}.")
    if not any(warning.code == "model-ignored" for warning in explanation.warnings):
        place = strongest(explanation.map, explanation.placement)
        lines.append(NOTHING if place is None else f"What mattered most is {place}.")
    lines += heeded(explanation.warnings)
    lines.append(f"{provenance(explanation)}.")
    return titled(explanation, "Decision: " if decided else "Explained: ", lines)


def heeded(warnings: Iterable[Caution]) -> list[str]:
    """A line that tells the worst of the warnings of `HEEDED`, and how many others there are; or none."""
    codes = sorted({warning.code for warning in warnings} & HEEDED.keys(), key=list(HEEDED).index)
    if not codes:
        return []
    *others, worst = codes
    more = f" See the record: {counted(len(others), 'other warning')}." if others else ""
    return [f"Warning: {HEEDED[worst]}.{more}"]


def strongest(map_: np.ndarray, placement: Placement) -> str | None:
    """In which ninth of the picture a map is highest, as `at the top left`; None where it is 0 everywhere.

    Args:
        map_: (h, w) in [0, 1], over the model's input; of equally high places their middle counts.
        placement: of the input in the picture.
    """
    if not map_.any():
        return None
    at = [places.mean() for places in np.nonzero(map_ == map_.max())]
    row, column = (
        min(2, max(0, int(3 * (start + (place + 0.5) * extent / side) / whole)))
        for place, side, extent, start, whole in zip(
            at, map_.shape, placement.input, (placement.top, placement.left), placement.resized, strict=True
        )
    )
    return "in the middle" if (row, column) == (1, 1) else f"at the {ROWS[row]} {COLUMNS[column]}"


def titled(explanation: Explanation, before: str = "", lines: Sequence[str] = ()) -> Caption:
    """The class, which may be shortened, and behind it its number and confidence, which are not."""
    named = class_named(explanation.label, explanation.target)
    number = f" ({explanation.target})"
    value = f", {explanation.said(explanation.confidence)}"
    if named.endswith(number):
        named, value = named.removesuffix(number), number + value
    return Caption(before + named, value, tuple(lines))


def is_decision(activation: str, target: int, best: int) -> bool:
    """Whether a class is what the model decided for: of classes that are judged one by one none is."""
    return activation == "softmax" and target == best


def rests(bears: bool, named: str, *, decided: bool) -> str:
    """Whether a region bears the decision, or the confidence in a class that is none; as a main clause."""
    if decided:
        return "it bears the decision" if bears else "it does not bear the decision"
    return f"the confidence in {named} {'rests' if bears else 'does not rest'} on it"


def provenance(explanation: Explanation) -> str:
    """Model and method, as `Model cats, explained by SISE: all 487 masks scored`."""
    method, masks = explanation.method, explanation.masks
    name = METHODS[method].title if method in METHODS else method
    how = how_made(name, explanation.settings, masks, explanation.guessed, stopped=explanation.partial)
    return f"Model {explanation.model}, explained by {how}"


def how_made(name: str, settings: Mapping[str, Any], masks: int, guessed: int, *, stopped: bool) -> str:
    """How much of a method was done, as `SISE, fast: 51 of 487 masks scored, the others estimated`.

    Args:
        name: of the method, for people.
        settings: its options.
        masks: that were scored.
        guessed: masks whose confidence was predicted from that of the others.
        stopped: whether it was ended before it was done.
    """
    presets = [
        preset
        for preset, sets in PRESETS.items()
        if sets and all(settings.get(option) == value for option, value in sets.items())
    ]
    text = ", ".join([name, *presets])
    if guessed:
        text += f": {masks} of {counted(masks + guessed, 'mask')} scored, the others estimated"
    elif masks:
        every = "all " if masks > 1 and not stopped else ""
        text += f": {every}{counted(masks, 'mask')} scored"
    return f"{text}; stopped before its end" if stopped else text


def class_named(label: str, index: int) -> str:
    """A class by its label and its index, or by its index alone where it has no label."""
    return f"class {index}" if label == str(index) else f"{label} ({index})"
