"""The picture's edges, a reference: what an edge detector shows (Adebayo et al., NeurIPS 2018)."""

from __future__ import annotations

import cv2
import numpy as np

from .method import Method
from .query import Answer, Call, Clock, Query
from .reference_maps import same_for_all


def edges(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """Magnitude of Sobel's 3 x 3 gradient of the model's input, over all channels; mirrored at the border."""
    with clock("fusion"):
        square = np.zeros(query.size)
        for channel in query.image[0].astype(np.float64):
            for along in ((1, 0), (0, 1)):
                square += (
                    cv2.Sobel(channel, cv2.CV_64F, *along, ksize=3, borderType=cv2.BORDER_REFLECT_101) ** 2
                )
    return same_for_all(query, clock, np.sqrt(square), "the picture is of one colour")


METHOD = Method(
    name="edges",
    run=edges,
    help="Edge map (a reference, which explains nothing): Sobel's gradient of the picture.",
)
