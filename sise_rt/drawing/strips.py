"""The picture and several maps of it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np
from PIL import Image, ImageDraw

from sise_rt.pictures.resizing import resize_map

from .lettering import font_for, write
from .painting import overlay, require_map, require_picture
from .sizes import fit_picture

WHITE, GREY = (255, 255, 255), (225, 225, 225)
GAP, BAR, TEXT, MARGIN = 6, 12, 14, 10  # pixels


def strip(
    picture: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray | None]],
    *,
    seen: np.ndarray | None = None,
    title: str = "picture",
    heading: str = "",
    height: int = 240,
    columns: int | None = None,
) -> np.ndarray:
    """Line up a picture and its maps: V_1 ... V_B and the explanation, with a colour bar.

    With a single map, which then has its outline, and a greater height it is the picture to show.

    Args:
        picture: uint8 RGB (H, W, 3), what the maps cover.
        maps: (caption, map) pairs; a map is float (h, w) in [0, 1], of any size. None where there is none.
        seen: bool (H, W), as for `overlay`.
        title: the picture's caption.
        heading: a line above everything; no line if empty.
        height: of the tiles, in pixels; less for pictures more than twice as wide as high.
        columns: tiles in a row at most; None puts all into one.

    Returns:
        uint8 RGB on white.

    Raises:
        ArgumentError: as for `overlay`.
    """
    require_picture(picture)
    scale = min(height / picture.shape[0], 2 * height / picture.shape[1])
    high, wide = size = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    small = fit_picture(picture, size)
    small_seen = None if seen is None else resize_map(seen.astype(np.float32), size) >= 0.5

    tiles = [(title, small)]
    for caption, map_ in maps:
        tile = (
            _no_map(size)
            if map_ is None
            else _covered(small, map_, small_seen, outline=0.5 if len(maps) == 1 else None)
        )
        tiles.append((caption, tile))

    per_row = min(columns or len(tiles), len(tiles))
    slot = max(wide, 6 * TEXT)  # a narrow picture still gets a caption
    line = TEXT + GAP
    top = MARGIN + (line + GAP if heading else 0)
    width = 2 * MARGIN + per_row * (slot + GAP) + GAP + BAR + 3 * TEXT
    tall = max(high, 3 * TEXT)  # and a flat one a colour bar
    rows = ceil(len(tiles) / per_row)
    canvas = Image.new("RGB", (width, top + rows * (line + tall) + (rows - 1) * GAP + MARGIN), WHITE)
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
    _draw_bar(canvas, MARGIN + per_row * (slot + GAP) + GAP, top + line, tall)
    return np.array(canvas)


def _covered(
    picture: np.ndarray, map_: np.ndarray, seen: np.ndarray | None, *, outline: float | None
) -> np.ndarray:
    """A map of any size over a picture."""
    require_map(map_)
    fitted = np.clip(resize_map(map_.astype(np.float32), picture.shape[:2]), 0, 1)
    return overlay(picture, fitted, seen, outline=outline)


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
    canvas.paste(Image.fromarray(overlay(grey, ramp, outline=None)), (left, top))
    ticks = ((0.0, "1"), (0.5, "0.5"), (1.0, "0")) if rows >= 4 * TEXT else ((0.0, "1"), (1.0, "0"))
    for share, text in ticks:
        write(canvas, text, left + BAR + 4, top + round(share * (rows - TEXT)), 3 * TEXT, TEXT)
