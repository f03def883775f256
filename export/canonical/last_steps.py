"""What stands between the last weight layer and the output: steps that leave logits logits, and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from ..ir.network import Network, image_dependent
from ..ir.nodes import operator
from .bounds import FREE, tensor_bounds
from .weight_layers import PRODUCTS, weight_layers

# Each value of the output is a value of the first input, lies between some, is their sum, or rises with it.
HARMLESS = frozenset(
    "AveragePool Cast Celu Clip DepthToSpace DequantizeLinear Dropout Elu Expand Flatten Gather "
    "GatherElements GatherND GlobalAveragePool GlobalMaxPool Identity LeakyRelu MaxPool PRelu Pad "
    "QuantizeLinear ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize Round Slice "
    "SpaceToDepth Split Squeeze Tile Transpose Unsqueeze".split()
)
ALIKE = frozenset("Add Concat Max Mean Min Sum Where".split())  # of several tensors that count alike
ROUNDING = frozenset({"Ceil", "Floor", "Round"})
CHOOSING = frozenset({"Clip", "Compress", "Gather", "GatherElements", "GatherND", "Slice", "Split", "TopK"})
QUANTISING = frozenset({"DequantizeLinear", "QuantizeLinear"})
MOVING = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
POSITIVE = frozenset("Abs Exp ReduceL1 ReduceL2 ReduceSumSquare Relu Softplus Sqrt".split())
DOES = {
    "Neg": "turns their sign",
    "LogSoftmax": "gives what is then changed or mixed with others",
    "Sigmoid": "gives what is then changed or mixed with others",
    "Softmax": "gives what is then changed or mixed with others",
}


@dataclass(frozen=True)
class Tail:
    """The part of a network that its output is read from.

    Attributes:
        network: whose output is `logits`.
        producers: the node that gives a tensor.
        dependent: the tensors that depend on the image.
    """

    network: Network
    producers: Mapping[str, onnx.NodeProto]
    dependent: set[str]

    @classmethod
    def of(cls, network: Network) -> Tail:
        """That of a network."""
        nodes = network.graph.nodes
        producers = {name: node for node in nodes for name in node.output}
        return cls(network, producers, image_dependent(nodes, ["images"]))

    def moving(self, node: onnx.NodeProto) -> list[str]:
        """The inputs of a node that depend on the image."""
        return [name for name in node.input if name in self.dependent]

    def behind_moves(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor's values, which others only move."""
        node = self.producers.get(name)
        while node is not None and node.op_type in MOVING:
            node = self.producers.get(node.input[0])
        return node

    def steps(self) -> Iterator[tuple[onnx.NodeProto, str]]:
        """The nodes behind the last weight layers, from the output on; and what else they do."""
        nodes = self.network.graph.nodes
        layers = {nodes[position].output[0] for position in weight_layers(self.network)}
        waiting, seen = ["logits"], set()
        while waiting:
            node = self.producers.get(waiting.pop())
            if node is None or node.output[0] in seen or node.output[0] in layers:
                continue
            seen.add(node.output[0])
            if node.op_type in PRODUCTS or node.op_type == "Einsum":  # of two tensors, as attention's
                continue
            does, followed = self._judged(node)
            yield node, does
            waiting += reversed(followed)

    def _judged(self, node: onnx.NodeProto) -> tuple[str, list[str]]:
        """What a node does that leaves logits no logits, or ""; and the inputs to look behind."""
        kind, moving = node.op_type, self.moving(node)
        if node.domain not in ("", "ai.onnx"):
            return "changes them", moving
        if kind in HARMLESS:
            return "", moving[:1]
        if kind in ALIKE:
            return "", moving
        if kind == "BatchNormalization":
            return self._by_factor(node.input[1]), moving
        if kind in ("Sub", "Mul", "Div"):
            return self._arithmetic(node, moving)
        return DOES.get(kind, "changes them"), moving

    def _arithmetic(self, node: onnx.NodeProto, moving: list[str]) -> tuple[str, list[str]]:
        kind, (left, right) = node.op_type, node.input
        if len(moving) == 1 and kind == "Sub":
            return ("" if moving == [left] else "subtracts them from a constant"), moving
        if len(moving) == 1 and (kind == "Mul" or moving == [left]):
            factor = right if moving == [left] else left
            return self._by_factor(factor), moving
        if len(moving) == 1:
            return "divides a constant by them", moving
        # What all classes share leaves their order: a value subtracted, a factor that is not negative.
        shared = [name for name in node.input if self._size(name) < self._size(node.output[0])]
        if kind == "Mul" and len(shared) == 1 and self._never_negative(shared[0]):
            return "", [name for name in node.input if name not in shared]
        if kind != "Mul" and shared == [right] and (kind == "Sub" or self._never_negative(right)):
            return "", [left]
        does = {
            "Sub": "subtracts one tensor from",
            "Mul": "multiplies one tensor by",
            "Div": "divides one tensor by",
        }
        return f"{does[kind]} another", moving

    def _by_factor(self, name: str) -> str:
        """What a multiplication by a constant does that leaves logits no logits, or ""."""
        value = self.network.weights.get(name)
        if value is None:
            return "multiplies by a factor that may be negative"
        if np.all(value > 0):
            return ""
        if np.all(value < 0):
            return "multiplies by a negative factor"
        return "multiplies by factors that are not all above 0"

    def _size(self, name: str) -> int:
        """How many values an image has there."""
        return prod(int(extent or 1) for extent in self.network.types[name].shape)

    def _never_negative(self, name: str) -> bool:
        if (tensor_bounds(self.network, name) or FREE)[0] >= 0:
            return True
        node = self.producers.get(name)
        while node is not None and node.op_type in MOVING | {"Clip", "Max", "Expand"}:
            node = self.producers.get(node.input[0])
        return node is not None and node.op_type in POSITIVE


