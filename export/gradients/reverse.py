"""The reverse pass: gradients of a network's tensors as plain ONNX operators."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sise_rt.errors import ArgumentError, ModelError, UnsupportedOperator

from ..intake.reading import read_model
from ..ir.builder import Builder
from ..ir.network import needed
from ..ir.nodes import fresh, operator, reads, subgraphs, tensor_names
from .inference import Inferred, constants, infer, unknown_shape
from .path import FLOATS, crosses, followed, follows_each, gradient_path, missing_rules, passed_through
from .rules import RULES, SEVERAL_OUTPUTS
from .rules.table import Gradients

STEPS = "operators that are constant between their steps, such as Floor, a comparison or a cast to integers"


def vjp(model: onnx.ModelProto | str | Path, output: str, inputs: Sequence[str]) -> onnx.ModelProto:
    """A model that also computes gradients: the vector-Jacobian product of one of its tensors.

    The result has the model's inputs and, last among them, `<output>_cotangent`: the vector, of the type and
    shape of `output`. It has the model's outputs and behind them, in the order of `inputs`, one
    `<input>_gradient` each: the gradient of sum(cotangent * output), of the type and shape of that input.
    A name that the model uses already gets the lowest free number behind it, as in `x_gradient_2`.
    Everything else stays as it is, but functions are inlined and an opset below 18 is raised.

    Args:
        model: any ONNX model, or its file. It is not changed.
        output: a float tensor of the model: one of its outputs, or an inner tensor.
        inputs: float tensors that `output` depends on: inputs of the model, inner tensors, or weights where
            the rules have a gradient for them. They may depend on each other.

    Returns:
        The model, in operators of ONNX's own that ONNX Runtime runs.

    Raises:
        ArgumentError: `inputs` is no list of different names.
        ModelError: there is no such tensor, it is not of floats, `output` does not depend on it, or a shape
            or a constant on the way is not known before the model runs.
        UnsupportedOperator: an operator on the way has no gradient rule.
    """
    if isinstance(inputs, str) or not inputs or len(set(inputs)) < len(inputs):
        raise ArgumentError(f"inputs must be different tensor names in a list, not {inputs!r}")
    result = read_model(model)
    nodes, taken = result.graph.node, set(tensor_names(result.graph))
    top = {name for node in nodes for name in node.output} | {v.name for v in result.graph.input}
    _check_names([output, *inputs], top | {w.name for w in result.graph.initializer})
    inferred = infer(result, output)
    _check_types([output, *inputs], inferred)
    _check_dependence(nodes, output, inputs)

    path = gradient_path(nodes, [output], inputs)
    beside = {name for node in nodes if crosses(node, path) for name in node.input} - path
    dtypes = {
        name: helper.tensor_dtype_to_np_dtype(inferred.elements[name])
        for name in path
        if inferred.elements.get(name) in FLOATS
    }
    seed = fresh(f"{output}_cotangent", taken)
    prefix = fresh(f"{seed}/gradient", {name.rpartition("/")[0] for name in taken}) + "/"
    op = Builder(prefix, inferred.types, constants(result, inferred, beside), dtypes[output])
    gradients = reverse(op, nodes, {output: seed}, inputs, dtypes)

    names: dict[str, str] = {}
    for name in inputs:
        names[name] = fresh(f"{name}_gradient", taken | {seed, *names.values()})
        op.Identity(gradients[name], names=[names[name]])
    added = needed(op.nodes, names.values())
    used = {name for node in added for name in node.input}
    nodes.extend(added)
    result.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in op.constants.items() if name in used
    )
    result.graph.input.append(inferred.declared(seed, output))
    result.graph.output.extend(inferred.declared(names[name], name) for name in inputs)
    return result


def _check_names(wanted: Iterable[str], tensors: set[str]) -> None:
    for name in wanted:
        if not name or name not in tensors:
            close = ", ".join(map(repr, get_close_matches(name, tensors)))
            raise ModelError(
                f"the model has no tensor {name!r}"
                + (f"; it has {close}" if close else ": take an input, an output or a node's output")
            )


def _check_types(wanted: Iterable[str], inferred: Inferred) -> None:
    for name in wanted:
        if name not in inferred.elements:
            raise ModelError(f"the type of {name!r} cannot be inferred, or it is no tensor")
        if inferred.elements[name] not in FLOATS:
            kind = TensorProto.DataType.Name(inferred.elements[name]).lower()
            raise ModelError(
                f"tensor {name!r} is {kind}; gradients exist between float tensors: "
                "take one before or behind it"
            )
        if name not in inferred.dims:
            raise unknown_shape(name)


def _check_dependence(nodes: Sequence[onnx.NodeProto], output: str, inputs: Iterable[str]) -> None:
    for name in inputs:
        if output in gradient_path(nodes, [output], [name]):
            continue
        reached = {name}
        for node in nodes:
            if (set(node.input[:1]) if operator(node) == "CastLike" else reads(node)) & reached:
                reached.update(node.output)
        raise ModelError(
            f"{output!r} depends on {name!r} only through {STEPS}: the gradient is zero wherever there is one"
            if output in reached
            else f"{output!r} does not depend on {name!r}"
        )


def reverse(
    op: Builder,
    nodes: Sequence[onnx.NodeProto],
    seeds: Mapping[str, str],
    inputs: Sequence[str],
    dtypes: Mapping[str, np.dtype] | None = None,
) -> dict[str, str]:
    """Add the reverse pass of `nodes` to `op`.

    Args:
        op: collects the new nodes.
        nodes: the forward pass, in topological order.
        seeds: for each output tensor, the tensor that holds the gradient there, of the same shape.
        inputs: tensors whose gradients are wanted; they may lie on each other's way.
        dtypes: float types of tensors that may differ from the type of `op`'s constants.

    Returns:
        For each of `inputs`, the name of its gradient.

    Raises:
        UnsupportedOperator: a node on the way has no rule; nothing was added.
        ModelError: a gradient is needed that a rule does not give, or an input does not reach any output.
    """
    path = gradient_path(nodes, seeds, inputs)
    if missing := missing_rules(nodes, seeds, inputs):
        raise _no_rules(missing)
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
        if not outputs or not crosses(node, path):
            continue
        several = node.op_type in SEVERAL_OUTPUTS
        if outputs != [node.output[0]] and not several:
            raise ModelError(
                f"node {_name(node)}: the gradient of output {outputs[-1]!r} of {node.op_type} "
                "is not supported"
            )
        if dtypes:  # a quantised output has none, its input has
            near = (dtypes[name] for name in (*outputs, *node.input) if name in dtypes)
            op.dtype = next(near, op.dtype)
        given: str | list[str | None] = (
            [total(name) if name in parts else None for name in node.output] if several else total(outputs[0])
        )
        for name, gradient, follows in zip(
            node.input, _apply(op, node, given), follows_each(node), strict=False
        ):
            if name not in path or not follows:
                continue
            if gradient is None:
                raise ModelError(
                    f"node {_name(node)}: {node.op_type} has no gradient for its input {name!r}, "
                    f"through which {_listed(seeds)} depends on {_listed(inputs)}"
                )
            parts.setdefault(name, []).append(gradient)
    if lost := [name for name in inputs if name not in parts]:
        raise _unreached(nodes, lost, seeds)
    return {name: total(name) for name in inputs}


def _unreached(nodes: Sequence[onnx.NodeProto], lost: Iterable[str], seeds: Iterable[str]) -> ModelError:
    """The error that names what stops the gradient: the last operator on the way that gives whole steps."""
    reached, used = set(lost), set(seeds)
    for node in nodes:
        if reads(node) & reached:
            reached.update(node.output)
    message = f"no gradient reaches {_listed(lost)} from {_listed(seeds)}"
    for node in reversed(nodes):
        through = [name for name in node.input if name in reached]
        if not through or not used.intersection(node.output):
            continue
        if not followed(node).intersection(through):
            return ModelError(
                f"{message}: {operator(node)} (node {_name(node)}) gives whole steps, whose slope is zero; "
                f"explain what it takes, {through[0]}, or go without gradients",
                settings=("output_name", "gradients"),
            )
        used |= followed(node)
    return ModelError(message)


def _no_rules(nodes: Sequence[onnx.NodeProto]) -> UnsupportedOperator:
    """The error that names the first of the nodes whose operators have no rule."""
    named = [
        f"{operator(node)} ({'control flow, ' if subgraphs(node) else ''}node {_name(node)})"
        for node in nodes[:5]
    ]
    more = f" and {len(nodes) - 5} more nodes" if len(nodes) > 5 else ""
    return UnsupportedOperator(
        f"no gradient rule for {', '.join(named)}{more}; rules live in sise_rt/export/gradients/rules, one "
        "function an operator"
    )


def _apply(op: Builder, node: onnx.NodeProto, gradient: str | list[str | None]) -> Gradients:
    """What the rule of a node's operator gives; what it refuses, or does not know, names the node."""
    if passed_through(node):
        return [gradient] if isinstance(gradient, str) else gradient
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
        raise type(error)(f"node {_name(node)}: {error.message}", settings=error.settings) from error


def _name(node: onnx.NodeProto) -> str:
    return repr(node.name or node.output[0])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
