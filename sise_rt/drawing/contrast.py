"""Two classes of one picture: both maps on one scale, and their difference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sise_rt.pictures.placement import Placement

from .drawn import CROPPED, MIDDLE_GREY, hatch, importance, line_note, placed_map, placed_region
from .framing import Caption, Scale, framed, text_size
from .painting import DRAWN, overlay, overlay_difference, require_level, require_picture, takes_line
from .palettes import INFERNO
from .sizes import SIZE, drawn_size, fit_picture

WIDE = 1.4  # times as wide as high: such pictures stand one below the other

ONE_SCALE = "Both maps are on one scale, that of the method: equal colours are equal values."


def on_one_scale(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two raw maps (h, w), with one lowest and one highest value of both, in [0, 1].

    They are not stretched one by one, which would make the faintest map as strong as any. What is compared
    is the method's own value: of SISE in how many blocks a place stands out for the class, of RISE and
    Score-CAM confidences, of gradient methods logits. Where both are constant and equal both are 0.
    """
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    if high == low:
        return np.zeros_like(first), np.zeros_like(second)
    return (first - low) / (high - low), (second - low) / (high - low)


def contrast(
    picture: np.ndarray,
    raw: tuple[np.ndarray, np.ndarray],
    placement: Placement,
    caption: Caption,
    classes: tuple[Caption, Caption],
    *,
    size: int = SIZE,
    outline: float | None = 0.5,
    palette: str = INFERNO,
) -> np.ndarray:
    """What speaks for one class and what for another, and where these differ, side by side.

    Args:
        picture: uint8 RGB (H, W, 3), in any size.
        raw: the methods' maps, float (h, w) over the model's input, in any range; drawn `on_one_scale`.
        placement: of the input in the picture.
        caption: of the whole.
        classes: the classes, with their confidences.
        size: pixels that the picture's short side has at least.
        outline: the share of each map's highest value that a line goes around; None for no line.
        palette: of the two maps; the difference is purple and orange.

    Returns:
        uint8 RGB: three drawings beside each other, or below each other where the picture is wide.

    Raises:
        ArgumentError: a value is out of its range, or there is no such palette.
    """
    require_picture(picture)
    require_level(outline)
    size_drawn = drawn_size(placement.original, size, panels=3)
    fitted, text = fit_picture(picture, size_drawn), text_size(size_drawn)
    maps, placed, panels, seen = on_one_scale(*raw), [], [], np.ones(size_drawn, bool)
    for map_, named in zip(maps, classes, strict=True):
        on_picture, seen = placed_map(map_, placement, size_drawn)
        placed.append(on_picture)
        region = None
        if outline is not None and map_.any():
            region = placed_region(map_, outline * float(map_.max()), placement, size_drawn)
        painted = overlay(fitted, on_picture, seen, region=region, palette=palette, look=DRAWN)
        hatch(painted, seen, text)
        panels.append(framed(painted, named, (), text, importance(palette)))
    painted = overlay_difference(fitted, placed[0] - placed[1], seen)
    hatch(painted, seen, text)
    ends = (f"more for {named.subject}" for named in reversed(classes))
    panels.append(framed(painted, Caption("Difference of the two"), (), text, _difference(*ends)))
    notes = [ONE_SCALE]
    if outline is not None and takes_line(size_drawn) and any(map_.any() for map_ in maps):
        notes.append(line_note(outline, " for that class"))
    if not seen.all():
        notes.append(CROPPED)
    return framed(_arranged(panels, size_drawn), caption, notes, text)


def _difference(low: str, high: str) -> Scale:
    """The scale of a difference from -1 to 1."""
    ramp = np.linspace(-1, 1, 256, dtype=np.float32)[None]
    return Scale(overlay_difference(np.full((1, 256, 3), MIDDLE_GREY, np.uint8), ramp)[0], low, high)


def _arranged(panels: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Panels in a row, or in a column where pictures of that (height, width) are wide."""
    axis = 0 if size[1] > WIDE * size[0] else 1
    # Words may be wrapped into more lines below one than below another: white makes them equal.
    most = max(panel.shape[1 - axis] for panel in panels)
    even = []
    for panel in panels:
        short = [(0, 0), (0, 0), (0, 0)]
        short[1 - axis] = (0, most - panel.shape[1 - axis])
        even.append(np.pad(panel, short, constant_values=255))
    return np.concatenate(even, axis)
