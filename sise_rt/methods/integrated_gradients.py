"""Integrated gradients (Sundararajan et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.running.batches import Batches
from sise_rt.running.finite import require_finite

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen


def integrated_gradients(query: Query, call: Call, clock: Clock, *, steps: int) -> list[Answer]:
    """|sum over channels of (x - x0) times the mean gradient of the target's logit between x0 and x|.

    The picture x0 is zero in the model's input space, as pixels that a mask hides are. The mean is taken at
    the middles of equal steps, and the magnitude, because neighbouring pixels differ in sign.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        steps: on the way.

    Raises:
        BundleError: the bundle has no gradient with respect to the image.
        ModelError: the model's numbers are not finite on the way.
    """
    batches, tick = call.batches("image_gradient"), call.ticker(steps * len(query.targets))

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("scoring"):
            values = attributions(query, target, steps, batches, tick)
        with clock("fusion"):
            raw = np.abs(values.sum(axis=0))
        if not raw.any():
            return unseen(query, target, "no pixel speaks")
        return Finding(raw=raw, passes=steps, batch=batches.size)

    return each_target(query, clock, explain_one)


def attributions(
    query: Query, target: int, steps: int, batches: Batches, tick: Callable[[int], None]
) -> np.ndarray:
    """Signed attributions (C, H, W) float64, which sum to about z_c(x) - z_c(x0) (completeness)."""
    total = np.zeros(query.image.shape[1:])

    def add(part: slice) -> None:
        middles = [(2 * i + 1) / (2 * steps) for i in range(part.start, part.stop)]
        t = np.array(middles, np.float32)[:, None, None, None]
        gradient, logits = query.engine.image_gradient(t * query.image, query.one_hot(target, len(t)))
        require_finite("logits or gradients", "on the way to this image", gradient, logits)
        np.add(total, gradient.sum(axis=0, dtype=np.float64), out=total)

    batches.each(steps, add, tick)
    return query.image[0].astype(np.float64) * total / steps


METHOD = Method(
    name="integrated-gradients",
    run=integrated_gradients,
    help="Integrated gradients (Sundararajan et al., ICML 2017).",
    options=(Option("steps", 50, "On the way from an empty input to the picture.", Range(low=1)),),
    graph="image_gradient",
    gradients=True,
)
