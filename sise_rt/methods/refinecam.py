"""RefineCAM (Domeniconi et al., arXiv 2605.14641, 2026): the product of a CAM at every block."""

from __future__ import annotations

import numpy as np

from .block_cams import block_cams, block_gradients
from .grad_cam_plus_plus import plus_plus_weights
from .method import Method
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen


def refinecam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """prod_b U_b, U_b Grad-CAM++ at block b, at the input's resolution and in [0, 1].

    A block whose CAM is zero everywhere would leave nothing: it is left out, with a warning.

    Raises:
        BundleError: the bundle has no gradients.
        ModelError: the model's maps or gradients are not finite.
    """

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("scoring"):
            found = block_gradients(query, call, target)
        with clock("fusion"):
            cams, skipped = block_cams(query, found, plus_plus_weights)
            usable = [cam for cam in cams if cam is not None]
            raw = np.prod(usable, axis=0) if usable else np.zeros(query.size)
        if not raw.any():
            return Nothing() if found[-1][1].any() else unseen(query, target)
        return Finding(raw=raw, passes=call.features.passes + 1, warnings=tuple(skipped))

    return each_target(query, clock, explain_one)


METHOD = Method(
    name="refinecam",
    run=refinecam,
    help="RefineCAM (Domeniconi et al., arXiv 2026): the product of Grad-CAM++ at every block.",
    graph="last_block_gradient",
    features=True,
    gradients=True,
)
