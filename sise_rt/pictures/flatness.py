"""Whether a map has a shape to show."""

from __future__ import annotations

import numpy as np

CONSTANT = 1e-6  # a map whose range is below this share of max(1, its largest value) has no shape to show


def is_constant(minimum: np.ndarray, maximum: np.ndarray) -> np.ndarray:
    """Whether maps with these extremes are flat, so that they cannot be normalised; element-wise."""
    return maximum - minimum < CONSTANT * np.maximum(1, np.abs(maximum))


def is_almost_constant(map_: np.ndarray) -> bool:
    """Whether another implementation's rounding may call a map flat."""
    return bool(np.ptp(map_) < 2 * CONSTANT * max(1.0, float(np.abs(map_).max())))
