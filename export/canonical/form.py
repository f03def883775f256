"""Any classifier's ONNX model in one form: free batch, fixed image size, constants folded, ending in logits.

ONNX Runtime itself does the clean-up (its basic, hardware-independent optimisations fold constants, fuse
BatchNormalization into convolutions and drop identities), and every tensor's shape is measured by running the
network with two batch sizes, so nothing here depends on symbolic shape inference.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sise_rt.errors import ModelError
from sise_rt.manifest import Preprocess

from ..intake.interface import Interface, check_operators
from ..intake.opset import drop_weights_from_inputs, raise_opset
from ..intake.weight_files import mapped
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.messages import described
from ..ir.network import OWN_PREFIX, PRODUCER, Graph, Network, needed
from ..ir.nodes import attribute, rewire
from ..ir.types import TensorType
from .batch_axis import settle_batch
from .branches import take_branches
from .layout import to_nchw
from .meaning import require_meaning, settle_meaning
from .outputs import refuse_decision, show_both_sides, strip_activation, to_rank_two
from .probes import outputs_for_probes
from .sequences import unfold_sequences
from .shape_arithmetic import fold_shapes, keep_measured_sizes
from .weight_only import fold_stored_weights

RESERVED = re.compile(  # names that the canonical form and the graphs of the bundle use themselves
    "images?|images_channels_last|logits|logits_of_other_rank|logits_shape|positive_logit|negative_logit|"
    "probabilities|no_zeros|smallest|targets|maps|confidences|minimum|maximum|area|cotangents|"
    "picture|target|mu|max_masks|explanation|confidence|class|visualization_maps|kept|used|masks_scored|status|"
    "chosen|finite|possible|"
    rf"(image|last_block)_gradient|(alpha|gradient)_\d+|{OWN_PREFIX}.*"
)


def canonical(
    model: onnx.ModelProto,
    scratch: Path,
    ends: Interface,
    image_size: tuple[int, int, int],
    activation: str | None,
    preprocess: Preprocess | None = None,
) -> Network:
    """Bring a model into canonical form.

    Args:
        model: the source; it is changed. What external weights it has lie in `scratch`.
        scratch: a folder that outlives the network, whose weights are mapped from a file in it.
        ends: from `interface`.
        image_size: (channels, height, width) that the network is fixed to.
        activation: `softmax`, `sigmoid` or `none`; None finds out what the outputs are, else assumes or asks.
        preprocess: of the pictures that the network is tried with.

    Raises:
        ModelError: the model cannot be brought into this form; says where and why.
        ArgumentError: there is no such activation.
    """
    require_meaning(activation)
    if model.producer_name == PRODUCER:
        raise ModelError(
            "this file is part of a sise-rt bundle: export the model that the bundle was made from"
        )
    model = raise_opset(model)
    drop_weights_from_inputs(model)
    _keep_zeros_around_pools(model.graph)
    _pin_input(model, ends, image_size)
    # Before and after: ONNX Runtime removes even a Dropout that is in training mode, and unfolds functions.
    check_operators(needed(model.graph.node, [ends.output]), _switches(model.graph, scratch))
    take_branches(model, ends, scratch)
    network = _optimised(model, ends, scratch)
    check_operators(network.graph.nodes, network.weights)
    fold_stored_weights(network)
    settle_batch(network, ends.dims[0])
    unfold_sequences(network)
    fold_shapes(network)
    keep_measured_sizes(network)
    if network.layout == "NHWC":
        to_nchw(network)
    refuse_decision(network)
    if activation != "none":
        strip_activation(network)
    to_rank_two(network)
    settle_meaning(network, activation, lambda given: outputs_for_probes(given, preprocess))
    if network.activation != "none":
        show_both_sides(network)
    _prune(network)
    return network


# ---------------------------------------------------------------------------------------------- preparation


def _keep_zeros_around_pools(graph: onnx.GraphProto) -> None:
    """Pad with the smallest float in place of 0 before a MaxPool.

    As soon as ONNX Runtime 1.31 optimises at all, it merges such a Pad into the pool, where the padding is
    minus infinity: the maximum of a window of negative values is then no longer 0. It merges zeros only.
    """
    producers = {name: node for node in graph.node for name in node.output}
    weights = {w.name: w for w in graph.initializer if w.data_location != TensorProto.EXTERNAL}

    def origin(name: str) -> str:
        while name in producers and producers[name].op_type in ("Cast", "Dropout", "Identity"):
            name = producers[name].input[0]
        return name

    def is_zero(name: str) -> bool:
        name = origin(name)
        if name in weights:
            return not numpy_helper.to_array(weights[name]).any()
        if name not in producers or producers[name].op_type != "Constant":
            return False
        tensor = attribute(producers[name], "value")
        if tensor is not None:
            return not numpy_helper.to_array(tensor).any()
        return attribute(producers[name], "value_float", attribute(producers[name], "value_int")) == 0

    pooled = {origin(node.input[0]) for node in graph.node if node.op_type == "MaxPool"}
    smallest = OWN_PREFIX + "padding"
    for node in graph.node:
        filling = node.op_type == "Pad" and attribute(node, "mode", b"constant") == b"constant"
        if not filling or node.output[0] not in pooled:
            continue
        given = [*node.input, "", ""][:4]
        if not given[2] or is_zero(given[2]):
            del node.input[:]
            node.input.extend([given[0], given[1], smallest, *([given[3]] if given[3] else [])])
    if any(smallest in node.input for node in graph.node):
        tiny = np.array(np.finfo(np.float32).tiny)
        graph.initializer.append(numpy_helper.from_array(tiny, smallest))


def _pin_input(model: onnx.ModelProto, ends: Interface, image_size: tuple[int, int, int]) -> None:
    """Declare a free batch and a fixed image; forget every other declared shape, which may be stale."""
    c, h, w = image_size
    wanted = (h, w, c) if ends.layout == "NHWC" else (c, h, w)
    if clash := [
        f"{a} is not {b}" for a, b in zip(ends.dims[1:], wanted, strict=True) if a is not None and a != b
    ]:
        raise ModelError(
            f"input {ends.image!r} {described(ends.dims)} cannot take {c} channels of {h}x{w} pixels: "
            + ", ".join(clash)
        )
    del model.graph.value_info[:]
    output = next(value for value in model.graph.output if value.name == ends.output)
    del model.graph.output[:]
    model.graph.output.add(name=ends.output).type.tensor_type.elem_type = output.type.tensor_type.elem_type
    image = next(value for value in model.graph.input if value.name == ends.image)
    element = image.type.tensor_type.elem_type
    image.CopyFrom(helper.make_tensor_value_info(ends.image, element, ["N", *wanted]))


# ---------------------------------------------------------------------------------------------- ONNX Runtime


def _optimised(model: onnx.ModelProto, ends: Interface, scratch: Path) -> Network:
    options = quiet_options(Level.ORT_ENABLE_BASIC)
    options.optimized_model_filepath = str(scratch / "optimised.onnx")
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_file_name", "optimised.bin"
    )
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
    )
    open_session(model.SerializeToString(), options, scratch)
    model = onnx.load(scratch / "optimised.onnx", load_external_data=False)
    weights = {w.name: mapped(w, scratch) for w in model.graph.initializer}
    nodes = _acting(needed(model.graph.node, [ends.output]), weights, ends.output)
    for node in nodes:
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise ModelError(f"node {node.name!r}: control flow ({node.op_type}) cannot be split into blocks")
    for node in nodes:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    renamed = _renamed({*weights, *(name for node in nodes for name in node.output)}, ends)
    rewire(nodes, renamed)
    weights = {renamed.get(name, name): value for name, value in weights.items()}
    element = next(v for v in model.graph.input if v.name == ends.image).type.tensor_type
    types = {
        name: TensorType(helper.np_dtype_to_tensor_dtype(w.dtype), w.shape) for name, w in weights.items()
    }
    types["images"] = TensorType(element.elem_type, tuple(d.dim_value or None for d in element.shape.dim))
    opsets = {o.domain: o.version for o in model.opset_import}
    graph = Graph(OWN_PREFIX + "network", tuple(nodes), ("images",), ("logits",))
    return Network(graph, weights, types, opsets, "", layout=ends.layout)


def _switches(graph: onnx.GraphProto, scratch: Path) -> dict[str, np.ndarray]:
    """Constant truth values by name."""
    switches = {w.name: mapped(w, scratch) for w in graph.initializer if w.data_type == TensorProto.BOOL}
    for node in graph.node:
        value = attribute(node, "value") if node.op_type == "Constant" else None
        if value is not None and value.data_type == TensorProto.BOOL:
            switches[node.output[0]] = numpy_helper.to_array(value)
    return switches


def _acting(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], output: str) -> list[onnx.NodeProto]:
    """The nodes without those that pass their input on: Identity, and Dropout in inference."""
    acting: list[onnx.NodeProto] = []
    passed: dict[str, str] = {}
    for node in nodes:
        rewire([node], passed)
        training = node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]
        idle = not training or (training in weights and not weights[training])
        masks = set(node.output[1:])
        passes = node.op_type in ("Identity", "Dropout") and idle and node.output[0] != output
        if passes and not any(masks & set(other.input) for other in nodes):
            passed[node.output[0]] = node.input[0]
        else:
            acting.append(node)
    return acting


def _renamed(names: set[str], ends: Interface) -> dict[str, str]:
    """New names for input and output, and for the model's tensors whose names are taken."""
    renamed = {ends.image: "images", ends.output: "logits"}
    for name in sorted(names - renamed.keys()):
        if RESERVED.fullmatch(name):
            fresh = f"{name.removeprefix(OWN_PREFIX)}_"
            while fresh in names or RESERVED.fullmatch(fresh):
                fresh += "_"
            renamed[name] = fresh
    return renamed


def _prune(network: Network) -> None:
    nodes = needed(network.graph.nodes, network.graph.outputs)
    used = {name for node in nodes for name in node.input}
    network.graph = replace(network.graph, nodes=tuple(nodes))
    network.weights = {name: value for name, value in network.weights.items() if name in used}
    if "images" not in used:
        raise ModelError("the output does not depend on the image")
