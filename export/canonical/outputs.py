"""The output in canonical form: (N, classes), without the activation that ends the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.errors import ModelError

from ..ir.messages import described
from ..ir.network import OWN_PREFIX, Network
from ..ir.nodes import rewire
from ..ir.types import TensorType
from .activations import activation_of
from .last_steps import MOVING

CHOOSING = ("Gather", "Slice")  # some of the values; each value of a sigmoid is one logit's
DECISIONS = frozenset({"ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Hardmax", "Less", "TopK"})


def strip_activation(network: Network) -> None:
    """Remove a trailing softmax or sigmoid, an operator or written out, and remember it.

    What lies behind it may only move values: then it can be taken back to the last digit. A softmax is left
    where some of its classes alone are given.

    Raises:
        ModelError: it is a softmax over something other than the classes.
    """
    producers = {name: node for node in network.graph.nodes for name in node.output}
    node, some = producers.get("logits"), False
    while node is not None and (node.op_type in (*MOVING, *CHOOSING) or _is_float_cast(network, node)):
        some = some or node.op_type in CHOOSING
        node = producers.get(node.input[0])
    activation = None if node is None else activation_of(node, network, producers)
    if node is None or activation is None or (some and activation.operator != "Sigmoid"):
        return
    network.removed, axis = activation.operator, activation.axis
    shape = network.types[node.output[0]].shape
    if axis is not None and any(
        d != 1 for i, d in enumerate(shape) if i != axis % len(shape) and (i or axis % len(shape) == 0)
    ):
        raise _no_softmax_of_classes(node, axis % len(shape), network)
    nodes = list(network.graph.nodes)
    place = next(i for i, other in enumerate(nodes) if other is node)
    if activation.factor == 1:
        nodes[place : place + 1] = []
        _join(network, nodes, node.output[0], activation.given)
    else:
        factor = f"{OWN_PREFIX}logits_factor"
        nodes[place] = helper.make_node("Mul", [activation.given, factor], [node.output[0]], node.name)
        network.weights[factor] = np.array(activation.factor, network.types[node.output[0]].dtype)
        network.types[factor] = replace(network.types[node.output[0]], shape=())
    network.graph = replace(network.graph, nodes=tuple(nodes))


def _join(network: Network, nodes: list[onnx.NodeProto], after: str, before: str) -> None:
    """Let what read a tensor read the one before it; the output keeps its name."""
    rewire(nodes, {after: before})
    if after == "logits":
        rewire(nodes, {before: "logits"})
        network.types["logits"] = network.types[before]


def _no_softmax_of_classes(node: onnx.NodeProto, axis: int, network: Network) -> ModelError:
    shape = network.types[node.output[0]].shape
    others = [d for i, d in enumerate(shape) if i and i != axis and d != 1]
    what = f"node {node.name!r}: {node.op_type} over axis {axis} of {described(shape)}"
    if shape[axis] == 1:
        return ModelError(
            f"{what} is over a single value, which it makes 1: set its axis to that of the classes"
        )
    if axis and len(others) == 1 and isinstance(others[0], int):
        return ModelError(
            f"{what} gives {others[0]} groups of {shape[axis]} values, each with a sum of 1, where a "
            "classifier gives one: add an output to the model that is one group's (N, classes) and choose it",
            settings=("output_name",),
        )
    return ModelError(f"{what} is no classifier's output: segmenters and detectors are not supported")


def refuse_decision(network: Network) -> None:
    """Refuse an output that is a decision.

    Raises:
        ModelError: says what it decides from.
    """
    producers = {name: node for node in network.graph.nodes for name in node.output}
    node = producers.get("logits")
    while node is not None and node.op_type in (*MOVING, "Cast"):
        node = producers.get(node.input[0])
    if node is not None and node.op_type in DECISIONS:
        raise ModelError(
            f"the output is what {node.op_type} (node {node.name!r}) decides, not the scores: explain the "
            f"tensor that it takes, {node.input[0]}",
            settings=("output_name",),
        )


def _is_float_cast(network: Network, node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and all(
        network.types[name].dtype.kind == "f" for name in (node.input[0], node.output[0])
    )


def to_rank_two(network: Network) -> None:
    """Make the output (N, classes).

    Raises:
        ModelError: the output is not one float for each class.
    """
    logits, batch = network.types["logits"], network.batch
    classes = [d for d in logits.shape if d is not None and d != 1]
    free = [d for d in logits.shape if d is None]
    if len(classes) > 1 or (logits.shape[:1] != (None,) or len(free) > 1 if batch is None else free):
        raise ModelError(
            f"the output has shape {described(logits.shape)}, where a classifier gives (N, classes): "
            "segmenters and detectors are not supported"
        )
    if logits.dtype.kind != "f":
        raise ModelError(
            f"the output is {logits.dtype}, not scores: choose another", settings=("output_name",)
        )
    count = classes[0] if classes else 1
    nodes = list(network.graph.nodes)
    if logits.shape != (batch, count):
        raw, shape = "logits_of_other_rank", "logits_shape"
        rewire(nodes, {"logits": raw})
        nodes.append(helper.make_node("Reshape", [raw, shape], ["logits"], "logits"))
        network.weights[shape] = np.array([-1, count])
        network.types |= {
            raw: logits,
            shape: TensorType(TensorProto.INT64, (2,)),
            "logits": replace(logits, shape=(batch, count)),
        }
    network.graph = replace(network.graph, nodes=tuple(nodes))


def show_both_sides(network: Network) -> None:
    """Let a single logit z be the two classes (-z, z); several stay as they are."""
    nodes, one = list(network.graph.nodes), network.types["logits"]
    if one.shape[1] == 1:
        positive, negative = "positive_logit", "negative_logit"
        rewire(nodes, {"logits": positive})
        nodes.append(helper.make_node("Neg", [positive], [negative], negative))
        nodes.append(helper.make_node("Concat", [negative, positive], ["logits"], "both_sides", axis=1))
        network.types |= {positive: one, negative: one, "logits": replace(one, shape=(network.batch, 2))}
        network.two_sided = True
        network.notes.append("the single logit z is explained from both sides: class 0 is -z, class 1 is z")
    network.graph = replace(network.graph, nodes=tuple(nodes))
