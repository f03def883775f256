"""Errors of gradient scores: where these truly vanish, what is left of them is rounding, and no error.

Raising a whole map changes nothing in front of a normalisation over each map, as `InstanceNormalization`, or
of a convolution without zeros at the border that leads to one. Every gradient score is 0 there; in float32
the mean of a gradient is not.
"""

from __future__ import annotations

import numpy as np

# Units in the last place, of errors that all values of a map share, which no sum averages out: of a mean that
# a normalisation subtracts, say, where a map's values are far from zero and close to each other.
UNITS = 64


def rounding(gradient: np.ndarray) -> float:
    """How far gradient scores in float32 may be from the true ones by rounding alone.

    It is (64 + sqrt(n)) eps mean|g|, for maps of n values, of the map where mean|g| is largest; eps is the
    spacing of float32 at 1. The rounding errors of a sum of n values walk at random, sqrt(n) steps far where
    no partial sum is larger than the sum of all magnitudes; sums in vector registers are better than that,
    by another factor on every machine. Scores that vanish were mostly found at 0.1 to 2 eps mean|g|. Others
    are near mean|g| / 100 or above, of which this is a thousandth.

    Args:
        gradient: of the log-odds at a block's output, (1, K, h, w).
    """
    positions = gradient.shape[2] * gradient.shape[3]
    size = float(np.abs(gradient).mean(axis=(2, 3), dtype=np.float64).max())
    return (UNITS + float(np.sqrt(positions))) * float(np.finfo(np.float32).eps) * size


def score_error(measured: np.ndarray, expected: np.ndarray, rounded: float, tolerance: float) -> float:
    """The largest difference of gradient scores, relative to the largest magnitude that is expected.

    Where that is small beside their rounding, the difference is relative to rounded / tolerance instead: it
    is above the tolerance where it is above both its share of the largest score and the rounding.

    Args:
        measured: (T, K) or (K,).
        expected: likewise.
        rounded: from `rounding`, of the gradient that these are the means of.
        tolerance: that the error is held against.
    """
    scale = max(float(np.abs(expected).max()), rounded / tolerance)
    difference = float(np.abs(measured.astype(np.float64) - expected).max())
    return difference / scale if scale else difference


def only_rounding(scores: np.ndarray, rounded: float) -> bool:
    """Whether gradient scores are not zero, and no larger than rounding makes them."""
    return 0 < float(np.abs(scores).max()) <= rounded
