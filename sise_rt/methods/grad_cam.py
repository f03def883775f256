"""Grad-CAM (Selvaraju et al., ICCV 2017) at the last block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import ModelError

from .query import Finding, Found, Query

Weights = Callable[[np.ndarray, np.ndarray], np.ndarray]


def grad_cam(query: Query) -> list[Found]:
    """ReLU(sum_k w_k A_k), w_k the mean over locations of the gradient of the target's logit (eq. 1, 2)."""
    return weighted_last_block(query, lambda maps, gradient: gradient.mean(axis=(1, 2)))


def weighted_last_block(query: Query, weights: Weights) -> list[Found]:
    """The positive part of the last block's maps under weights that their gradient decides.

    Args:
        query: the picture.
        weights: from maps (K, h, w) and gradients (K, h, w) of the target's logit, float64, to weights (K,).

    Raises:
        BundleError: the bundle has no gradients.
        ModelError: the model's maps or gradients are not finite.
    """
    found: list[Found] = []
    for target in query.targets:
        own = query.on_own_clock()
        with own.clock("scoring"):
            maps, gradient, _ = query.engine.last_block_gradient(query.image, query.one_hot(target))
        if not (np.isfinite(maps).all() and np.isfinite(gradient).all()):
            raise ModelError("the model's maps or gradients are not finite for this image")
        with own.clock("fusion"):
            maps, gradient = maps[0].astype(np.float64), gradient[0].astype(np.float64)
            combined = np.einsum("k,khw->hw", weights(maps, gradient), maps)
            raw = query.resized(np.maximum(combined, 0))
        if not raw.any():
            found.append(query.no_evidence(target))
            continue
        found.append(Finding(raw, 1, 0, 1, own.clock.seconds))
    return found
