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
from onnx import TensorProto, helper, numpy_helper, version_converter

from sise_rt.errors import ModelError

from .batch import settle_batch
from .ends import resolve_activation, strip_activation, to_nchw, to_rank_two
from .external import mapped
from .interface import Interface, check_operators
from .messages import described, first_line
from .network import OWN_PREFIX, PRODUCER, Graph, Network, TensorType, needed
from .nodes import attribute, rewire
from .session import Level, open_session, quiet_options
from .shapes import fold_shapes

OPSET = 18  # the first with one signature for every reduction; newer models keep their own
RESERVED = re.compile(  # names that the canonical form and the graphs of the bundle use themselves
    "images?|images_channels_last|logits|logits_of_other_rank|logits_shape|positive_logit|negative_logit|"
    rf"probabilities|no_zeros|smallest|targets|maps|confidences|minimum|maximum|area|(alpha|gradient)_\d+|{OWN_PREFIX}.*"
)


def canonical(
    model: onnx.ModelProto,
    scratch: Path,
    ends: Interface,
    image_size: tuple[int, int, int],
    activation: str | None,
) -> Network:
    """Bring a model into canonical form.

    Args:
        model: the source; it is changed. What external weights it has lie in `scratch`.
        scratch: a folder that outlives the network, whose weights are mapped from a file in it.
        ends: from `interface`.
        image_size: (channels, height, width) that the network is fixed to.
        activation: `softmax` or `sigmoid`; None takes the one the model ends in, else assumes one and notes
            it.

    Raises:
        ModelError: the model cannot be brought into this form; says where and why.
    """
    if model.producer_name == PRODUCER:
        raise ModelError(
            "this file is part of a sise-rt bundle: export the model that the bundle was made from"
        )
    model = _raise_opset(model)
    _pin_input(model, ends, image_size)
    # Before and after: ONNX Runtime removes even a Dropout that is in training mode, and unfolds functions.
    switches = [w for w in model.graph.initializer if w.data_type == TensorProto.BOOL]
    check_operators(needed(model.graph.node, [ends.output]), {w.name: mapped(w, scratch) for w in switches})
    network = _optimised(model, ends, scratch)
    check_operators(network.graph.nodes, network.weights)
    settle_batch(network, ends.dims[0])
    fold_shapes(network)
    if network.layout == "NHWC":
        to_nchw(network)
    strip_activation(network)
    resolve_activation(network, activation)
    to_rank_two(network)
    _prune(network)
    return network


# ---------------------------------------------------------------------------------------------- preparation


def _raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version >= OPSET:
        return model
    model.ir_version = max(model.ir_version, 8)
    graph = model.graph
    weights = {w.name for w in graph.initializer}
    # The converter would lose what lies in a file, so these weights are inputs meanwhile.
    outside = [w for w in graph.initializer if w.data_location == TensorProto.EXTERNAL]
    inside = [w for w in graph.initializer if w.data_location != TensorProto.EXTERNAL]
    inputs = [value for value in graph.input if value.name not in weights]
    inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in outside]
    for field, values in ((graph.input, inputs), (graph.initializer, inside)):
        del field[:]
        field.extend(values)
    try:
        model = version_converter.convert_version(model, OPSET)
    except Exception as error:
        raise ModelError(
            f"the model's opset {version} cannot be raised to {OPSET}: {first_line(error)}"
        ) from error
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(outside)
    if version < 11:
        _keep_old_resizes(model)
    return model


def _keep_old_resizes(model: onnx.ModelProto) -> None:
    """Say how Resize and Upsample placed their samples before opset 11; the converter does not."""
    scales = {
        w.name: numpy_helper.to_array(w) for w in model.graph.initializer if list(w.dims) in ([3], [4], [5])
    }
    for node in model.graph.node:
        if node.op_type == "Resize" and not attribute(node, "coordinate_transformation_mode"):
            shrinks = len(node.input) > 2 and np.any(scales.get(node.input[2], np.ones(1)) < 1)
            for name, value in (
                ("coordinate_transformation_mode", "asymmetric"),
                ("nearest_mode", "ceil" if shrinks else "floor"),
            ):
                node.attribute.append(helper.make_attribute(name, value))


def _pin_input(model: onnx.ModelProto, ends: Interface, image_size: tuple[int, int, int]) -> None:
    """Declare a free batch and a fixed image; forget every other declared shape, they may be stale."""
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
    """New names for both ends, and for the model's tensors whose names are taken."""
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


def _dims(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
        for d in value.type.tensor_type.shape.dim
    )
