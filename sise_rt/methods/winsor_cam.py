"""Winsor-CAM (Wall et al., TPAMI 2026): a sum of Grad-CAM at every block, whose weights are winsorised."""

from __future__ import annotations

import numpy as np

from .block_cams import block_cams, block_gradients
from .method import Method, Option, Range
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen

LEAST, MOST = 0.1, 1.0  # weights of the least and of the most important block, as in the authors' code


def winsor_cam(query: Query, call: Call, clock: Clock, *, percentile: float) -> list[Answer]:
    """sum_b w_b U_b, U_b Grad-CAM at block b in [0, 1], w_b the block's importance, winsorised.

    The authors take every convolution; a bundle has the outputs of its blocks. The importance of a block is
    the positive part of the mean over its maps of Grad-CAM's weights.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        percentile: of the importances above 0: higher ones are lowered to it; 0 weighs all of these alike.

    Raises:
        BundleError: the bundle has no gradients.
        ModelError: the model's maps or gradients are not finite.
    """

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("scoring"):
            found = block_gradients(query, call, target)
        with clock("fusion"):
            cams, skipped = block_cams(query, found, lambda maps, gradient: gradient.mean(axis=(1, 2)))
            weights = winsorised(np.array([max(gradient.mean(), 0) for _, gradient in found]), percentile)
            raw = np.zeros(query.size)
            for cam, weight in zip(cams, weights, strict=True):
                raw += 0 if cam is None else weight * cam
        if not raw.any():
            return Nothing() if found[-1][1].any() else unseen(query, target)
        return Finding(raw=raw, passes=call.features.passes + 1, warnings=tuple(skipped))

    return each_target(query, clock, explain_one)


def winsorised(importances: np.ndarray, percentile: float) -> np.ndarray:
    """Weights (B,) of importances (B,) that are at least 0; those that are 0 stay so.

    Those above the percentile of the positive ones become that; then the positive ones go to LEAST to MOST,
    or all to MOST where they are equal.
    """
    weights = np.zeros_like(importances)
    some = importances > 0
    if some.any():
        lowered = np.minimum(importances[some], np.percentile(importances[some], percentile))
        width = np.ptp(lowered)
        scaled = LEAST + (lowered - lowered.min()) / width * (MOST - LEAST) if width else MOST
        weights[some] = scaled
    return weights


METHOD = Method(
    name="winsor-cam",
    run=winsor_cam,
    help="Winsor-CAM (Wall et al., TPAMI 2026): Grad-CAM at every block, added with winsorised weights.",
    options=(
        Option(
            "percentile",
            90.0,
            "To which the importance of a block is lowered; 0 weighs all alike.",
            Range(0, 100),
        ),
    ),
    graph="last_block_gradient",
    features=True,
    gradients=True,
)
