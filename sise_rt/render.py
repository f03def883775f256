"""What people show to others: the map over the picture, and the strip of all blocks.

Low values leave the picture as it is, only paler; the higher the value, the more the inferno colours cover
it. Inferno rises evenly in lightness, for colour-blind readers too. Its black end is left out, because it
looks like shadows on bright surfaces, and its pale end, because it looks like the surface itself.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from math import ceil

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .errors import ArgumentError
from .files import write_whole
from .pictures.resizing import resize_map

COVER = 0.75  # how much of the picture the value 1 hides: its texture stays visible
INFERNO = 0.2, 0.9  # where on it the values 0 and 1 lie: every step is seen on any grey, black to white
CONTOUR = 0.5  # the value that the line follows
CONTOUR_SIDE = 96  # pictures with a side below this are too small for a line
ROWS_PIXELS = 4_000_000  # painted at a time, so that a huge picture needs little memory beside itself

LUMA = np.array([0.299, 0.587, 0.114])
PALE = 0.9 * (0.3 * np.eye(3) + 0.7 * LUMA)  # RGB -> RGB: little colour left, so that ours speak
UNSEEN = 0.4 * np.tile(LUMA, (3, 1))  # RGB -> RGB: grey and dark

WHITE, GREY, INK = (255, 255, 255), (225, 225, 225), (40, 40, 40)
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "arial.ttf")
GAP, BAR, TEXT, MARGIN = 6, 12, 14, 10  # pixels


@lru_cache(maxsize=1)
def _paint() -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 values: the colour to add, uint8 (256, 1, 3), and the picture's share, (256, 1)."""
    inferno = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[..., ::-1]
    colours = inferno[np.rint(np.linspace(*INFERNO, 256) * 255).astype(int)]
    cover = COVER * np.linspace(0, 1, 256)[:, None]
    return np.rint(colours * cover[..., None]).astype(np.uint8), np.rint(255 * (1 - cover)).astype(np.uint8)


