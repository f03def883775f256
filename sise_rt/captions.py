"""What stands over the picture of an explanation, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .drawing.framing import Caption
from .methods import METHODS, PRESETS
from .wording import counted

if TYPE_CHECKING:
    from .explanation import Explanation


def caption_of(explanation: Explanation) -> Caption:
    """The class and its confidence, whether it is what the model decided, and how the map was made."""
    predicted, lines = explanation.predicted, [f"{provenance(explanation)}."]
    decided = predicted.index == explanation.target
    if not decided:
        best = f"{class_named(predicted.label, predicted.index)}, {explanation.said(predicted.confidence)}"
        lines.insert(0, f"The model decided for {best}.")
    if not explanation.map.any():
        lines.append("Nothing in this picture stood out.")
    return titled(explanation, "Decision: " if decided else "Explained: ", lines)


def titled(explanation: Explanation, before: str = "", lines: Sequence[str] = ()) -> Caption:
    """The class, which may be shortened, and behind it its number and confidence, which are not."""
    named = class_named(explanation.label, explanation.target)
    number = f" ({explanation.target})"
    value = f", {explanation.said(explanation.confidence)}"
    if named.endswith(number):
        named, value = named.removesuffix(number), number + value
    return Caption(before + named, value, tuple(lines))


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
