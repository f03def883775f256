"""Integrated Grad-CAM (Sattarzadeh et al., ICASSP 2021) at the last block."""

from __future__ import annotations

import numpy as np

from sise_rt.running.finite import require_finite

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen

VARIANTS = ("figure", "notebook")
NUMBERS = "maps, gradients or logits"


def integrated_grad_cam(query: Query, call: Call, clock: Clock, *, steps: int, variant: str) -> list[Answer]:
    """Grad-CAM along the straight way from a black picture x0 to the picture x.

    With w_k(t) the mean over locations of the gradient of the target's logit at x(t) = x0 + t (x - x0):
    `figure`, as the authors' figure has it, takes t = 1/n, 2/n ... 1 and is the mean over t of
    ReLU(sum_k w_k(t) (A_k(t) - A_k(0))). `notebook`, as their notebook has it, takes t = 0, 1/n ... (n - 1)/n
    and is ReLU(sum_t sum_k w_k(t) A_k(t)).

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        steps: n, on the way.
        variant: `figure` or `notebook`.

    Raises:
        BundleError: the bundle has no gradients.
        ModelError: the model's numbers are not finite on the way.
    """
    spec = query.engine.manifest.preprocess
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    black = np.broadcast_to(-mean / std, query.image.shape)
    first = int(variant == "figure")
    batches = call.batches("last_block_gradient")
    tick = call.ticker(steps * len(query.targets))

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("scoring"):
            start = query.engine.last_block_gradient(black, query.one_hot(target))[0].astype(np.float64)
            require_finite(NUMBERS, "on the way to this image", start)

            def cams(part: slice) -> np.ndarray:
                ways = [i / steps for i in range(first + part.start, first + part.stop)]
                t = np.array(ways, np.float32)[:, None, None, None]
                maps, gradient, logits = query.engine.last_block_gradient(
                    black + t * (query.image - black), query.one_hot(target, len(t))
                )
                # A ReLU would hide one that is minus infinity.
                require_finite(NUMBERS, "on the way to this image", maps, gradient, logits)
                weights = gradient.mean(axis=(2, 3), dtype=np.float64)
                if variant == "figure":
                    each = np.einsum("tk,tkhw->thw", weights, maps - start)
                    return np.maximum(each, 0).sum(axis=0)
                return np.einsum("tk,tkhw->hw", weights, maps.astype(np.float64))

            total = sum(batches.each(steps, cams, tick))
        with clock("fusion"):
            raw = query.resized(np.maximum(total / steps, 0))
        if not raw.any():
            return unseen(query, target)
        return Finding(raw=raw, passes=steps + 1, batch=batches.size)

    return each_target(query, clock, explain_one)


METHOD = Method(
    name="integrated-grad-cam",
    run=integrated_grad_cam,
    help="Integrated Grad-CAM (Sattarzadeh et al., ICASSP 2021) at the last block.",
    options=(
        Option("steps", 50, "On the way from a black picture to the picture.", Range(low=1)),
        Option(
            "variant", "figure", "The rule of the authors' figure, or of their notebook.", choices=VARIANTS
        ),
    ),
    graph="last_block_gradient",
    gradients=True,
)
