"""Any classifier's ONNX model in one form: free batch, fixed image size, constants folded, ending in logits.

ONNX Runtime itself does the clean-up (its basic, hardware-independent optimisations fold constants, fuse
BatchNormalization into convolutions and drop identities), and every tensor's shape is measured by running the
network with two batch sizes, so nothing here depends on symbolic shape inference.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference, version_converter

from sise_rt.errors import ModelError

from .ends import attribute, resolve_activation, rewire, strip_activation, to_nchw, to_rank_two
from .messages import described, first_line
from .network import OWN_PREFIX, PRODUCER, Graph, Network, TensorType, needed
from .session import Level, open_session, quiet_options
from .shapes import fold_shapes, measure_shapes

OPSET = 18  # the first with one signature for every reduction; newer models keep their own
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
RESERVED = re.compile(  # names that the canonical form and the graphs of the bundle use themselves
    "images?|images_channels_last|logits|logits_of_other_rank|logits_shape|positive_logit|negative_logit|"
    rf"targets|maps|confidences|minimum|maximum|area|(alpha|gradient)_\d+|{OWN_PREFIX}.*"
)


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives: tensor names, and the declared input dimensions (None where free)."""

    image: str
    output: str
    dims: tuple[int | None, ...]
    layout: str

    @property
    def image_size(self) -> tuple[int | None, int | None, int | None]:
        """(channels, height, width), None where the model leaves it free."""
        _, *rest = self.dims
        return (rest[2], rest[0], rest[1]) if self.layout == "NHWC" else (rest[0], rest[1], rest[2])


def interface(model: onnx.ModelProto, output: str | None = None) -> Interface:
    """Find the image input and the output to explain.

    Raises:
        ModelError: there is no image input, more than one input, or `output` does not name one output.
    """
    weights = {w.name for w in model.graph.initializer} | {
        w.values.name for w in model.graph.sparse_initializer
    }
    inputs = [value for value in model.graph.input if value.name not in weights]
    listed = ", ".join(f"{v.name!r} {described(_dims(v))}" for v in inputs) or "none"
    if len(inputs) != 1:
        raise ModelError(f"the model must have one input, an image; it has {len(inputs)}: {listed}")
    dims = _dims(inputs[0])
    if len(dims) != 4 or inputs[0].type.tensor_type.elem_type not in FLOATS:
        raise ModelError(f"the model has no image input (a float tensor of rank 4), but {listed}")
    if inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(inputs[0].type.tensor_type.elem_type).lower()
        raise ModelError(f"input {inputs[0].name!r} is {kind}: export the model in float32")
    outputs = [value.name for value in model.graph.output]
    if output is None and len(outputs) > 1:
        raise ModelError(
            f"the model has {len(outputs)} outputs, choose one with --output: {', '.join(outputs)}"
        )
    if not outputs or (output is not None and output not in outputs):
        raise ModelError(f"the model has no output {output!r}; its outputs: {', '.join(outputs) or 'none'}")
    nhwc = dims[3] in (1, 3, 4) and dims[1] not in (1, 3, 4)
    return Interface(inputs[0].name, output or outputs[0], dims, "NHWC" if nhwc else "NCHW")


def canonical(
    model: onnx.ModelProto,
    scratch: Path,
    ends: Interface,
    image_size: tuple[int, int, int],
    activation: str | None,
) -> Network:
    """Bring a model into canonical form.

    Args:
        model: the source, its weights loaded; it is changed.
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
    _free_batch(model, ends)
    model = _raise_opset(model)
    _pin_input(model, ends, image_size)
    network = _optimised(model, ends, scratch)
    measure_shapes(network)
    fold_shapes(network)
    if network.layout == "NHWC":
        to_nchw(network)
    strip_activation(network)
    resolve_activation(network, activation)
    to_rank_two(network)
    _prune(network)
    return network


# ---------------------------------------------------------------------------------------------- preparation


def _free_batch(model: onnx.ModelProto, ends: Interface) -> None:
    """Let Reshape targets that spell out a fixed batch copy it from their input instead."""
    batch = ends.dims[0]
    if batch is None:
        return
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {v.name: _dims(v) for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    constants = {w.name: w for w in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    for i, node in enumerate(model.graph.node):
        if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        target = numpy_helper.to_array(constants[node.input[1]]).copy()
        if not target.size or (0 in target and attribute(node, "allowzero")):
            continue
        if target[0] == batch and shapes.get(node.input[0], (None,))[:1] == (batch,):
            target[0] = 0  # the input's own extent, where allowzero does not say otherwise
            kept = [a for a in node.attribute if a.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
            name = f"{node.input[1]}_free_batch_{i}"
            model.graph.initializer.append(numpy_helper.from_array(target, name))
            node.input[1] = name


def _raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version >= OPSET:
        return model
    model.ir_version = max(model.ir_version, 8)
    weights = {w.name for w in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:
        raise ModelError(
            f"the model's opset {version} cannot be raised to {OPSET}: {first_line(error)}"
        ) from error


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
    open_session(model.SerializeToString(), options)
    model = onnx.load(scratch / "optimised.onnx", load_external_data=False)
    weights = {w.name: _mapped(w, scratch) for w in model.graph.initializer}
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


def _mapped(tensor: TensorProto, folder: Path) -> np.ndarray:
    if tensor.data_location != TensorProto.EXTERNAL:
        return numpy_helper.to_array(tensor)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(
        folder / entries["location"], dtype, "r", int(entries.get("offset", 0)), tuple(tensor.dims)
    )


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
