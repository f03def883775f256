"""Resizing maps."""

from __future__ import annotations

import cv2
import numpy as np


def resize_map(map_: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map with aligned pixel centres: bilinear where it grows, averaging where it shrinks.

    Args:
        map_: (h, w) or (h, w, C), uint8 or float32.
        size: (height, width) to be had; each axis may grow or shrink, whatever the other does.
    """
    (rows, columns), (height, width) = map_.shape[:2], size
    across = cv2.INTER_AREA if width < columns else cv2.INTER_LINEAR
    down = cv2.INTER_AREA if height < rows else cv2.INTER_LINEAR
    map_ = cv2.resize(map_, (width, rows), interpolation=across)
    return cv2.resize(map_, (width, height), interpolation=down)


def resize_by_neighbours(map_: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a map (h, w) float32 as the score graph does: bilinear on every axis, also one that shrinks."""
    return cv2.resize(map_, size[::-1], interpolation=cv2.INTER_LINEAR)
