"""Gradient-score heads: the reverse pass of each block, ending in one number a feature map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from sise_rt.bundle import Block
from sise_rt.errors import UnsupportedOperator

from ..gradients.reverse import reverse
from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from ..ir.types import TensorType


def gradient_name(index: int) -> str:
    """The gradient of the log-odds at the output of block `index` (from 1), shaped like the output."""
    return f"gradient_{index}"


def alpha_name(index: int) -> str:
    """The gradient scores of block `index` (from 1), shaped (N, K)."""
    return f"alpha_{index}"


def heads(network: Network, pieces: Sequence[Graph], blocks: Sequence[Block]) -> list[Graph]:
    """Build one head a block; their constants and tensor types join the network's.

    Head b takes the output of block b and the gradient at the output of block b + 1 (the last head:
    `targets`, int64 (N,), of which a negative one is the class with the highest logit), recomputes what lies
    between, and gives the gradient at the output of block b and alpha_b, eq. 6: the mean over locations of
    the gradient of the target's log-odds.

    Args:
        network: the canonical network.
        pieces: from `split`: one graph a block, then the classifier.
        blocks: the block outputs.

    Raises:
        UnsupportedOperator: an operator between a block output and the logits has no gradient rule.
    """
    network.types["targets"] = TensorType(TensorProto.INT64, (network.batch,))
    built = []
    for index in range(len(blocks), 0, -1):
        block, ahead = blocks[index - 1], pieces[index]
        dtype = network.types[block.tensor].dtype
        op = Builder(f"{OWN_PREFIX}head{index}/", network.types, network.weights, dtype)
        if index == len(blocks):
            given = "targets"
            seed = log_odds_gradient(op, network)
        else:
            given = seed = gradient_name(index + 1)
        try:
            gradient = reverse(op, ahead.nodes, {ahead.outputs[0]: seed}, [block.tensor])[block.tensor]
        except UnsupportedOperator as error:
            raise UnsupportedOperator(f"{error}; --without-gradients exports without them") from error
        op.Identity(gradient, names=[gradient_name(index)])
        op.ReduceMean(gradient_name(index), op.constant([2, 3]), keepdims=0, names=[alpha_name(index)])
        network.adopt(op)
        network.types[gradient_name(index)] = network.types[block.tensor]
        network.types[alpha_name(index)] = TensorType(
            network.types[block.tensor].element, (network.batch, block.channels)
        )
        forward = [*ahead.nodes, *op.nodes]
        outputs = (gradient_name(index), alpha_name(index))
        built.append(Graph.of(f"heads/{index:02d}", forward, (block.tensor, given), outputs))
    return built[::-1]


def log_odds_gradient(op: Builder, network: Network) -> str:
    """Add the gradient of the target's log-odds with respect to the logits, (N, classes).

    A target that is not known before the logits are costs no second pass: below 0 it is the best class.

    The log-odds are z_c - logsumexp_{j != c} z_j for softmax and z_c for sigmoid. They rank and sign feature
    maps as the probability does (the factor p (1 - p) is common and positive), and do not vanish where the
    model is sure.
    """
    best = op.ArgMax("logits", axis=1, keepdims=0)
    targets = op.Where(op.Less("targets", op.constant(0)), best, "targets")
    off_on = op.constant(np.array([0, 1], op.dtype))
    chosen = op.OneHot(targets, op.constant(np.array([network.classes])), off_on, axis=1)
    if network.activation == "sigmoid":
        return chosen
    others = op.Where(
        op.Cast(chosen, to=TensorProto.BOOL), op.constant(np.array(-np.inf, op.dtype)), "logits"
    )
    return op.Sub(chosen, op.Softmax(others, axis=1))
