"""The two ends of a network in canonical form: images channels first, and logits (N, classes) without activation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.errors import ModelError

from .messages import described
from .network import Network

ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}
RESHAPES = ("Flatten", "Identity", "Reshape", "Squeeze")


def to_nchw(network: Network) -> None:
    """Take channels first: drop the leading Transpose, or undo the caller's before the network."""
    image = network.types["images"]
    n, h, w, c = image.shape
    network.types["images"] = replace(image, shape=(n, c, h, w))
    nodes = list(network.graph.nodes)
    readers = [node for node in nodes if "images" in node.input]
    if all(
        node.op_type == "Transpose" and _attribute(node, "perm", None) == [0, 3, 1, 2] for node in readers
    ):
        nodes = [node for node in nodes if node not in readers]
        _rewire(nodes, {node.output[0]: "images" for node in readers})
    else:
        last = "images_channels_last"
        _rewire(nodes, {"images": last})
        nodes.insert(0, helper.make_node("Transpose", ["images"], [last], name=last, perm=[0, 2, 3, 1]))
        network.types[last] = image
    network.graph = replace(network.graph, nodes=tuple(nodes))


def strip_activation(network: Network) -> None:
    """Remove a trailing softmax or sigmoid and remember it."""
    producers = {name: node for node in network.graph.nodes for name in node.output}
    node = producers.get("logits")
    while node is not None and node.op_type in RESHAPES:
        node = producers.get(node.input[0])
    if node is None or node.op_type not in ACTIVATIONS:
        return
    shape = network.types[node.output[0]].shape
    axis = _attribute(node, "axis", -1) % len(shape) if node.op_type != "Sigmoid" else None
    if axis is not None and any(d != 1 for i, d in enumerate(shape) if i and i != axis):
        raise ModelError(
            f"node {node.name!r}: {node.op_type} over axis {axis} of {described(shape)} is no classifier's output"
        )
    network.removed = ACTIVATIONS[node.op_type]
    before, after = node.input[0], node.output[0]
    nodes = [other for other in network.graph.nodes if other is not node]
    _rewire(nodes, {after: before})
    if after == "logits":
        _name_logits(network, nodes, before)
    network.graph = replace(network.graph, nodes=tuple(nodes))


def resolve_activation(network: Network, activation: str | None) -> None:
    if activation and network.removed and activation != network.removed:
        raise ModelError(f"the model ends in {network.removed}, which contradicts --activation {activation}")
    count = int(np.prod([d or 1 for d in network.types["logits"].shape]))
    if not activation and not network.removed:
        activation = "sigmoid" if count == 1 else "softmax"
        network.notes.append(
            f"activation: {activation} is assumed, as the model ends in {count} logits (set --activation)"
        )
    network.activation = activation or network.removed or ""
    if count == 1 and network.activation == "softmax":
        raise ModelError("the softmax of a single logit is always 1: use --activation sigmoid")


def to_rank_two(network: Network) -> None:
    """Make logits (N, classes); a single logit z becomes the two sides (-z, z)."""
    logits = network.types["logits"]
    classes = [d for d in logits.shape if d is not None and d != 1]
    if logits.shape[:1] != (None,) or len(classes) > 1 or None in logits.shape[1:]:
        raise ModelError(
            f"the output has shape {described(logits.shape)}, where a classifier gives (N, classes): "
            "segmenters and detectors are not supported"
        )
    count = classes[0] if classes else 1
    nodes = list(network.graph.nodes)
    if len(logits.shape) != 2:
        raw = _name_logits(network, nodes, None)
        shape = "logits_shape"
        network.weights[shape] = np.array([-1, count])
        network.types[shape] = TensorType(TensorProto.INT64, (2,))
        nodes.append(helper.make_node("Reshape", [raw, shape], ["logits"], name="logits"))
        network.types["logits"] = replace(logits, shape=(None, count))
    if count == 1:
        positive = _name_logits(network, nodes, None)
        negative = "negative_logit"
        nodes.append(helper.make_node("Neg", [positive], [negative], name=negative))
        nodes.append(helper.make_node("Concat", [negative, positive], ["logits"], name="both_sides", axis=1))
        network.types |= {negative: network.types[positive], "logits": replace(logits, shape=(None, 2))}
        network.notes.append("the single logit z is explained from both sides: class 0 is -z, class 1 is z")
    network.graph = replace(network.graph, nodes=tuple(nodes))


def _name_logits(network: Network, nodes: list[onnx.NodeProto], tensor: str | None) -> str:
    """Give the name `logits` to `tensor`, or with None free it for a new last node; returns the old name's new one."""
    if tensor is None:
        count = sum(name.startswith("raw_logits") for name in network.types)
        fresh = f"raw_logits_{count}"
        _rewire(nodes, {"logits": fresh})
        network.types[fresh] = network.types["logits"]
        return fresh
    _rewire(nodes, {tensor: "logits"})
    network.types["logits"] = network.types[tensor]
    return tensor


def _rewire(nodes: list[onnx.NodeProto], names: dict[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
