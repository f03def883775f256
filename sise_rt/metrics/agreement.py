"""A map's agreement with a marked object."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import ArgumentError

from .arrays import highest, map_and_truth


def ebpg(map_: np.ndarray, truth: np.ndarray) -> float:
    """Energy-based pointing game: the share of the map's positive energy that lies in the truth.

    Negative values count as 0. Adding a constant to a map, as min-max normalising does, changes this metric
    alone: state how maps were normalised. A constant positive map gets the truth's share of the image.
    Source: Wang et al., Score-CAM, CVPR Workshops 2020.

    Returns:
        Fraction; NaN for an empty truth and for a map without a positive value.
    """
    map_, truth = map_and_truth(map_, truth)
    peak = map_.max()
    if peak <= 0 or not truth.any():
        return np.nan
    energy = np.maximum(map_, 0) / peak  # so that no sum overflows
    inside = energy[truth].sum()
    return float(inside / (inside + energy[~truth].sum()))


def miou(map_: np.ndarray, truth: np.ndarray, share: float = 0.2) -> float:
    """Intersection over union of the map's highest pixels with the truth.

    Source: Sattarzadeh et al., SISE, AAAI 2021, which publishes no code for it.

    Args:
        map_: (H, W).
        truth: bool (H, W).
        share: of the pixels, 0 < share <= 1; exactly round(share * H * W), halves to even, are compared.

    Returns:
        Fraction, of which the mean over images is mIoU; NaN for an empty truth.

    Raises:
        ArgumentError: as for every metric, or the share is out of range or rounds to no pixel.
    """
    map_, truth = map_and_truth(map_, truth)
    if not 0 < share <= 1 or round(share * map_.size) == 0:
        raise ArgumentError(
            f"share is {share}, where 0 < share <= 1 and at least a pixel of {map_.shape} are needed"
        )
    if not truth.any():
        return np.nan
    top = highest(map_, round(share * map_.size))
    return float((top & truth).sum() / (top | truth).sum())


def bbox(map_: np.ndarray, truth: np.ndarray) -> float:
    """The share of the map's n highest pixels that lie in the truth, where n is the truth's area.

    Every truth counts, however large; the authors' code leaves out those over a third of the image, which a
    caller can do by `truth.mean()`. Source: Schulz et al., Restricting the Flow, ICLR 2020.

    Returns:
        Fraction; NaN for an empty truth.
    """
    map_, truth = map_and_truth(map_, truth)
    if not truth.any():
        return np.nan
    return float(truth[highest(map_, int(truth.sum()))].mean())


def pointing_game(map_: np.ndarray, truth: np.ndarray, tolerance: float = 15) -> float:
    """Whether the map's highest pixel is at most `tolerance` from the nearest pixel of the truth.

    Of several maxima the first in row-major order is taken, so that a constant map points at a corner.
    TorchRay wants a distance strictly below the tolerance. Source: Zhang et al., Top-down Neural Attention by
    Excitation Backprop, ECCV 2016; they report the mean over classes of each class's mean.

    Args:
        map_: (H, W).
        truth: bool (H, W).
        tolerance: Euclidean distance in pixels; 0 wants the highest pixel itself in the truth.

    Returns:
        1.0 for a hit, 0.0 for a miss; NaN for an empty truth.

    Raises:
        ArgumentError: as for every metric, or the tolerance is negative.
    """
    map_, truth = map_and_truth(map_, truth)
    if not tolerance >= 0:
        raise ArgumentError(f"tolerance is {tolerance}, where 0 or more pixels are needed")
    if not truth.any():
        return np.nan
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    rows, columns = np.nonzero(truth)
    return float(np.sqrt(((rows - row) ** 2 + (columns - column) ** 2).min()) <= tolerance)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "ebpg": ebpg,
    "miou": miou,
    "bbox": bbox,
    "pointing-game": pointing_game,
}
"""By the names they have in reports."""
