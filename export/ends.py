"""The two ends of a network in canonical form: images channels first, logits (N, classes) at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.errors import ModelError

from .messages import described
from .network import Network, TensorType

ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}
RESHAPES = ("Flatten", "Identity", "Reshape", "Squeeze")
CHANNELS_LAST = "images_channels_last"


def to_nchw(network: Network) -> None:
    """Take channels first: drop the leading Transpose, or undo the caller's before the network."""
    image = network.types["images"]
    n, h, w, c = image.shape
    network.types["images"] = replace(image, shape=(n, c, h, w))
    nodes = list(network.graph.nodes)
    readers = [node for node in nodes if "images" in node.input]
    if all(node.op_type == "Transpose" and attribute(node, "perm") == [0, 3, 1, 2] for node in readers):
        nodes = [node for node in nodes if node not in readers]
        rewire(nodes, {node.output[0]: "images" for node in readers})
    else:
        rewire(nodes, {"images": CHANNELS_LAST})
        nodes.insert(
            0, helper.make_node("Transpose", ["images"], [CHANNELS_LAST], CHANNELS_LAST, perm=[0, 2, 3, 1])
        )
        network.types[CHANNELS_LAST] = image
    network.graph = replace(network.graph, nodes=tuple(nodes))


def strip_activation(network: Network) -> None:
    """Remove a trailing softmax or sigmoid and remember it.

    Raises:
        ModelError: it is a softmax over something other than the classes.
    """
    producers = {name: node for node in network.graph.nodes for name in node.output}
    node = producers.get("logits")
    while node is not None and node.op_type in RESHAPES:
        node = producers.get(node.input[0])
    if node is None or node.op_type not in ACTIVATIONS:
        return
    shape = network.types[node.output[0]].shape
    axis = None if node.op_type == "Sigmoid" else attribute(node, "axis", -1) % len(shape)
    if axis is not None and any(d != 1 for i, d in enumerate(shape) if i != axis and (i or axis == 0)):
        raise ModelError(
            f"node {node.name!r}: {node.op_type} over axis {axis} of {described(shape)} "
            "is no classifier's output"
        )
    network.removed = node.op_type
    before, after = node.input[0], node.output[0]
    nodes = [other for other in network.graph.nodes if other is not node]
    rewire(nodes, {after: before})
    if after == "logits":
        rewire(nodes, {before: "logits"})
        network.types["logits"] = network.types[before]
    network.graph = replace(network.graph, nodes=tuple(nodes))


def resolve_activation(network: Network, activation: str | None) -> None:
    """Decide what turns the logits into confidences: what was removed, what the user says, or an assumption.

    Raises:
        ModelError: the user contradicts the model, or wants the softmax of a single logit.
    """
    found = ACTIVATIONS[network.removed] if network.removed else None
    if activation and activation not in ACTIVATIONS.values():
        raise ModelError(f"unknown activation {activation!r}: use softmax or sigmoid")
    if activation and found and activation != found:
        raise ModelError(f"the model ends in {found}, which contradicts --activation {activation}")
    count = int(np.prod([d for d in network.types["logits"].shape if isinstance(d, int)]))
    if not activation and not found:
        activation = "sigmoid" if count == 1 else "softmax"
        logits = "a single logit" if count == 1 else f"{count} logits"
        network.assumed.append(f"activation {activation}, as the model ends in {logits} (set --activation)")
    network.activation = activation or found or ""
    if count == 1 and network.activation == "softmax":
        raise ModelError(
            "the softmax of a single logit is always 1"
            + (": the model's output says nothing" if found else ": use --activation sigmoid")
        )


def to_rank_two(network: Network) -> None:
    """Make logits (N, classes); a single logit z becomes the two sides (-z, z).

    Raises:
        ModelError: the output is not one float for each class.
    """
    logits = network.types["logits"]
    classes = [d for d in logits.shape if d is not None and d != 1]
    if logits.shape[:1] != (None,) or len(classes) > 1 or None in logits.shape[1:]:
        raise ModelError(
            f"the output has shape {described(logits.shape)}, where a classifier gives (N, classes): "
            "segmenters and detectors are not supported"
        )
    if logits.dtype.kind != "f":
        raise ModelError(f"the output is {logits.dtype}, not scores: choose another with --output")
    count = classes[0] if classes else 1
    nodes = list(network.graph.nodes)
    if len(logits.shape) != 2:
        raw, shape = "logits_of_other_rank", "logits_shape"
        rewire(nodes, {"logits": raw})
        nodes.append(helper.make_node("Reshape", [raw, shape], ["logits"], "logits"))
        network.weights[shape] = np.array([-1, count])
        network.types |= {
            raw: logits,
            shape: TensorType(TensorProto.INT64, (2,)),
            "logits": replace(logits, shape=(None, count)),
        }
    if count == 1:
        positive, negative = "positive_logit", "negative_logit"
        rewire(nodes, {"logits": positive})
        nodes.append(helper.make_node("Neg", [positive], [negative], negative))
        nodes.append(helper.make_node("Concat", [negative, positive], ["logits"], "both_sides", axis=1))
        one = network.types["logits"]
        network.types |= {positive: one, negative: one, "logits": replace(one, shape=(None, 2))}
        network.notes.append("the single logit z is explained from both sides: class 0 is -z, class 1 is z")
    network.graph = replace(network.graph, nodes=tuple(nodes))


def rewire(nodes: list[onnx.NodeProto], names: dict[str, str]) -> None:
    """Rename tensors wherever the nodes read or write them."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, or the default where the node does not set it."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
