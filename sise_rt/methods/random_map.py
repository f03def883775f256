"""Random maps, a reference."""

from __future__ import annotations

import zlib

import numpy as np

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Query
from .reference_maps import same_for_all


def random_map(query: Query, call: Call, clock: Clock, *, cells: int, seed: int) -> list[Answer]:
    """`cells` x `cells` uniform values, enlarged: smooth hills, as maps of networks have them.

    Another map for every picture, and the same for the same one: the values depend on the seed and on the
    bytes of the model's input.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        cells: along each side.
        seed: of the values.
    """
    with clock("fusion"):
        rng = np.random.default_rng((seed, zlib.crc32(query.image.tobytes())))
        map_ = query.resized(rng.random((cells, cells)))
    return same_for_all(query, clock, map_, "every value is zero")


METHOD = Method(
    name="random",
    run=random_map,
    help="Random map (a reference, which explains nothing): random values, enlarged smoothly.",
    options=(
        Option("cells", 7, "Along each side before it is enlarged.", Range(low=2, high=1000)),
        Option("seed", 0, "Of the values, beside the picture.", Range(low=0)),
    ),
)
