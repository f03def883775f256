"""One line around where a map is high: smooth, thin, and outside, so that it covers nothing of that."""

from __future__ import annotations

from math import sqrt

import cv2
import numpy as np

from sise_rt.pictures.regions import without_holes

AWAY = 0.012  # of the short side: how far from the region the middle of the line runs
LEAST_AWAY = 5.0  # pixels
WIDTH = 1 / 350  # of the short side
WHITE, DARK = (255, 255, 255), (30, 30, 30)  # white with a dark edge is legible on any picture
WORKED_OUT_IN = 400_000  # pixels: of a larger picture's line nobody sees more
FRACTION = 4  # bits of a point's coordinates behind the point


def draw_outline(painted: np.ndarray, region: np.ndarray, seen: np.ndarray | None = None) -> None:
    """Draw a white line with dark edges around a region, onto uint8 RGB (H, W, 3) in place.

    It goes around at a distance of AWAY, which smooths it and bridges narrow gaps. Where the region reaches
    the border of the picture, or of what the model saw, it stays open.

    Args:
        painted: the picture.
        region: bool (H, W).
        seen: bool (H, W), where the line may be; everywhere if None.
    """
    if region.all():
        return
    unseen = None if seen is None or seen.all() else ~seen
    before = None if unseen is None else painted[unseen]
    scale = max(1.0, sqrt(region.size / WORKED_OUT_IN))
    rows, columns = (max(1, round(side / scale)) for side in region.shape)
    # A pixel of the small area stands for all of which any part is in the region.
    small = cv2.resize(255 * region.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_AREA) > 0
    scales = region.shape[1] / columns, region.shape[0] / rows
    short = min(region.shape)
    lines = [
        np.rint((2**FRACTION) * ((line + 0.5) * scales - 0.5)).astype(np.int32)
        for line in around(small, max(LEAST_AWAY, AWAY * short) / max(scales))
    ]
    thin = max(1, round(WIDTH * short))
    for colour, thickness in ((DARK, thin + max(2, thin // 2)), (WHITE, thin)):
        cv2.polylines(painted, lines, True, colour, thickness, cv2.LINE_AA, FRACTION)
    if unseen is not None:
        painted[unseen] = before


def around(region: np.ndarray, away: float) -> list[np.ndarray]:
    """The closed lines that go around a region at a distance.

    Args:
        region: bool (H, W).
        away: pixels, at least 1.

    Returns:
        The points (N, 2) of each, float64 (x, y), 0 in the middle of the first pixel. They run outside of the
        picture where the region reaches its border.
    """
    if not region.any():
        return []
    pad = 2 * round(away) + 2  # beyond the border the region goes on, so that no line follows that
    wide = np.pad(region, pad, mode="edge").astype(np.uint8)
    distance = cv2.distanceTransform(1 - wide, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    within = cv2.GaussianBlur(distance, (0, 0), away / 2) <= away
    # What lies between parts of the region and is hardly wider than the line is no hole to be shown.
    within = np.pad(without_holes(within, (4 * away) ** 2), 1)
    lines, _ = cv2.findContours(within.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return [_smooth(line[:, 0].astype(float), away) - (pad + 1) for line in lines]


def _smooth(line: np.ndarray, over: float) -> np.ndarray:
    """A closed line of points (N, 2), each the mean of its neighbours over so many pixels."""
    reach = min(round(over / 2), (len(line) - 1) // 2)
    shifted = [np.roll(line, shift, axis=0) for shift in range(-reach, reach + 1)]
    return np.mean(shifted, axis=0)
