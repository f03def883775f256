"""Grad-CAM (Selvaraju et al., ICCV 2017) at the last block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.running.finite import require_finite

from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen

Weights = Callable[[np.ndarray, np.ndarray], np.ndarray]


def grad_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k w_k A_k), w_k the mean over locations of the gradient of the target's logit (eq. 1, 2)."""
    return weighted_last_block(query, clock, lambda maps, gradient: gradient.mean(axis=(1, 2)))


def weighted_last_block(query: Query, clock: Clock, weights: Weights) -> list[Answer]:
    """The positive part of the last block's maps under weights that their gradient decides.

    Args:
        query: the picture and its targets.
        clock: of the method.
        weights: from maps (K, h, w) and gradients (K, h, w) of the target's logit, float64, to weights (K,).

    Raises:
        BundleError: the bundle has no gradients.
        ModelError: the model's maps or gradients are not finite.
    """

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("scoring"):
            maps, gradient, _logits = query.engine.last_block_gradient(query.image, query.one_hot(target))
        require_finite("maps or gradients", "for this image", maps, gradient)
        with clock("fusion"):
            maps, gradient = maps[0].astype(np.float64), gradient[0].astype(np.float64)
            combined = np.einsum("k,khw->hw", weights(maps, gradient), maps)
            raw = query.resized(np.maximum(combined, 0))
        if raw.any():
            return Finding(raw=raw, passes=1)
        return Nothing() if gradient.any() else unseen(query, target)

    return each_target(query, clock, explain_one)


METHOD = Method(
    name="grad-cam",
    run=grad_cam,
    help="Grad-CAM (Selvaraju et al., ICCV 2017) at the last block.",
    graph="last_block_gradient",
    gradients=True,
)
