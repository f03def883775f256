"""The region that a map marks: the one that is outlined, hidden and shown alone."""

from __future__ import annotations

import cv2
import numpy as np

from sise_rt.errors import ArgumentError

LEVEL = 0.5  # of a map
ISLAND = 0.1  # of the largest island's area: smaller islands, and smaller holes, mean nothing to the eye


def region_of(map_: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """The region that a map marks: where it reaches a level, without what is too small to mean anything.

    Islands below a tenth of the largest one's area are left out, but for those with the map's highest value;
    holes of that size are filled.

    Args:
        map_: (H, W), finite.
        level: in the map's unit.

    Returns:
        bool (H, W).

    Raises:
        ArgumentError: it is no map (H, W) of finite numbers.
    """
    map_ = np.asarray(map_)
    if map_.ndim != 2 or map_.size == 0 or map_.dtype.kind not in "fiu" or not np.isfinite(map_).all():
        raise ArgumentError(f"a map is (H, W) of finite numbers, not {map_.dtype} {map_.shape}")
    inside = map_ >= level
    if inside.all() or not inside.any():
        return inside
    islands, areas = _parts(inside, 8)
    least = ISLAND * areas.max()
    stays = areas >= least
    stays[islands[map_ == map_.max()]] = True
    stays[0] = False
    return without_holes(stays[islands], least)


def without_holes(region: np.ndarray, least: float) -> np.ndarray:
    """A region (H, W) bool without its holes of fewer than so many pixels."""
    gaps, areas = _parts(~region, 4)
    small = areas < least
    small[0] = False
    for border in (gaps[0], gaps[-1], gaps[:, 0], gaps[:, -1]):
        small[border] = False  # these are no holes
    return region | small[gaps]


def _parts(inside: np.ndarray, connectivity: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each pixel's connected part, 0 outside; and the parts' areas, 0 for what is outside."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(
        inside.astype(np.uint8), connectivity=connectivity
    )
    areas = statistics[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    return parts, areas
