"""Eigen-CAM (Muhammad and Yeasin, IJCNN 2020) at the last block, the same for every class."""

from __future__ import annotations

import numpy as np

from sise_rt.cautions import Caution

from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target

SAME = Caution(
    "class-ignored", "the map is the same for every class: it shows where the last block is active"
)


def eigen_cam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """The last block's maps projected onto their first principal component.

    Like the paper, and unlike some libraries, without taking the mean of the places off before.
    """
    with clock("fusion"):
        raw = np.maximum(query.resized(principal(call.features.maps[-1].astype(np.float64))), 0)

    def explain_one(place: int, target: int, clock: Clock) -> Finding | Nothing:
        if not raw.any():
            return Nothing(why="every map of the last block is zero")
        return Finding(raw=raw, passes=call.features.passes, warnings=(SAME,))

    return each_target(query, clock, explain_one)


def principal(maps: np.ndarray) -> np.ndarray:
    """Maps (K, h, w) on the first right singular vector of their (h w, K) matrix: (h, w).

    A singular vector has no sign of its own: it gets the one under which the projection adds up to more than
    0, as that of maps that are nowhere negative does.
    """
    places = maps.reshape(len(maps), -1).T
    left, values, _ = np.linalg.svd(places, full_matrices=False)
    projected = left[:, 0] * values[0]
    return (projected if projected.sum() >= 0 else -projected).reshape(maps.shape[1:])


METHOD = Method(
    name="eigen-cam",
    run=eigen_cam,
    help="Eigen-CAM (Muhammad and Yeasin, IJCNN 2020) at the last block, the same for every class.",
    features=True,
)
