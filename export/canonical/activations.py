"""Recognising the activation that a classifier ends in: one operator, or several that make one up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from ..ir.network import Network
from ..ir.nodes import attribute

ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}
Producers = Mapping[str, onnx.NodeProto]


@dataclass(frozen=True)
class Activation:
    """What gives a classifier's confidences.

    Attributes:
        operator: of `ACTIVATIONS`.
        given: the tensor that it is of.
        axis: a softmax's.
        factor: by which that tensor is multiplied first.
    """

    operator: str
    given: str
    axis: int | None = None
    factor: float = 1.0


def activation_of(node: onnx.NodeProto, network: Network, producers: Producers) -> Activation | None:
    """The activation whose result `node` gives, None if there is none."""
    if node.op_type in ACTIVATIONS:
        axis = None if node.op_type == "Sigmoid" else attribute(node, "axis", -1)
        return Activation(node.op_type, node.input[0], axis)
    before = producers.get(node.input[0]) if node.input else None
    if node.op_type == "Log" and before is not None:
        inner = activation_of(before, network, producers)
        return replace(inner, operator="LogSoftmax") if inner and inner.operator == "Softmax" else None
    return (
        _written_softmax(node, network, producers)
        or _written_sigmoid(node, network, producers)
        or _tanh_as_sigmoid(node, network, producers)
    )


def _written_softmax(node: onnx.NodeProto, network: Network, producers: Producers) -> Activation | None:
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
            return Activation("Softmax", shifted.input[0], axis)
    return Activation("Softmax", above.input[0], axis)


def _only_axis(node: onnx.NodeProto, network: Network) -> int | None:
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1] in network.weights:
        axes = network.weights[node.input[1]].tolist()
    return axes[0] if axes and len(axes) == 1 else None


def _written_sigmoid(node: onnx.NodeProto, network: Network, producers: Producers) -> Activation | None:
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
    return (
        Activation("Sigmoid", negated.input[0]) if negated is not None and negated.op_type == "Neg" else None
    )


def _tanh_as_sigmoid(node: onnx.NodeProto, network: Network, producers: Producers) -> Activation | None:
    """(1 + tanh(z)) / 2 = sigmoid(2 z), or tanh(z) / 2 + 1 / 2; near 0 and 1 both lose digits."""
    steps: list[tuple[str, float]] = []
    while node.op_type in ("Add", "Div", "Mul") and len(steps) < 2:
        constants = [name for name in node.input if name in network.weights]
        if len(constants) != 1 or (node.op_type == "Div" and constants != [node.input[1]]):
            return None
        values = np.unique(network.weights[constants[0]])
        inner = producers.get(next(name for name in node.input if name not in constants))
        if values.size != 1 or inner is None:
            return None
        kind, value = node.op_type, float(values[0])
        steps.append(("Mul", 1 / value) if kind == "Div" and value else (kind, value))
        node = inner
    halves = ([("Mul", 0.5), ("Add", 1.0)], [("Add", 0.5), ("Mul", 0.5)])
    return (
        Activation("Sigmoid", node.input[0], factor=2.0)
        if node.op_type == "Tanh" and steps in halves
        else None
    )


def _is_one(name: str, network: Network) -> bool:
    return name in network.weights and bool(np.all(network.weights[name] == 1))