def unclear_step(network: Network) -> str | None:
    """What makes it doubtful that outputs are logits: the last step that is not known to leave them so.

    Harmless are a ReLU and other units that rise, pools and means, values that are moved, what is added,
    positive factors. None if there is nothing else behind the last weight layer.
    """
    for node, does in Tail.of(network).steps():
        if does:
            named = node.name or node.output[0]
            return f"behind the last weight layer {operator(node)} (node {named!r}) {does}"
    return None


def may_lose_sum(network: Network) -> bool:
    """Whether the output may sum to 1 for some pictures and not for others.

    So it is where something is left out of what was normalised (`softmax(z)[:, 1:]`), cut off or rounded.
    """
    tail = Tail.of(network)
    waiting, seen = ["logits"], set()
    while waiting:
        node = tail.producers.get(waiting.pop())
        if node is None or node.output[0] in seen:
            continue
        seen.add(node.output[0])
        if node.op_type in CHOOSING | ROUNDING | QUANTISING or _cuts(network, node):
            return True
        moving = tail.moving(node)
        divided = node.op_type == "Div" and len(moving) > 1
        if not (divided or node.op_type == "Softmax" or node.op_type in PRODUCTS):  # which make the sum
            waiting += moving
    return False


def before_minus(network: Network) -> str | None:
    """The tensor whose sign the last operator turns, None if it turns none."""
    tail = Tail.of(network)
    node = tail.behind_moves("logits")
    if node is None or len(moving := tail.moving(node)) != 1:
        return None
    constants = [network.weights[name] for name in node.input if name in network.weights]
    turned = (
        node.op_type == "Neg"
        or (node.op_type == "Sub" and moving == [node.input[1]])
        or (node.op_type in ("Mul", "Div") and any(np.all(value < 0) for value in constants))
    )
    return moving[0] if turned else None


def roundings(network: Network) -> list[onnx.NodeProto]:
    """The nodes behind the last weight layer that round, casts to integers among them, from the output on."""
    return [node for node, _ in Tail.of(network).steps() if node.op_type in ROUNDING or _cuts(network, node)]


def _cuts(network: Network, node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and network.types[node.output[0]].dtype.kind in "iu"
