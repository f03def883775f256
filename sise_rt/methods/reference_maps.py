"""What references have in common: maps that do not come from the model, to compare methods with."""

from __future__ import annotations

import numpy as np

from sise_rt.cautions import Caution

from .query import Answer, Clock, Finding, Nothing, Query, each_target

NO_EXPLANATION = Caution("model-ignored", "the map does not depend on the model: it explains nothing")


def same_for_all(query: Query, clock: Clock, map_: np.ndarray, why: str) -> list[Answer]:
    """One map for every target, with the caution that it is no explanation.

    Args:
        query: the picture and its targets.
        clock: of the method.
        map_: (H, W) float64, at least 0.
        why: there is none where the map is zero everywhere.
    """

    def explain_one(place: int, target: int, clock: Clock) -> Finding | Nothing:
        if not map_.any():
            return Nothing("no pixel differs", why)
        return Finding(raw=map_, passes=0, warnings=(NO_EXPLANATION,))

    return each_target(query, clock, explain_one)
