"""Gradient-score heads: the reverse pass of each block, ending in one number a feature map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from onnx import helper

from sise_rt.errors import UnsupportedOperator
from sise_rt.graphs import GraphSpec, head_graph
from sise_rt.manifest import BEST

from ..gradients.reverse import reverse
from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from .contract import graph_by


def gradient_heads(network: Network, pieces: Sequence[Graph], specs: Mapping[str, GraphSpec]) -> list[Graph]:
    """Build one head a block; their constants join the network's.

    Head b takes the output of block b and the gradient at the output of block b + 1 (the last head:
    `targets`, int64 (N,), as of `log_odds_gradient`), recomputes what lies
    between, and gives the gradient at the output of block b and alpha_b, eq. 6: the mean over locations of
    the gradient of the target's log-odds.

    Args:
        network: the canonical network.
        pieces: from `cut_at_blocks`: one graph a block, then the classifier.
        specs: of the heads, by name.

    Raises:
        UnsupportedOperator: an operator between a block output and the logits has no gradient rule.
    """
    heads: list[Graph] = []
    for index in range(len(pieces) - 1, 0, -1):
        spec, ahead = specs[head_graph(index)], pieces[index]
        (block, given), (gradient, alpha) = (
            (one.name, other.name) for one, other in (spec.inputs, spec.outputs)
        )
        op = Builder(f"{OWN_PREFIX}head{index}/", network.types, network.weights, network.types[block].dtype)
        seed = given if heads else log_odds_gradient(op, network)
        try:
            at_block = reverse(op, ahead.nodes, {ahead.outputs[0]: seed}, [block])[block]
        except UnsupportedOperator as error:
            raise UnsupportedOperator(
                f"{error.message}; without gradients it can be exported", settings=("gradients",)
            ) from error
        op.Identity(at_block, names=[gradient])
        op.ReduceMean(gradient, op.constant([2, 3]), keepdims=0, names=[alpha])
        network.adopt(op)
        heads.append(graph_by(spec, [*ahead.nodes, *op.nodes]))
    return heads[::-1]


def log_odds_gradient(op: Builder, network: Network) -> str:
    """Add the gradient of the target's log-odds with respect to the logits, (N, classes).

    Classes that are not known before the logits are cost no second pass: a target of -1 is the one with the
    highest logit, -2 the next, and so on. Targets are one an image, or several of one image.

    The log-odds are z_c - logsumexp_{j != c} z_j for softmax and z_c for sigmoid; where
    the output itself is explained, it is the output. They rank and sign feature
    maps as the probability does (the factor p (1 - p) is common and positive), and do not vanish where the
    model is sure.
    """
    count = op.constant([network.classes])
    _, by_logit = op.TopK("logits", count, axis=1, outputs=2)
    _, ranks = op.TopK(by_logit, count, axis=1, largest=0, outputs=2)  # of each class
    targets = op.Unsqueeze("targets", op.constant([1]))
    by_rank = op.Less(targets, op.constant(0))
    wanted = op.Where(by_rank, op.Sub(op.constant(BEST), targets), targets)
    chosen = op.Equal(op.Where(by_rank, ranks, op.constant(np.arange(network.classes)[None])), wanted)
    one_hot = op.Cast(chosen, to=helper.np_dtype_to_tensor_dtype(op.dtype))
    if network.activation != "softmax":
        return one_hot
    others = op.Where(chosen, op.constant(np.array(-np.inf, op.dtype)), "logits")
    return op.Sub(one_hot, op.Softmax(others, axis=1))
