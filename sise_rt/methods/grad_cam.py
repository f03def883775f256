"""Grad-CAM (Selvaraju et al., ICCV 2017) at the last block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.running.finite import require_finite

from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen

Combine = Callable[[np.ndarray, np.ndarray], np.ndarray]


def grad_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k w_k A_k), w_k the mean over locations of the gradient of the target's logit (eq. 1, 2)."""
    return weighted_last_block(query, clock, lambda maps, gradient: gradient.mean(axis=(1, 2)))


def weighted_last_block(query: Query, clock: Clock, weights: Combine) -> list[Answer]:
    """The positive part of the last block's maps under weights that their gradient decides.

    Args:
        query: the picture and its targets.
        clock: of the method.
        weights: from maps (K, h, w) and gradients (K, h, w) of the target's logit, float64, to weights (K,).

    Raises:
        BundleError: as for `last_block_cam`.
        ModelError: likewise.
    """
    return last_block_cam(
        query, clock, lambda maps, gradient: np.einsum("k,khw->hw", weights(maps, gradient), maps)
    )


def last_block_cam(query: Query, clock: Clock, combine: Combine) -> list[Answer]:
    """The positive part of what the last block's maps and their gradient make together.

    Args:
        query: the picture and its targets.
        clock: of the method.
        combine: from maps (K, h, w) and gradients (K, h, w) of the target's logit, float64, to (h, w).

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
            raw = query.resized(np.maximum(combine(maps, gradient), 0))
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
