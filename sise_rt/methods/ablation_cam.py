"""Ablation-CAM (Desai and Ramaswamy, WACV 2020) at the last block: no gradient."""

from __future__ import annotations

import numpy as np

from sise_rt.running.finite import require_finite

from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target


def ablation_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k w_k A_k), w_k = y - y_k the target's logit lost when map k is zeroed.

    The paper divides by y, which is the same for all maps: what that changes is lost when the map is brought
    to 0 to 1, but for a negative logit, where it would turn the map's sign.

    Raises:
        ModelError: the model's numbers are not finite without a map.
    """
    maps = call.features.maps[-1]
    active = np.flatnonzero(maps.any(axis=(1, 2)))  # without the others nothing changes
    batches = call.batches("classifier")

    def without(part: slice) -> np.ndarray:
        copies = np.repeat(maps[None], part.stop - part.start, axis=0)
        copies[np.arange(len(copies)), active[part]] = 0
        return query.engine.classify(copies)

    with clock("scoring"):
        whole = query.engine.classify(maps[None])[0]
        parts = batches.each(len(active), without, call.ticker(len(active)))
    logits = np.concatenate([np.empty((0, len(whole)), whole.dtype), *parts])
    require_finite("logits", "without a map of the last block", whole, logits)
    lost = whole.astype(np.float64) - logits

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("fusion"):
            combined = np.einsum("k,khw->hw", lost[:, target], maps[active].astype(np.float64))
            raw = query.resized(np.maximum(combined, 0))
        if not raw.any():
            return Nothing()
        return Finding(raw=raw, passes=call.features.passes, batch=batches.size, graph="classifier")

    return each_target(query, clock, explain_one)


METHOD = Method(
    name="ablation-cam",
    run=ablation_cam,
    help=(
        "Ablation-CAM (Desai and Ramaswamy, WACV 2020) at the last block: no gradient, only the layers "
        "behind it run, once a map."
    ),
    graph="classifier",
    features=True,
)
