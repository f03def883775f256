"""Resizing maps."""

from __future__ import annotations

import math

import cv2
import numpy as np
from PIL import Image


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


def resize_picture(
    picture: Image.Image,
    size: tuple[int, int],
    interpolation: str,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Resize a picture, or a part of it, as `Preprocess.interpolation` says.

    Args:
        picture: of 8 bits or of float32.
        size: (height, width).
        interpolation: a filter of Pillow's, or `linear`, the bilinear of OpenCV.
        box: left, top, right and bottom of the part. OpenCV takes whole pixels alone: it begins at the one
            that holds its corner.
    """
    rows, columns = size
    if interpolation == "linear":
        pixels = np.asarray(picture)
        if box is not None:
            left, top = (math.floor(start + 1e-6) for start in box[:2])  # which rounding may leave below
            width, height = (max(1, round(end - start)) for start, end in zip(box[:2], box[2:], strict=True))
            pixels = pixels[top : top + height, left : left + width]
        return Image.fromarray(cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR))
    return picture.resize((columns, rows), Image.Resampling[interpolation.upper()], box)
