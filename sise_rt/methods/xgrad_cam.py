"""XGrad-CAM (Fu et al., BMVC 2020) at the last block."""

from __future__ import annotations

import numpy as np

from .grad_cam import weighted_last_block
from .method import Method
from .query import Answer, Call, Clock, Query


def xgrad_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k w_k A_k), w_k the mean over locations of the logit's gradient, weighted by the map."""
    return weighted_last_block(query, clock, axiom_weights)


def axiom_weights(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Weights sum_ij g_ij A_ij / sum_ij A_ij, (K,), of maps (K, h, w) with gradients (K, h, w).

    0 of a map whose values add up to 0.
    """
    total = maps.sum(axis=(1, 2))
    product = (gradient * maps).sum(axis=(1, 2))
    return np.divide(product, total, out=np.zeros_like(total), where=total != 0)


METHOD = Method(
    name="xgrad-cam",
    run=xgrad_cam,
    help="XGrad-CAM (Fu et al., BMVC 2020) at the last block.",
    graph="last_block_gradient",
    gradients=True,
)
