"""Gradient CAMs at every block, which some methods join to one map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sise_rt.cautions import Caution
from sise_rt.phases.fusion import normalise
from sise_rt.running.finite import require_finite

from .grad_cam import Combine
from .query import Call, Query


def block_gradients(query: Query, call: Call, target: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The maps of every block and the gradient of the target's logit at them, (K, h, w) float64 each.

    Raises:
        BundleError: the bundle has no gradients.
        ModelError: the model's gradients are not finite.
    """
    maps = [each[None] for each in call.features.maps]
    gradients = query.engine.block_gradients(query.image, maps, query.one_hot(target))
    require_finite("maps or gradients", "for this image", *maps, *gradients)
    return [(a[0].astype(np.float64), g[0].astype(np.float64)) for a, g in zip(maps, gradients, strict=True)]


def block_cams(
    query: Query, found: Sequence[tuple[np.ndarray, np.ndarray]], weights: Combine
) -> tuple[list[np.ndarray | None], list[Caution]]:
    """ReLU(sum_k w_k A_k) of every block at the input's resolution, min-max normalised.

    Args:
        query: the picture.
        found: of `block_gradients`.
        weights: from maps and gradients to weights (K,).

    Returns:
        (H, W) in [0, 1] of each block, None of one that says nothing; and a caution for each of these.
    """
    cams, skipped = [], []
    for block, (maps, gradient) in zip(query.engine.manifest.blocks, found, strict=True):
        raw = np.maximum(np.einsum("k,khw->hw", weights(maps, gradient), maps), 0)
        cams.append(normalise(query.resized(raw)))
        if cams[-1] is None:
            why = "no map of it speaks for the target anywhere" if not raw.any() else "its map is flat"
            skipped.append(Caution("block-skipped", f"{block.name} is skipped: {why}"))
    return cams, skipped
