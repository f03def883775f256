"""The picture that explains itself: map, outline, caption and legend, large enough to be read."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from sise_rt.pictures.placement import Placement, to_original
from sise_rt.pictures.regions import region_of

from .framing import LEAST_TEXT, Caption, Scale, framed, text_size
from .painting import DRAWN, Look, overlay, require_level, require_map, require_picture, takes_line
from .palettes import INFERNO
from .sizes import SIZE, drawn_size, fit_picture

SMOOTHED = 0.7  # pixels of the map
HATCH = 14  # pixels between the lines over what the model did not see, where the letters have LEAST_TEXT
HATCH_WIDTH, HATCH_GREY = 2, 135  # pixels, likewise; and of 255
MIDDLE_GREY = 128  # the picture below the colour bar: the colours look as they do in the drawing

LEAST, MOST = "mattered least", "mattered most"
RELATIVE = "Colours rank the places of this picture, for this class."
CROPPED = "Dark and hatched: cropped, the model did not see it."


def drawn(
    picture: np.ndarray,
    map_: np.ndarray,
    placement: Placement,
    caption: Caption,
    *,
    size: int = SIZE,
    outline: float | None = 0.5,
    palette: str = INFERNO,
) -> np.ndarray:
    """A picture with its map, a line around what mattered, a caption above and a legend below.

    The map goes from its own resolution straight to that of the drawing.

    Args:
        picture: uint8 RGB (H, W, 3), in any size.
        map_: float (h, w) in [0, 1], over the model's input.
        placement: of the input in the picture.
        caption: what stands above.
        size: pixels that the picture's short side has at least.
        outline: the value that the line goes around; None for no line.
        palette: one of `palettes.PALETTES`.

    Returns:
        uint8 RGB; the picture takes `drawn_size` of it.

    Raises:
        ArgumentError: a value is out of its range, or there is no such palette.
    """
    require_picture(picture)
    require_map(map_)
    size_drawn = drawn_size(placement.original, size)
    painted, seen = paint(picture, map_, placement, size_drawn, outline=outline, palette=palette)
    notes = [RELATIVE]
    if outline is not None and takes_line(size_drawn) and map_.any():
        notes.append(line_note(outline))
    if not seen.all():
        notes.append(CROPPED)
    return framed(painted, caption, notes, text_size(size_drawn), importance(palette))


def paint(
    picture: np.ndarray,
    map_: np.ndarray,
    placement: Placement,
    size: tuple[int, int],
    *,
    outline: float | None = 0.5,
    palette: str = INFERNO,
    look: Look = DRAWN,
) -> tuple[np.ndarray, np.ndarray]:
    """A map over its picture, drawn in any size, without words.

    Args:
        picture: uint8 RGB (H, W, 3), in any size.
        map_: float (h, w) in [0, 1], over the model's input.
        placement: of the input in the picture.
        size: (height, width) of the drawing.
        outline: the value that the line goes around; None for no line.
        palette: one of `palettes.PALETTES`.
        look: how much of the picture stays.

    Returns:
        uint8 RGB of that size; and bool, which of its pixels the model saw: the others are hatched.

    Raises:
        ArgumentError: as `overlay` does.
    """
    require_map(map_)
    require_level(outline)
    placed, seen = placed_map(map_, placement, size)
    region = None if outline is None else placed_region(map_, outline, placement, size)
    painted = overlay(fit_picture(picture, size), placed, seen, region=region, palette=palette, look=look)
    hatch(painted, seen, text_size(size))
    return painted, seen


def placed_region(map_: np.ndarray, level: float, placement: Placement, size: tuple[int, int]) -> np.ndarray:
    """The `region_of` a map on a picture that is drawn in (height, width), with smooth edges.

    What is left out of the region is 0, and the holes that are filled are at the level: so the same islands
    are outlined that are hidden and shown alone. Smoothing takes none of the region away.
    """
    region = region_of(map_, level)
    marked = np.where(region, np.maximum(map_, level), np.where(map_ >= level, 0, map_))
    smooth, seen = placed_map(marked, placement, size)
    sharp, _ = to_original(region, placement_in(placement, size))
    return ((smooth >= level) | (sharp >= 0.5)) & seen


def placed_map(
    map_: np.ndarray, placement: Placement, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A map over the model's input on a picture that is drawn in (height, width), as `to_original` gives it.

    It is smoothed by less than a pixel of its own, or its enlarged edges would be stairs.
    """
    smooth = cv2.GaussianBlur(map_.astype(np.float32), (0, 0), SMOOTHED, borderType=cv2.BORDER_REPLICATE)
    if (highest := smooth.max()) > 0:
        smooth *= map_.max() / highest  # a single pixel may be all that there is
    placed, seen = to_original(smooth, placement_in(placement, size))
    return np.clip(placed, 0, 1), seen


def placement_in(placement: Placement, size: tuple[int, int]) -> Placement:
    """The placement in the same picture drawn in another (height, width)."""
    return replace(placement, original=size)


def hatch(painted: np.ndarray, seen: np.ndarray, text: int) -> None:
    """Draw fine diagonal lines over what the model did not see, which alone might be a dark picture.

    Args:
        painted: uint8 RGB (H, W, 3), in place.
        seen: bool (H, W), where it did.
        text: pixels of a letter.
    """
    rows, columns = np.nonzero(~seen)
    step = round(HATCH * text / LEAST_TEXT)
    on_line = (rows + columns) % step < HATCH_WIDTH * step // HATCH
    rows, columns = rows[on_line], columns[on_line]
    painted[rows, columns] = painted[rows, columns] // 4 + HATCH_GREY  # far from black and from what is dark


def line_note(outline: float, of: str = "") -> str:
    """What the line goes around, in words; `of` is what it is the most for."""
    what = f"what mattered at least {part(outline)} as much as the most{of}"
    return f"White line: {what}; small islands have none."


def part(share: float) -> str:
    """A share in words, as of the highest value."""
    return "half" if share == 0.5 else f"{100 * share:.3g}%"


def importance(palette: str) -> Scale:
    """The scale of a map from 0 to 1."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    grey = np.full((1, 256, 3), MIDDLE_GREY, np.uint8)
    return Scale(overlay(grey, ramp, palette=palette, look=DRAWN)[0], LEAST, MOST)
