"""The picture that explains itself: map, outline, caption and legend, large enough to be read."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from sise_rt.pictures.placement import Placement, to_original

from .framing import LEAST_TEXT, Caption, Scale, framed, text_size
from .painting import DRAWN, overlay, require_map, require_picture, takes_line
from .palettes import INFERNO
from .sizes import SIZE, drawn_size, fit_picture

SMOOTHED = 0.7  # pixels of the map
HATCH = 12  # pixels between the lines over what the model did not see, where the letters have LEAST_TEXT
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
        notes.append(f"White line: what mattered at least {part(outline)} as much as the most.")
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
) -> tuple[np.ndarray, np.ndarray]:
    """A map over its picture, drawn in any size, without words.

    Args:
        picture: uint8 RGB (H, W, 3), in any size.
        map_: float (h, w) in [0, 1], over the model's input.
        placement: of the input in the picture.
        size: (height, width) of the drawing.
        outline: the value that the line goes around; None for no line.
        palette: one of `palettes.PALETTES`.

    Returns:
        uint8 RGB of that size; and bool, which of its pixels the model saw: the others are hatched.

    Raises:
        ArgumentError: as `overlay` does.
    """
    placed, seen = placed_map(map_, placement, size)
    painted = overlay(fit_picture(picture, size), placed, seen, outline=outline, palette=palette, look=DRAWN)
    hatch(painted, seen, text_size(size))
    return painted, seen


def placed_map(
    map_: np.ndarray, placement: Placement, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A map over the model's input on a picture that is drawn in (height, width), as `to_original` gives it.

    It is smoothed by less than a pixel of its own, or its enlarged edges would be stairs.
    """
    smooth = cv2.GaussianBlur(map_.astype(np.float32), (0, 0), SMOOTHED, borderType=cv2.BORDER_REPLICATE)
    if (highest := smooth.max()) > 0:
        smooth *= map_.max() / highest  # a single pixel may be all that there is
    placed, seen = to_original(smooth, replace(placement, original=size))
    return np.clip(placed, 0, 1), seen


def hatch(painted: np.ndarray, seen: np.ndarray, text: int) -> None:
    """Draw fine diagonal lines over what the model did not see, which alone might be a dark picture.

    Args:
        painted: uint8 RGB (H, W, 3), in place.
        seen: bool (H, W), where it did.
        text: pixels of a letter.
    """
    rows, columns = np.nonzero(~seen)
    step = round(HATCH * text / LEAST_TEXT)
    on_line = (rows + columns) % step < step // HATCH
    rows, columns = rows[on_line], columns[on_line]
    painted[rows, columns] = painted[rows, columns] // 2 + 64


def part(share: float) -> str:
    """A share in words, as of the highest value."""
    return "half" if share == 0.5 else f"{100 * share:.3g}%"


def importance(palette: str) -> Scale:
    """The scale of a map from 0 to 1."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    grey = np.full((1, 256, 3), MIDDLE_GREY, np.uint8)
    return Scale(overlay(grey, ramp, outline=None, palette=palette, look=DRAWN)[0], LEAST, MOST)
