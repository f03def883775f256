"""The picture and several maps of it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from sise_rt.pictures.placement import Placement
from sise_rt.pictures.regions import LEVEL

from .drawn import CROPPED, LEAST, MOST, paint
from .lettering import font_for, wrapped, write
from .painting import BARE, overlay, require_picture
from .sizes import fit_picture

WHITE, GREY = (255, 255, 255), (225, 225, 225)
GAP, BAR, TEXT, MARGIN = 6, 12, 14, 10  # pixels
WORDS = 5 * TEXT  # beside the colour bar
ENDS = 2  # lines that tell what an end of it means


def strip(
    picture: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray | None]],
    *,
    placement: Placement | None = None,
    title: str = "picture",
    heading: str = "",
    height: int = 240,
    columns: int | None = None,
) -> np.ndarray:
    """Line up a picture and its maps: V_1 ... V_B and the explanation, with a colour bar.

    With a single map, which then has its outline, and a greater height it is the picture to show.

    Args:
        picture: uint8 RGB (H, W, 3).
        maps: (caption, map) pairs; a map is float (h, w) in [0, 1], over the model's input, of any size. None
            where there is none.
        placement: of the model's input in the picture; None where it is all of it.
        title: the picture's caption.
        heading: a line above everything; no line if empty.
        height: of the tiles, in pixels; less for pictures more than twice as wide as high.
        columns: tiles in a row at most; None puts all into one.

    Returns:
        uint8 RGB on white.

    Raises:
        ArgumentError: as for `paint`.
    """
    require_picture(picture)
    scale = min(height / picture.shape[0], 2 * height / picture.shape[1])
    high, wide = size = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    small = fit_picture(picture, size)
    placement = placement or Placement(size, size, 0, 0, size)

    tiles, outline, cropped = [(title, small)], LEVEL if len(maps) == 1 else None, False
    for caption, map_ in maps:
        if map_ is None:
            tiles.append((caption, _no_map(size)))
            continue
        tile, seen = paint(small, map_, placement, size, outline=outline, look=BARE)
        tiles.append((caption, tile))
        cropped |= not seen.all()

    per_row = min(columns or len(tiles), len(tiles))
    slot = max(wide, 6 * TEXT)  # a narrow picture still gets a caption
    line = TEXT + GAP
    top = MARGIN + (line + GAP if heading else 0)
    width = 2 * MARGIN + per_row * (slot + GAP) + GAP + BAR + WORDS
    tall = max(high, 2 * ENDS * TEXT)  # and a flat one a colour bar
    rows = ceil(len(tiles) / per_row)
    bottom = top + rows * (line + tall) + (rows - 1) * GAP
    notes = wrapped(CROPPED, font_for(CROPPED, TEXT), width - 2 * MARGIN, 3) if cropped else []
    canvas = Image.new("RGB", (width, bottom + len(notes) * line + MARGIN), WHITE)
    if heading:
        write(canvas, heading, MARGIN, MARGIN, width - 2 * MARGIN, TEXT + 2)
    for index, (caption, tile) in enumerate(tiles):
        row, column = divmod(index, per_row)
        left, above = MARGIN + column * (slot + GAP), top + row * (line + tall + GAP)
        write(canvas, caption, left, above, slot, TEXT)
        left += (slot - wide) // 2
        frame = (left - 1, above + line - 1, left + wide, above + line + high)
        ImageDraw.Draw(canvas).rectangle(frame, outline=GREY)  # a white picture has an edge too
        canvas.paste(Image.fromarray(tile), (left, above + line))
    for index, note in enumerate(notes):
        write(canvas, note, MARGIN, bottom + GAP + index * line, width - 2 * MARGIN, TEXT)
    _draw_bar(canvas, MARGIN + per_row * (slot + GAP) + GAP, top + line, tall)
    return np.array(canvas)


def _no_map(size: tuple[int, int]) -> np.ndarray:
    rows, columns = size
    tile = Image.new("RGB", (columns, rows), GREY)
    text = "no usable map"
    left = max(4, round(columns - font_for(text, TEXT).getlength(text)) // 2)
    write(tile, text, left, max(0, (rows - TEXT) // 2), columns - left, TEXT)
    return np.array(tile)


def _draw_bar(canvas: Image.Image, left: int, top: int, rows: int) -> None:
    ramp = np.repeat(np.linspace(1, 0, rows, dtype=np.float32)[:, None], BAR, axis=1)
    grey = np.full((rows, BAR, 3), 128, np.uint8)  # the colours as they look on a picture
    canvas.paste(Image.fromarray(overlay(grey, ramp)), (left, top))
    for end, start in ((MOST, top), (LEAST, top + rows - ENDS * TEXT)):
        for index, word in enumerate(end.split()):
            write(canvas, word, left + BAR + 4, start + index * TEXT, WORDS - 4, TEXT)
