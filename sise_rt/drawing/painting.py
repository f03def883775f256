"""The map over its picture, and the map alone.

Low values leave the picture as it is, only paler; the higher the value, the more the colours of a palette
cover it. A palette's black end is left out, because it looks like shadows on bright surfaces, and its pale
end, because it looks like the surface itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from numbers import Real

import cv2
import numpy as np

from sise_rt.errors import ArgumentError

from .outline import draw_outline
from .palettes import INFERNO, ORANGE, PURPLE, palette_colours, require_palette

CONTOUR_SIDE = 96  # pictures with a side below this are too small for a line
ROWS_PIXELS = 4_000_000  # painted at a time, so that a huge picture needs little memory beside itself

LUMA = np.array([0.299, 0.587, 0.114])
GREYER = 0.3 * np.eye(3) + 0.7 * LUMA  # RGB -> RGB: little colour left, so that ours speak
UNSEEN = 0.4 * np.tile(LUMA, (3, 1))  # RGB -> RGB: grey and dark


@dataclass(frozen=True)
class Look:
    """How a map is painted over a picture.

    Attributes:
        ground: how bright the picture stays where the map is 0.
        cover: how much of the picture the value 1 hides.
        ends: where on the palette the values 0 and 1 lie.
    """

    ground: float
    cover: float
    ends: tuple[float, float]


BARE = Look(0.9, 0.75, (0.2, 0.9))  # every step is seen on any grey, black to white, also without a line
DRAWN = Look(0.85, 0.55, (0.3, 0.95))  # what matters can be recognised below its colours, and a line helps
DIFFERENCE_GROUND, DIFFERENCE_COVER = 0.7, 0.85  # as of a `Look`


@lru_cache(maxsize=16)
def _paint(palette: str, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """For each of 256 values: the colour to add, uint8 (256, 1, 3), and the picture's share, (256, 1)."""
    colours = palette_colours(palette)[np.rint(np.linspace(*look.ends, 256) * 255).astype(int)]
    cover = look.cover * np.linspace(0, 1, 256)[:, None]
    covering = np.rint(colours * cover).astype(np.uint8)
    return covering[:, None], np.rint(255 * (1 - cover)).astype(np.uint8)


def overlay(
    picture: np.ndarray,
    map_: np.ndarray,
    seen: np.ndarray | None = None,
    *,
    region: np.ndarray | None = None,
    palette: str = INFERNO,
    look: Look = BARE,
) -> np.ndarray:
    """Paint a map over its picture.

    Args:
        picture: uint8 RGB (H, W, 3).
        map_: float (H, W) in [0, 1].
        seen: bool (H, W), where the model looked; the rest becomes grey and dark. All of it if None.
        region: bool (H, W), that a thin line goes around, on pictures large enough for one; None for no line.
        palette: one of `palettes.PALETTES`.
        look: how much of the picture stays.

    Returns:
        uint8 RGB (H, W, 3), exactly the picture's size.

    Raises:
        ArgumentError: shapes or types do not fit, the map leaves [0, 1] or is not finite, there is no such
            palette.
    """
    require_picture(picture)
    require_map(map_)
    require_palette(palette)
    if map_.shape != picture.shape[:2]:
        raise ArgumentError(f"a map {map_.shape} does not fit a picture {picture.shape[:2]}")
    for name, pixels in (("seen", seen), ("region", region)):
        if pixels is not None and (pixels.shape != map_.shape or pixels.dtype != bool):
            raise ArgumentError(f"{name} is bool {map_.shape}, not {pixels.dtype} {pixels.shape}")

    painted = _painted(picture, in_levels(map_), seen, look.ground, *_paint(palette, look))
    if region is not None and takes_line(map_.shape):
        draw_outline(painted, region, seen)
    return painted


def takes_line(size: tuple[int, ...]) -> bool:
    """Whether a picture of that (height, width) is large enough for a line."""
    return min(size) >= CONTOUR_SIDE


