"""Score-CAM (Wang et al., CVPR-W 2020) at the last block, as the authors' own code has it.

A map's weight is the target's confidence in the picture under that map as a mask; the maps are added up as
they are, without normalising them, and the positive part is kept. Other implementations put a softmax over
the channels, or subtract the confidence of a blank picture.
"""

from __future__ import annotations

import numpy as np

from sise_rt.phases.masks import constant_maps
from sise_rt.phases.scoring import all_alike, zero_of
from sise_rt.pictures.flatness import is_constant

from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import undecided


def score_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k Psi(x * norm01(A_k)) A_k) over the maps of the last block that are not flat."""
    maps = call.features.maps[-1]
    chosen = np.flatnonzero(~constant_maps(maps))
    if not len(chosen):
        return each_target(query, clock, lambda *_: Nothing(why="every map of the last block is flat"))
    scoring = call.scoring()
    scores = scoring.scores(-1, chosen, call.ticker(len(chosen)))
    clock.add("scoring", scoring.seconds(len(chosen)))
    shaped = ~is_constant(scores.minimum, scores.maximum)

    def explain_one(place: int, _: int, clock: Clock) -> Finding | Nothing:
        with clock("fusion"):
            zero = zero_of([scores], place, scoring.probabilities)
            weights = scores.confidences[shaped, place].astype(np.float64) - zero
            combined = np.einsum("k,khw->hw", weights, maps[chosen[shaped]].astype(np.float64))
            raw = np.maximum(query.resized(combined), 0)
        alike = all_alike([scores.of(chosen[shaped])] if shaped.any() else [], place)
        unmoved = None if alike is None else undecided(query, alike)
        if not raw.any():
            return unmoved or Nothing()
        warnings = (unmoved.warning(),) if unmoved else ()
        passes = call.features.passes + len(chosen)
        size = scoring.batches.size
        return Finding(
            raw=raw, passes=passes, masks=len(chosen), batch=size, warnings=warnings, graph="score"
        )

    return each_target(query, clock, explain_one)


METHOD = Method(
    name="score-cam",
    run=score_cam,
    help="Score-CAM (Wang et al., CVPR-W 2020) at the last block, as the authors' own code has it.",
    features=True,
)
