"""Score-CAM (Wang et al., CVPR-W 2020) at the last block, as the authors' own code has it.

A map's weight is the target's confidence in the picture under that map as a mask; the maps are added up as
they are, without normalising them, and the positive part is kept. Other implementations put a softmax over
the channels, or subtract the confidence of a blank picture.
"""

from __future__ import annotations

import numpy as np

from sise_rt.phases.masks import constant_maps, is_constant

from .query import Finding, Found, Query


def score_cam(query: Query) -> list[Found]:
    """ReLU(sum_k Psi(x * norm01(A_k)) A_k) over the maps of the last block that are not flat."""
    maps = query.features.maps[-1]
    chosen = np.flatnonzero(~constant_maps(maps))
    if not len(chosen):
        return [query.no_evidence(t, why="every map of the last block is flat") for t in query.targets]
    scoring = query.scoring()
    scores = scoring.scores(-1, chosen, query.ticker(len(chosen)))
    query.clock.add("scoring", scoring.seconds(len(chosen)))
    shaped = ~is_constant(scores.minimum, scores.maximum)
    found: list[Found] = []
    for i, target in enumerate(query.targets):
        own = query.on_own_clock()
        with own.clock("fusion"):
            weights = scores.confidences[shaped, i].astype(np.float64)
            combined = np.einsum("k,khw->hw", weights, maps[chosen[shaped]].astype(np.float64))
            raw = np.maximum(query.resized(combined), 0)
        if not raw.any():
            found.append(query.no_evidence(target))
            continue
        passes = query.features.passes + len(chosen)
        found.append(Finding(raw, passes, len(chosen), scoring.batches.size, own.clock.seconds))
    return found
