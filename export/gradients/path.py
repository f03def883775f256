"""Which tensors a gradient passes through on its way from some to others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import onnx
from onnx import TensorProto, defs

from ..ir.network import STRAIGHT_THROUGH
from ..ir.nodes import attribute, operator, reads
from .rules import PIECEWISE_CONSTANT, RULES

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})
# Their second outputs say where the first was found, and do not change when the inputs change a little.
GIVE_INDICES = frozenset({"MaxPool", "TopK"})


def gradient_path(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], inputs: Iterable[str]) -> set[str]:
    """The tensors through which `inputs` reach `outputs` differentiably, both ends included."""
    forward = set(inputs)
    for node in nodes:
        if followed(node) & forward:
            moving = node.output[:1] if operator(node) in GIVE_INDICES else node.output
            forward.update(name for name in moving if name)
    backward = set(outputs)
    for node in reversed(nodes):
        if any(name in backward for name in node.output):
            backward |= followed(node)
    return forward & backward


def followed(node: onnx.NodeProto) -> set[str]:
    """The inputs whose small changes the outputs follow: none that only gives a type, a size or a place."""
    kind = operator(node)
    if kind not in PIECEWISE_CONSTANT and kind not in RULES:  # arithmetic of quantised tensors among them
        return reads(node)
    return {name for name, follows in zip(node.input, follows_each(node), strict=True) if name and follows}


def follows_each(node: onnx.NodeProto) -> list[bool]:
    """Of each input of an operator that is known here, whether the outputs follow its small changes."""
    kind, count = operator(node), len(node.input)
    if passed_through(node):
        return [True]
    if kind in PIECEWISE_CONSTANT or (kind == "Cast" and attribute(node, "to") not in FLOATS):
        return [False] * count
    if kind == "CastLike":
        return [True, False]
    if kind == "DequantizeLinear":  # whose integers do have a gradient
        return [True] * count
    numbers = _numbers(kind)
    return [numbers[min(i, len(numbers) - 1)] for i in range(count)]


@cache
def _numbers(op_type: str) -> list[bool]:
    """Of each input of an operator, whether it may be of floats; the last one stands for all that follow."""
    if not defs.has(op_type):  # of a newer onnx than the one that is installed
        return [True]
    schema = defs.get_schema(op_type)
    return [any("float" in kind for kind in entry.types) if entry.types else True for entry in schema.inputs]


def missing_rules(
    nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], inputs: Iterable[str]
) -> list[onnx.NodeProto]:
    """The nodes between `inputs` and `outputs` whose operator has no gradient rule."""
    path = gradient_path(nodes, outputs, inputs)
    return [
        node
        for node in nodes
        if crosses(node, path) and operator(node) not in RULES and not passed_through(node)
    ]


def crosses(node: onnx.NodeProto, path: set[str]) -> bool:
    """Whether a gradient that goes through the tensors of a path goes through a node."""
    return any(name in path for name in node.output) and bool(followed(node) & path)


def passed_through(node: onnx.NodeProto) -> bool:
    """Whether it rounds, and gradients pass all the same, as they pass a quantisation."""
    return node.name.startswith(STRAIGHT_THROUGH)
