"""Recognising the activation that a classifier ends in: one operator, or several that make one up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from ..ir.network import Network
from ..ir.nodes import attribute

ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}
Producers = Mapping[str, onnx.NodeProto]


def activation_of(
    node: onnx.NodeProto, network: Network, producers: Producers
) -> tuple[str, str, int | None] | None:
    """The activation whose result `node` gives.

    Returns:
        Its operator (of `ACTIVATIONS`), the tensor that it takes, and a softmax's axis; None if there is
        none.
    """
    if node.op_type in ACTIVATIONS:
        axis = None if node.op_type == "Sigmoid" else attribute(node, "axis", -1)
        return node.op_type, node.input[0], axis
    before = producers.get(node.input[0]) if node.input else None
    if node.op_type == "Log" and before is not None:
        inner = activation_of(before, network, producers)
        return ("LogSoftmax", *inner[1:]) if inner and inner[0] == "Softmax" else None
    return _written_softmax(node, network, producers) or _written_sigmoid(node, network, producers)


def _written_softmax(
    node: onnx.NodeProto, network: Network, producers: Producers
) -> tuple[str, str, int] | None:
    """exp(z) / sum(exp(z)), with or without the maximum subtracted from z."""
    if node.op_type != "Div":
        return None
    above, below = (producers.get(name) for name in node.input)
    if above is None or below is None or above.op_type != "Exp" or below.op_type != "ReduceSum":
        return None
    axis = _only_axis(below, network)
    if axis is None or below.input[0] != above.output[0] or not attribute(below, "keepdims", 1):
        return None
    shifted = producers.get(above.input[0])
    if shifted is not None and shifted.op_type == "Sub":
        largest = producers.get(shifted.input[1])
        if largest is not None and largest.op_type == "ReduceMax" and largest.input[0] == shifted.input[0]:
            return "Softmax", shifted.input[0], axis
    return "Softmax", above.input[0], axis


def _only_axis(node: onnx.NodeProto, network: Network) -> int | None:
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1] in network.weights:
        axes = network.weights[node.input[1]].tolist()
    return axes[0] if axes and len(axes) == 1 else None


def _written_sigmoid(
    node: onnx.NodeProto, network: Network, producers: Producers
) -> tuple[str, str, None] | None:
    """1 / (1 + exp(-z))."""
    below = producers.get(node.input[-1]) if node.input else None
    if node.op_type == "Div":
        if not _is_one(node.input[0], network):
            return None
    elif node.op_type != "Reciprocal":
        return None
    if below is None or below.op_type != "Add" or not any(_is_one(name, network) for name in below.input):
        return None
    term = next((producers.get(name) for name in below.input if not _is_one(name, network)), None)
    negated = producers.get(term.input[0]) if term is not None and term.op_type == "Exp" else None
    return ("Sigmoid", negated.input[0], None) if negated is not None and negated.op_type == "Neg" else None


def _is_one(name: str, network: Network) -> bool:
    return name in network.weights and bool(np.all(network.weights[name] == 1))
