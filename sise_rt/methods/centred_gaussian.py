"""A Gaussian in the middle, a reference: what attention to the middle of the picture alone would score."""

from __future__ import annotations

import numpy as np

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Query
from .reference_maps import same_for_all


def centred_gaussian(query: Query, call: Call, clock: Clock, *, spread: float) -> list[Answer]:
    """exp(-(x^2 + y^2) / 2), x and y the distance from the middle in standard deviations along each side.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        spread: standard deviation, as a share of the side.
    """
    with clock("fusion"):
        rows, columns = (
            np.exp(-0.5 * ((np.arange(side) + 0.5 - side / 2) / (spread * side)) ** 2) for side in query.size
        )
        map_ = np.outer(rows, columns)
    return same_for_all(query, clock, map_, "the input has no middle")


METHOD = Method(
    name="gaussian",
    run=centred_gaussian,
    help="Centred Gaussian (a reference, which explains nothing): high in the middle of the picture.",
    options=(Option("spread", 0.25, "Standard deviation, as a share of each side.", Range(0.01, 10)),),
)
