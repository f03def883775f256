"""The reverse pass: gradients of a network's tensors as plain ONNX operators."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence

import onnx
from onnx import helper

from sise_rt.errors import ModelError, UnsupportedOperator

from .builder import Builder
from .rules import PIECEWISE_CONSTANT, RULES, SEVERAL_OUTPUTS


def gradient_path(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], inputs: Iterable[str]) -> set[str]:
    """The tensors through which `inputs` reach `outputs` differentiably, both ends included."""
    forward = set(inputs)
    for node in nodes:
        if node.op_type not in PIECEWISE_CONSTANT and any(name in forward for name in node.input):
            forward.update(name for name in node.output if name)
    backward = set(outputs)
    for node in reversed(nodes):
        if any(name in backward for name in node.output):
            backward.update(name for name in node.input if name)
    return forward & backward


def missing_rules(
    nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], inputs: Iterable[str]
) -> list[onnx.NodeProto]:
    """The nodes between `inputs` and `outputs` whose operator has no gradient rule."""
    path = gradient_path(nodes, outputs, inputs)
    return [node for node in nodes if _crosses(node, path) and (node.domain or node.op_type not in RULES)]


def reverse(
    op: Builder, nodes: Sequence[onnx.NodeProto], seeds: Mapping[str, str], inputs: Sequence[str]
) -> dict[str, str]:
    """Add the reverse pass of `nodes` to `op`.

    Args:
        op: collects the new nodes.
        nodes: the forward pass, in topological order.
        seeds: for each output tensor, the tensor that holds the gradient there, of the same shape.
        inputs: tensors whose gradients are wanted; they may lie on each other's way.

    Returns:
        For each of `inputs`, the name of its gradient.

    Raises:
        UnsupportedOperator: a node on the way has no rule; nothing was added.
        ModelError: a gradient is needed that a rule does not give, or an input does not reach any output.
    """
    path = gradient_path(nodes, seeds, inputs)
    if missing := missing_rules(nodes, seeds, inputs):
        raise UnsupportedOperator(
            "no gradient rule for "
            + ", ".join(
                f"{node.domain + '.' if node.domain else ''}{node.op_type} (node {_name(node)})"
                for node in missing[:5]
            )
            + (f" and {len(missing) - 5} more nodes" if len(missing) > 5 else "")
            + "; rules live in sise_rt/export/rules.py, one function an operator"
        )
    parts: dict[str, list[str]] = {tensor: [gradient] for tensor, gradient in seeds.items()}
    totals: dict[str, str] = {}

    def total(tensor: str) -> str:
        if tensor not in totals:
            gradient, *others = parts[tensor]
            for other in others:
                gradient = op.Add(gradient, other)
            totals[tensor] = gradient
        return totals[tensor]

    for node in reversed(nodes):
        outputs = [name for name in node.output if name in parts]
        if not outputs or not _crosses(node, path):
            continue
        several = node.op_type in SEVERAL_OUTPUTS
        if outputs != [node.output[0]] and not several:
            raise ModelError(
                f"node {_name(node)}: the gradient of output {outputs[-1]!r} of {node.op_type} "
                "is not supported"
            )
        given = (
            [total(name) if name in parts else None for name in node.output] if several else total(outputs[0])
        )
        for name, gradient in zip(node.input, _apply(op, node, given), strict=False):
            if name not in path:
                continue
            if gradient is None:
                raise ModelError(
                    f"node {_name(node)}: {node.op_type} has no gradient for its input {name!r}, "
                    "which depends on the image"
                )
            parts.setdefault(name, []).append(gradient)
    if lost := [name for name in inputs if name not in parts]:
        raise ModelError(
            f"no gradient reaches {', '.join(map(repr, lost))} from {', '.join(map(repr, seeds))}"
        )
    return {name: total(name) for name in inputs}


def _apply(op: Builder, node: onnx.NodeProto, gradient: str | list[str | None]) -> Sequence[str | None]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    attributes = {
        key: value.decode() if isinstance(value, bytes) else value for key, value in attributes.items()
    }
    rule = RULES[node.op_type]
    output = list(node.output) if node.op_type in SEVERAL_OUTPUTS else node.output[0]
    arguments = (op, gradient, output, *node.input)
    try:
        inspect.signature(rule).bind(*arguments, **attributes)
    except TypeError as error:
        raise UnsupportedOperator(f"node {_name(node)}: the rule of {node.op_type}: {error}") from error
    try:
        return rule(*arguments, **attributes)
    except ModelError as error:
        raise type(error)(f"node {_name(node)}: {error}") from error


def _crosses(node: onnx.NodeProto, path: set[str]) -> bool:
    return any(name in path for name in node.output) and any(name in path for name in node.input)


def _name(node: onnx.NodeProto) -> str:
    return repr(node.name or node.output[0])