def overlay(
    picture: np.ndarray, map_: np.ndarray, seen: np.ndarray | None = None, *, contour: bool = True
) -> np.ndarray:
    """Paint a map over its picture.

    Args:
        picture: uint8 RGB (H, W, 3).
        map_: float (H, W) in [0, 1].
        seen: bool (H, W), where the model looked; the rest becomes grey and dark. All of it if None.
        contour: draw a thin line where the map crosses one half, on pictures large enough for one.

    Returns:
        uint8 RGB (H, W, 3), exactly the picture's size.

    Raises:
        ArgumentError: shapes or types do not fit, or the map leaves [0, 1] or is not finite.
    """
    _need_picture(picture)
    _need_map(map_)
    if map_.shape != picture.shape[:2]:
        raise ArgumentError(f"a map {map_.shape} does not fit a picture {picture.shape[:2]}")
    if seen is not None and (seen.shape != map_.shape or seen.dtype != bool):
        raise ArgumentError(f"seen is bool {map_.shape}, not {seen.dtype} {seen.shape}")

    height, width = map_.shape
    colours, stays = _paint()
    painted = np.empty_like(picture, order="C")
    step = max(1, ROWS_PIXELS // width)
    for start in range(0, height, step):
        rows = slice(start, start + step)
        part = np.ascontiguousarray(picture[rows])
        level = cv2.merge([np.rint(map_[rows] * 255).astype(np.uint8)] * 3)
        pale = cv2.multiply(cv2.transform(part, PALE), cv2.LUT(level, stays), scale=1 / 255)
        painted[rows] = cv2.add(pale, cv2.LUT(level, colours))
        if seen is not None and not seen[rows].all():
            unseen = ~seen[rows]
            painted[rows][unseen] = cv2.transform(part, UNSEEN)[unseen]
    if contour and min(height, width) >= CONTOUR_SIDE:
        _draw_contour(painted, map_ >= CONTOUR if seen is None else (map_ >= CONTOUR) & seen)
    return painted


def _draw_contour(painted: np.ndarray, inside: np.ndarray) -> None:
    if inside.all():
        return
    lines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_TC89_KCOS)
    thin = max(1, round(min(inside.shape) / 500))
    # White with a dark edge is legible on any picture.
    cv2.drawContours(painted, lines, -1, INK, thin + max(2, thin // 2), cv2.LINE_AA)
    cv2.drawContours(painted, lines, -1, WHITE, thin, cv2.LINE_AA)


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

    With a single map, which then has its contour, and a greater height it is the picture to show.

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
    _need_picture(picture)
    scale = min(height / picture.shape[0], 2 * height / picture.shape[1])
    high, wide = size = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    small = _fit(picture, size)
    small_seen = None if seen is None else resize_map(seen.astype(np.float32), size) >= 0.5

    tiles = [(title, small)]
    for caption, map_ in maps:
        tile = _no_map(size) if map_ is None else _covered(small, map_, small_seen, contour=len(maps) == 1)
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
        _write(canvas, heading, MARGIN, MARGIN, width - 2 * MARGIN, TEXT + 2)
    for index, (caption, tile) in enumerate(tiles):
        row, column = divmod(index, per_row)
        left, above = MARGIN + column * (slot + GAP), top + row * (line + tall + GAP)
        _write(canvas, caption, left, above, slot, TEXT)
        left += (slot - wide) // 2
        frame = (left - 1, above + line - 1, left + wide, above + line + high)
        ImageDraw.Draw(canvas).rectangle(frame, outline=GREY)  # a white picture has an edge too
        canvas.paste(Image.fromarray(tile), (left, above + line))
    _draw_bar(canvas, MARGIN + per_row * (slot + GAP) + GAP, top + line, tall)
    return np.array(canvas)


def _covered(picture: np.ndarray, map_: np.ndarray, seen: np.ndarray | None, *, contour: bool) -> np.ndarray:
    """A map of any size over a picture."""
    _need_map(map_)
    fitted = np.clip(resize_map(map_.astype(np.float32), picture.shape[:2]), 0, 1)
    return overlay(picture, fitted, seen, contour=contour)


def _fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if size[0] >= 3 * picture.shape[0] and size[1] >= 3 * picture.shape[1]:
        # Small pictures show their pixels: blurring them would pretend to detail.
        return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_NEAREST)
    return resize_map(picture, size)


def _no_map(size: tuple[int, int]) -> np.ndarray:
    rows, columns = size
    tile = Image.new("RGB", (columns, rows), GREY)
    text = "no usable map"
    left = max(4, round(columns - _font(text, TEXT).getlength(text)) // 2)
    _write(tile, text, left, max(0, (rows - TEXT) // 2), columns - left, TEXT)
    return np.array(tile)


def _draw_bar(canvas: Image.Image, left: int, top: int, rows: int) -> None:
    ramp = np.repeat(np.linspace(1, 0, rows, dtype=np.float32)[:, None], BAR, axis=1)
    grey = np.full((rows, BAR, 3), 128, np.uint8)  # the colours as they look on a picture
    canvas.paste(Image.fromarray(overlay(grey, ramp, contour=False)), (left, top))
    ticks = ((0.0, "1"), (0.5, "0.5"), (1.0, "0")) if rows >= 4 * TEXT else ((0.0, "1"), (1.0, "0"))
    for share, text in ticks:
        _write(canvas, text, left + BAR + 4, top + round(share * (rows - TEXT)), 3 * TEXT, TEXT)


def _font(text: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own letters, the same on every machine; they are ASCII, so for other text the system's."""
    for name in () if text.isascii() else FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)


def _write(canvas: Image.Image, text: str, left: int, top: int, width: int, size: int) -> None:
    """Write one line, shortened to fit."""
    font = _font(text, size)
    text = " ".join(text[:1000].split())
    if font.getlength(text) > width:
        fits = bisect_right(range(len(text)), width, key=lambda end: ceil(font.getlength(text[:end] + "…")))
        text = text[: max(0, fits - 1)].rstrip() + "…"
    ImageDraw.Draw(canvas).text((left, top), text, fill=INK, font=font)


def _need_picture(picture: np.ndarray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ArgumentError(f"a picture is uint8 RGB (H, W, 3), not {picture.dtype} {picture.shape}")


def _need_map(map_: np.ndarray) -> None:
    if map_.ndim != 2 or map_.size == 0 or not np.issubdtype(map_.dtype, np.floating):
        raise ArgumentError(f"a map is float (H, W), not {map_.dtype} {map_.shape}")
    if not (map_.min() >= 0 and map_.max() <= 1):  # so phrased, because NaN compares false
        raise ArgumentError(f"a map lies in [0, 1], not in [{map_.min()}, {map_.max()}]")


def save_png(path: str | os.PathLike[str], rgb: np.ndarray) -> None:
    """Write a picture as PNG; the file is either there and whole, or as it was before.

    Args:
        path: where to; its folder exists.
        rgb: uint8 (H, W, 3).

    Raises:
        OutputError: the file cannot be written.
        ArgumentError: `rgb` is no picture.
    """
    _need_picture(rgb)
    _, data = cv2.imencode(".png", rgb[..., ::-1])
    write_whole(path, data.tobytes())
