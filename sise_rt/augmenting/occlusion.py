"""Which pixels of a picture matter most, and what takes the place of pixels that are hidden."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from sise_rt.pictures.resizing import resize_map

CELLS = 7  # of a random map along each side, as RISE has them
BLUR = 0.1  # standard deviation of the Gaussian, as a share of the picture's shorter side
RADIUS = 3  # pixels around a hidden one that its colour is worked out from
LARGEST = 512  # pixels of the long side that is blurred or painted in: both are smooth, and take long

Fill = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""Gives the colours (n, C) of hidden pixels, in row-major order.

It takes the picture, uint8 or uint16 (H, W, C), which of its pixels are hidden, bool (H, W) with n of them,
some but not all, and a source of chance.
"""


def highest_share(map_: np.ndarray, seen: np.ndarray, share: float) -> np.ndarray:
    """The share of a picture that has the highest values of a map, exact to the pixel.

    Of pixels with one value those that lie nearest to higher ones come first, and of these the first in
    row-major order: a map that is zero in most places marks a region, and not the picture's first rows.

    Args:
        map_: float (H, W).
        seen: bool (H, W), what the map covers: nothing else is marked.
        share: of the pixels that are seen, in (0, 1); rounded to whole pixels, at least one, and not all.

    Returns:
        bool (H, W); nothing where fewer than two pixels are seen.
    """
    there = int(seen.sum())
    count = min(max(math.floor(share * there + 0.5), 1), there - 1)
    if count < 1:
        return np.zeros_like(seen)
    cut = np.partition(map_[seen], -count)[-count]
    marked = seen & (map_ > cut)
    tied = np.flatnonzero(seen & (map_ == cut))
    if marked.any():
        distance = cv2.distanceTransform((~marked).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        tied = tied[np.argsort(distance.ravel()[tied], kind="stable")]
    marked.flat[tied[: count - int(marked.sum())]] = True
    return marked


def at_least(map_: np.ndarray, seen: np.ndarray, level: float) -> np.ndarray:
    """Where a map (H, W) reaches a level, bool (H, W), of what is seen, bool (H, W)."""
    return seen & (map_ >= level)


def random_map(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A map that knows nothing of the picture: CELLS x CELLS random values, enlarged.

    Maps of networks are smooth, too, with a few hills, so that both hide patches of like shapes.

    Args:
        size: (height, width) of the model's input.
        rng: of the values.

    Returns:
        float32 of that size, in [0, 1).
    """
    return resize_map(rng.random((CELLS, CELLS)).astype(np.float32), size)


def occluded(pixels: np.ndarray, hidden: np.ndarray, fill: Fill, rng: np.random.Generator) -> np.ndarray:
    """A copy of a picture with other colours where it is hidden; the arguments are those of a `Fill`."""
    copy = pixels.copy()
    copy[hidden] = fill(pixels, hidden, rng)
    return copy


def mean_colour(pixels: np.ndarray, hidden: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """The mean colour of what is left of the picture."""
    colour = np.rint(pixels[~hidden].mean(axis=0, dtype=np.float64))
    return np.broadcast_to(colour.astype(pixels.dtype), (int(hidden.sum()), pixels.shape[2]))


def blurred(pixels: np.ndarray, hidden: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """The picture through a Gaussian, whose standard deviation is a tenth of the shorter side.

    What is hidden leaves a trace: its own colours are in it.
    """

    def blur(plane: np.ndarray, _: np.ndarray) -> np.ndarray:
        sigma = BLUR * min(plane.shape[:2])
        return cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.5), borderType=cv2.BORDER_REFLECT)

    return _smoothly(pixels, hidden, blur)


def noise(pixels: np.ndarray, hidden: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours of pixels that are left, drawn at random with replacement."""
    left = pixels[~hidden]
    return left[rng.integers(0, len(left), int(hidden.sum()))]


def painted_in(pixels: np.ndarray, hidden: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """What the surroundings suggest, by OpenCV's inpainting (Telea, 2004)."""

    def paint(plane: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return cv2.inpaint(plane, mask.view(np.uint8), RADIUS, cv2.INPAINT_TELEA)

    return _smoothly(pixels, hidden, paint)


FILLS: Mapping[str, Fill] = {"mean": mean_colour, "blur": blurred, "noise": noise, "inpaint": painted_in}
"""What can take the place of hidden pixels."""


def _smoothly(
    pixels: np.ndarray, hidden: np.ndarray, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """The colours that a smooth fill gives, worked out small where the picture is large.

    OpenCV fills RGB in 8 bits at once, and anything else a plane at a time.
    """
    height, width = hidden.shape
    scale = min(1.0, LARGEST / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    share = resize_map(hidden.astype(np.float32), size)
    small = share > share.min()  # which is 0, but where what is left are specks
    together = pixels.dtype == np.uint8 and pixels.shape[2] == 3
    planes = [pixels] if together else [np.ascontiguousarray(plane) for plane in np.moveaxis(pixels, 2, 0)]
    filled = [resize_map(fill(resize_map(plane, size), small), (height, width))[hidden] for plane in planes]
    return filled[0] if together else np.stack(filled, axis=1)
