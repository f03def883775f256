"""SmoothGrad (Smilkov et al., 2017)."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import OutOfMemory
from sise_rt.running.finite import require_finite

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen


def smoothgrad(
    query: Query, call: Call, clock: Clock, *, samples: int, noise: float, seed: int
) -> list[Answer]:
    """Max over channels of |mean gradient of the target's logit over noisy copies of the picture|.

    The noise is Gaussian, in the model's input space, with a share of the picture's range there as its
    standard deviation; the copies are the same for all targets.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        samples: noisy copies.
        noise: standard deviation as a share of the range.
        seed: of the noise.

    Raises:
        BundleError: the bundle has no gradient with respect to the image.
        ModelError: the model's numbers are not finite for noisy copies.
    """
    batches, tick = call.batches("image_gradient"), call.ticker(samples * len(query.targets))
    spread = np.float32(noise * np.ptp(query.image))

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        rng, total = np.random.default_rng(seed), np.zeros(query.image.shape[1:])

        def add(part: slice) -> None:
            before, count = rng.bit_generator.state, part.stop - part.start
            copies = rng.standard_normal((count, *query.image.shape[1:]), np.float32)
            try:
                found = query.engine.image_gradient(
                    query.image + spread * copies, query.one_hot(target, count)
                )
            except OutOfMemory:
                rng.bit_generator.state = before  # fewer of the same copies come next
                raise
            require_finite("logits or gradients", "for noisy copies of this image", *found)
            np.add(total, found[0].sum(axis=0, dtype=np.float64), out=total)

        with clock("scoring"):
            batches.each(samples, add, tick)
        with clock("fusion"):
            raw = np.abs(total / samples).max(axis=0)
        if not raw.any():
            return unseen(query, target, "no pixel speaks")
        return Finding(raw=raw, passes=samples, batch=batches.size)

    return each_target(query, clock, explain_one)


METHOD = Method(
    name="smoothgrad",
    run=smoothgrad,
    help="SmoothGrad (Smilkov et al., 2017): the mean gradient over noisy copies of the picture.",
    options=(
        Option("samples", 50, "Noisy copies, each a pass forward and back.", Range(low=1)),
        Option(
            "noise",
            0.15,
            "Its standard deviation, as a share of the input's range.",
            Range(0, 10, above=True),
        ),
        Option("seed", 0, "Of the noise.", Range(low=0)),
    ),
    graph="image_gradient",
    gradients=True,
)
