"""Integrated gradients (Sundararajan et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import MethodError, ModelError

from .query import Finding, Found, Query


def integrated_gradients(query: Query, *, steps: int = 50) -> list[Found]:
    """|sum over channels of (x - x0) times the mean gradient of the target's logit between x0 and x|.

    The picture x0 is zero in the model's input space, as pixels that a mask hides are. The mean is taken at
    the middles of equal steps, and the magnitude, because neighbouring pixels differ in sign.

    Args:
        query: the picture.
        steps: on the way.

    Raises:
        BundleError: the bundle has no gradient with respect to the image.
        ModelError: the model's numbers are not finite on the way.
        MethodError: `steps` is below 1.
    """
    if steps < 1:
        raise MethodError(f"steps is {steps}, at least 1 is needed")
    found: list[Found] = []
    tick = query.ticker(steps * len(query.targets))
    for target in query.targets:
        own = query.on_own_clock()
        with own.clock("scoring"):
            values = attributions(own, int(target), steps, tick)
        with own.clock("fusion"):
            raw = np.abs(values.sum(axis=0))
        if not raw.any():
            found.append(query.no_evidence(target, "no pixel speaks"))
            continue
        found.append(Finding(raw, steps, 0, query.batches("image_gradient").size, own.clock.seconds))
    return found


def attributions(query: Query, target: int, steps: int, tick: Callable[[int], None]) -> np.ndarray:
    """Signed attributions (C, H, W) float64, which sum to about z_c(x) - z_c(x0) (completeness)."""
    total = np.zeros(query.image.shape[1:])

    def add(part: slice) -> None:
        middles = [(2 * i + 1) / (2 * steps) for i in range(part.start, part.stop)]
        t = np.array(middles, np.float32)[:, None, None, None]
        gradient, logits = query.engine.image_gradient(t * query.image, query.one_hot(target, len(t)))
        if not (np.isfinite(gradient).all() and np.isfinite(logits).all()):
            raise ModelError("the model's logits or gradients are not finite on the way to this image")
        np.add(total, gradient.sum(axis=0, dtype=np.float64), out=total)

    query.batches("image_gradient").each(steps, add, tick)
    return query.image[0].astype(np.float64) * total / steps
