"""Recipro-CAM (Byun and Lee, CVPR-W 2024) at the last block: no gradient."""

from __future__ import annotations

import numpy as np

from sise_rt.pictures.flatness import CONSTANT
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences

from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import undecided

SPREAD = (
    0.25,
    0.5,
    0.25,
)  # of a place over it and its neighbours, along either axis; as in the authors' code


def recipro_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """At each place the confidence in the target of all maps under a small Gaussian there.

    Raises:
        ModelError: the model's numbers are not finite for masked maps.
    """
    maps = call.features.maps[-1]
    masks = place_masks(*maps.shape[1:])
    batches = call.batches("classifier")

    def masked(part: slice) -> np.ndarray:
        return query.engine.classify(maps[None] * masks[part, None])

    with clock("scoring"):
        logits = np.concatenate(batches.each(len(masks), masked, call.ticker(len(masks))))
    require_finite("logits", "for masked maps of the last block", logits)
    psi = confidences(logits, query.engine.manifest.activation)

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        own = psi[:, target].astype(np.float64)
        if np.ptp(own) <= CONSTANT * np.abs(own).max():
            return undecided(query, float(own.max()))
        with clock("fusion"):
            raw = query.resized((own - own.min()).reshape(maps.shape[1:]))
        return Finding(raw=raw, passes=call.features.passes, batch=batches.size, graph="classifier")

    return each_target(query, clock, explain_one)


def place_masks(height: int, width: int) -> np.ndarray:
    """For each of the places, row by row, a Gaussian of 3 x 3 around it, cut at the border: (h w, h, w)."""
    rows, columns = (
        sum(
            np.float32(share) * np.eye(side, k=offset - 1, dtype=np.float32)
            for offset, share in enumerate(SPREAD)
        )
        for side in (height, width)
    )
    return np.einsum("ij,kl->ikjl", rows, columns).reshape(height * width, height, width)


METHOD = Method(
    name="recipro-cam",
    run=recipro_cam,
    help=(
        "Recipro-CAM (Byun and Lee, CVPR-W 2024) at the last block: no gradient, only the layers behind it "
        "run, once a place."
    ),
    graph="classifier",
    features=True,
)
