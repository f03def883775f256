"""Phase 2 (SISE): which feature maps become attribution masks."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.pictures.flatness import is_constant


def select(alpha: np.ndarray, mu: float) -> np.ndarray:
    """The maps that speak for the target: alpha > 0 and alpha > mu * max alpha (eq. 7 and 8).

    Args:
        alpha: gradient scores (K,).
        mu: 0 <= mu < 1.

    Returns:
        bool (K,).
    """
    if not 0 <= mu < 1:
        raise ArgumentError(f"mu is {mu}, where 0 <= mu < 1 is needed")
    alpha = alpha.astype(np.float64)  # in float32, a mu just below 1 rounds to 1 and nothing is left
    return (alpha > 0) & (alpha > mu * alpha.max())


def select_all(maps: int) -> np.ndarray:
    """Every map, where there are no gradient scores to choose by: bool (maps,)."""
    return np.ones(maps, bool)


def constant_maps(maps: np.ndarray) -> np.ndarray:
    """Which of the feature maps (K, h, w) are flat at their own resolution: bool (K,)."""
    return is_constant(maps.min(axis=(1, 2)), maps.max(axis=(1, 2)))
