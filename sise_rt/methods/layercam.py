"""LayerCAM (Jiang et al., TIP 2021) at the last block."""

from __future__ import annotations

import numpy as np

from .grad_cam import last_block_cam
from .method import Method
from .query import Answer, Call, Clock, Query


def layercam(query: Query, call: Call, clock: Clock) -> list[Answer]:
    """ReLU(sum_k ReLU(g_k) A_k), place by place, g the gradient of the target's logit."""
    return last_block_cam(query, clock, lambda maps, gradient: (np.maximum(gradient, 0) * maps).sum(axis=0))


METHOD = Method(
    name="layercam",
    run=layercam,
    help="LayerCAM (Jiang et al., TIP 2021) at the last block.",
    graph="last_block_gradient",
    gradients=True,
)