def overlay_difference(
    picture: np.ndarray, difference: np.ndarray, seen: np.ndarray | None = None
) -> np.ndarray:
    """Paint the difference of two maps over their picture: purple below 0, orange above, nothing at 0.

    Args:
        picture: uint8 RGB (H, W, 3).
        difference: float (H, W) in [-1, 1].
        seen: bool (H, W), as for `overlay`.

    Returns:
        uint8 RGB (H, W, 3).
    """
    at = np.linspace(-1, 1, 256)[:, None]
    cover = DIFFERENCE_COVER * np.abs(at)
    covering = np.rint(np.where(at < 0, PURPLE, ORANGE) * cover).astype(np.uint8)[:, None]
    stays = np.rint(255 * (1 - cover)).astype(np.uint8)
    return _painted(picture, in_levels((difference + 1) / 2), seen, DIFFERENCE_GROUND, covering, stays)


def _painted(
    picture: np.ndarray,
    levels: np.ndarray,
    seen: np.ndarray | None,
    ground: float,
    covering: np.ndarray,
    stays: np.ndarray,
) -> np.ndarray:
    """A picture below the colours of 256 levels (H, W) uint8.

    Args:
        picture: uint8 RGB (H, W, 3).
        levels: uint8 (H, W).
        seen: bool (H, W); None for all.
        ground: how bright the picture is.
        covering: of each level the colour to add, uint8 (256, 1, 3).
        stays: of each level the picture's share, uint8 (256, 1).
    """
    height, width = levels.shape
    painted = np.empty_like(picture, order="C")
    step = max(1, ROWS_PIXELS // width)
    for start in range(0, height, step):
        rows = slice(start, start + step)
        part = np.ascontiguousarray(picture[rows])
        level = cv2.merge([levels[rows]] * 3)
        pale = cv2.multiply(cv2.transform(part, ground * GREYER), cv2.LUT(level, stays), scale=1 / 255)
        painted[rows] = cv2.add(pale, cv2.LUT(level, covering))
        if seen is not None and not seen[rows].all():
            unseen = ~seen[rows]
            painted[rows][unseen] = cv2.transform(part, UNSEEN)[unseen]
    return painted


def transparent(map_: np.ndarray, palette: str = INFERNO) -> np.ndarray:
    """A map alone, to be laid over anything: its colours, as opaque as its values are high.

    Args:
        map_: float (H, W) in [0, 1].
        palette: one of `palettes.PALETTES`.

    Returns:
        uint8 RGBA (H, W, 4); the alpha is the map times 255, and the colours are not multiplied by it.

    Raises:
        ArgumentError: it is no map, or there is no such palette.
    """
    require_map(map_)
    require_palette(palette)
    level = in_levels(map_)
    return np.dstack([palette_colours(palette)[level], level])


def in_levels(map_: np.ndarray) -> np.ndarray:
    """A map in [0, 1] as 256 levels, uint8."""
    return np.rint(map_ * 255).astype(np.uint8)


def require_picture(picture: np.ndarray) -> None:
    """Refuse what is no uint8 RGB picture, with an `ArgumentError`."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise ArgumentError(f"a picture is uint8 RGB (H, W, 3), not {picture.dtype} {picture.shape}")


def require_map(map_: np.ndarray) -> None:
    """Refuse what is no map in [0, 1], with an `ArgumentError`."""
    if map_.ndim != 2 or map_.size == 0 or not np.issubdtype(map_.dtype, np.floating):
        raise ArgumentError(f"a map is float (H, W), not {map_.dtype} {map_.shape}")
    if not (map_.min() >= 0 and map_.max() <= 1):  # so phrased, because NaN compares false
        raise ArgumentError(f"a map lies in [0, 1], not in [{map_.min()}, {map_.max()}]")


def require_level(level: float | None) -> None:
    """Refuse a value that no line can go around, with an `ArgumentError`."""
    if level is not None and not (isinstance(level, Real) and 0 < level <= 1):
        raise ArgumentError(
            f"a line goes around values above 0 and at most 1, not {level!r}", settings=("outline",)
        )
