"""How much of a map lies on the picture's border, where a network sees its own padding."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import ArgumentError

from .arrays import checked_map

WIDTH = 0.05  # of the border, as a share of the map's height above and below, and of its width on both sides
EVEN = 1 - (1 - 2 * WIDTH) ** 2  # the share of a map that is even


def border_share(map_: np.ndarray) -> float:
    """The share of a map's mass within the outer 5 % of its height, above and below, or of its width.

    A pixel that the border's edge cuts counts by the area that lies on either side, so that an even map has
    1 - 0.9^2 = 0.19 at any size. A network with zero padding may light up there whatever the picture shows:
    Alsallakh et al., Mind the Pad, ICLR 2021.

    Args:
        map_: (H, W), not negative.

    Returns:
        Fraction; 0 for a map that is zero everywhere.

    Raises:
        ArgumentError: as for every metric, or a value is negative.
    """
    map_ = checked_map(map_)
    if map_.min() < 0:
        raise ArgumentError(f"the map has a value of {map_.min():g}, where none below 0 has a meaning")
    if not (peak := map_.max()):
        return 0.0
    map_ = map_ / peak  # so that no sum overflows
    rows, columns = map(_inside, map_.shape)
    return float(max(0.0, 1 - (rows @ map_ @ columns) / map_.sum()))


def _inside(pixels: int) -> np.ndarray:
    """Of each of a row's pixels the share that lies within the border, (pixels,)."""
    edges = np.arange(pixels + 1)
    return np.diff(edges.clip(WIDTH * pixels, (1 - WIDTH) * pixels))
