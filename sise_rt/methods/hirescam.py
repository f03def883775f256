"""HiResCAM (Draelos and Carin, arXiv 2020) at the last block."""

from __future__ import annotations

from .grad_cam import last_block_cam
from .method import Method
from .query import Answer, Call, Clock, Query


def hirescam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k g_k A_k), place by place, g the gradient of the target's logit."""
    return last_block_cam(query, clock, lambda maps, gradient: (gradient * maps).sum(axis=0))


METHOD = Method(
    name="hirescam",
    run=hirescam,
    help="HiResCAM (Draelos and Carin, arXiv 2020) at the last block.",
    graph="last_block_gradient",
    gradients=True,
)
