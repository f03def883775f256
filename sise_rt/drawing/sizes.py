"""How large a picture is drawn, and how its pixels become as many."""

from __future__ import annotations

from math import sqrt
from numbers import Integral

import cv2
import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.pictures.resizing import resize_map

SIZE = 512  # pixels that the short side has at least
SIZES = 32, 4096  # that may be asked for
MOST_PIXELS = 4_000_000  # of a picture that is larger than it need be: what is larger shrinks to that
MOST_SIDES = 4  # how much longer than `size` a narrow picture may become by being enlarged
LARGEST = MOST_SIDES * SIZES[1] ** 2  # pixels of what is drawn
LONGEST = MOST_SIDES * SIZES[1]  # pixels of any side: the words around a line of pixels grow with its length
SMOOTHLY = 6  # enlarged by less than that it is smooth, by more it shows its pixels


def drawn_size(original: tuple[int, int], size: int = SIZE, *, panels: int = 1) -> tuple[int, int]:
    """The (height, width) that a picture is drawn in: its own, but for small, huge and narrow ones.

    The short side has `size` pixels at least, and of a huge picture there are about 4 million pixels at
    most, or that size. A narrow one is enlarged until its long side has 4 times `size`; no side has more
    than 16384.

    Args:
        original: the picture's (height, width).
        size: of the short side, at least; 32 to 4096.
        panels: how many such drawings stand together: all of them have no more pixels than one may have.

    Raises:
        ArgumentError: `size` is out of its range.
    """
    if not (isinstance(size, Integral) and SIZES[0] <= size <= SIZES[1]):
        raise ArgumentError(
            f"a picture is drawn {SIZES[0]} to {SIZES[1]} pixels large, not {size!r}",
            settings=("size",),
        )
    height, width = original
    own = min(1.0, sqrt(MOST_PIXELS / (height * width)))
    wanted = min(size / min(original), MOST_SIDES * size / max(original))
    most = min(LONGEST / max(original), sqrt(LARGEST / (panels * height * width)))
    scale = min(max(own, wanted), most)
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit_picture(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) uint8 in another (height, width): averaged, or enlarged so that it looks natural.

    Up to 6 times it is enlarged smoothly (bicubic). Beyond that blurring would pretend to detail: the few
    pixels that there are become squares.
    """
    if picture.shape[:2] == size:
        return picture
    larger = min(size[0] / picture.shape[0], size[1] / picture.shape[1])
    if larger < 1:
        return resize_map(picture, size)
    by = cv2.INTER_CUBIC if larger < SMOOTHLY else cv2.INTER_NEAREST
    return cv2.resize(picture, size[::-1], interpolation=by)
