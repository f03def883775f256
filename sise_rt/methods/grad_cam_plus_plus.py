"""Grad-CAM++ (Chattopadhay et al., WACV 2018) at the last block."""

from __future__ import annotations

import numpy as np

from .grad_cam import weighted_last_block
from .method import Method
from .query import Answer, Call, Clock, Query


def grad_cam_plus_plus(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """Weights sum_ij a_ij ReLU(g_ij), a_ij = g^2 / (2 g^2 + g^3 sum_ab A_ab) (eq. 19).

    For a score exp(z), whose derivatives are powers of the logit's gradient g.
    """
    return weighted_last_block(query, clock, plus_plus_weights)


def plus_plus_weights(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Weights (K,) of maps (K, h, w) with gradients (K, h, w) of the target's logit."""
    square, cube = gradient**2, gradient**3
    below = 2 * square + cube * maps.sum(axis=(1, 2), keepdims=True)
    share = np.divide(square, below, out=np.zeros_like(square), where=below != 0)
    return (share * np.maximum(gradient, 0)).sum(axis=(1, 2))


METHOD = Method(
    name="grad-cam++",
    run=grad_cam_plus_plus,
    help="Grad-CAM++ (Chattopadhay et al., WACV 2018) at the last block.",
    graph="last_block_gradient",
    gradients=True,
)
