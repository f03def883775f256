"""What a model takes and gives: its image input, the layout of that, and the output to explain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from sise_rt.errors import ModelError

from ..ir.messages import described
from ..ir.nodes import RANDOM, attribute, operator, reads

IMAGES = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
    TensorProto.UINT8,
)
POINTWISE = frozenset(  # may come before the first convolution and leave every axis where it is
    "Add BatchNormalization Cast Clip DequantizeLinear Div Dropout Identity Mul Pad QuantizeLinear "
    "Sub".split()
)
ZIPMAP = "ai.onnx.ml.ZipMap"
SIGNALS = (
    "it takes signals, whose maps have one axis where a picture's have two. With signals as pictures of "
    "height 1 (N, C, 1, L) and kernels of (1, k), the same weights can be exported"
)
VOLUMES = (
    "it takes videos or volumes, and what can be explained are pictures (N, C, H, W): a model of a single "
    "frame or slice can be exported"
)
DETECTION = frozenset({"NonMaxSuppression", "RoiAlign", "MaxRoiPool", "com.microsoft.NonMaxSuppression"})
INTEGERS = frozenset(
    "ConvInteger DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul com.microsoft.QLinearAdd "
    "com.microsoft.QLinearConv com.microsoft.QLinearGlobalAveragePool com.microsoft.QGemm".split()
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

    Args:
        model: a tensor inside it that `output` names becomes one of its outputs.
        output: name of an output, or of a tensor inside the model; None takes the only output.

    Raises:
        ModelError: there is no image input, more than one input, or `output` does not name one tensor.
    """
    image = image_input(model)
    dims = declared_shape(image) if image.type.tensor_type.HasField("shape") else (None,) * 4
    channel_axis, channels = _first_convolution(model, image.name)
    if channel_axis not in (1, 3):
        channel_axis = 3 if dims[3] in (1, 3, 4) and dims[1] not in (1, 3, 4) else 1
    if dims[channel_axis] is None:
        dims = (*dims[:channel_axis], channels, *dims[channel_axis + 1 :])
    return Interface(image.name, _output(model, output), dims, "NHWC" if channel_axis == 3 else "NCHW")


def image_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The only input that is no weight: a tensor of rank 4, of floats or of whole pixels (uint8).

    Raises:
        ModelError: there is none, or there are others.
    """
    weights = {w.name for w in model.graph.initializer} | {
        w.values.name for w in model.graph.sparse_initializer
    }
    inputs = [value for value in model.graph.input if value.name not in weights]
    listed = ", ".join(_listed(value) for value in inputs) or "none"
    if len(inputs) != 1:
        raise ModelError(f"the model must have one input, an image; it has {len(inputs)}: {listed}")
    tensor = inputs[0].type.tensor_type
    rank = len(tensor.shape.dim) if tensor.HasField("shape") else 4
    if tensor.elem_type in IMAGES and rank in (3, 5):
        raise ModelError(f"the model's input, {listed}, has rank {rank}: {SIGNALS if rank == 3 else VOLUMES}")
    if rank != 4 or tensor.elem_type not in IMAGES:
        raise ModelError(
            f"the model has no image input (a tensor of rank 4, of floats or uint8), but {listed}: models of "
            "text, sound and tables are not supported"
        )
    return inputs[0]


def zipped_labels(model: onnx.ModelProto, output: str | None) -> tuple[list[str] | None, str | None]:
    """The labels and scores that a ZipMap joins to a dictionary, as Azure Custom Vision and sklearn do.

    Args:
        model: beside the dictionary it may give the label itself.
        output: the dictionary's name, or None where there is no other dictionary.

    Returns:
        The labels, and the tensor that holds the scores; None without a ZipMap.
    """
    given = {value.name for value in model.graph.output}
    maps = [node for node in model.graph.node if operator(node) == ZIPMAP and node.output[0] in given]
    maps = [node for node in maps if output in (None, node.output[0])]
    if len(maps) != 1:
        return None, None
    labels = attribute(maps[0], "classlabels_strings") or attribute(maps[0], "classlabels_int64s") or []
    texts = [label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label) for label in labels]
    return texts or None, maps[0].input[0]


def drop_unneeded(model: onnx.ModelProto, output: str) -> None:
    """Drop the nodes that the output to explain does not need, in place; they may be of any kind."""
    wanted, kept = {output}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted |= reads(node)
            kept.append(node)
    others = [value for value in model.graph.output if value.name == output]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(reversed(kept))
    model.graph.output.extend(others)


def _listed(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kind = "" if tensor.elem_type == TensorProto.FLOAT else " " + _kind(tensor.elem_type)
    return f"{value.name!r} {described(declared_shape(value))}{kind}"


def _kind(element: int) -> str:
    return TensorProto.DataType.Name(element).lower() if element else "of no tensor type"


def _output(model: onnx.ModelProto, output: str | None) -> str:
    texts = {
        value.name for value in model.graph.output if value.type.tensor_type.elem_type == TensorProto.STRING
    }
    outputs = [value.name for value in model.graph.output]
    outputs = [name for name in outputs if name not in texts] or outputs
    if output is None and len(outputs) > 1:
        raise ModelError(
            f"the model has {len(outputs)} outputs, choose one: {', '.join(outputs)}",
            settings=("output_name",),
        )
    output = output or next(iter(outputs), None)
    inside = {name for node in model.graph.node for name in node.output if name}
    if output not in outputs and output in inside:
        model.graph.output.add(name=output).type.tensor_type.elem_type = TensorProto.FLOAT
    elif output not in outputs:
        raise ModelError(
            f"the model has no output {output!r}; its outputs: {', '.join(outputs) or 'none'}",
            settings=("output_name",) if outputs else (),
        )
    return str(output)


def _first_convolution(model: onnx.ModelProto, image: str) -> tuple[int | None, int | None]:
    """The image's axis that the first convolution takes for channels, and their number; None if unknown."""
    shapes = {w.name: tuple(w.dims) for w in model.graph.initializer}
    axes: dict[str, tuple[int, ...]] = {image: (0, 1, 2, 3)}  # of the image, for each axis of a tensor
    for node in model.graph.node:
        name = next((name for name in node.input if name in axes), None)
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            shapes[node.output[0]] = tuple(node.attribute[0].t.dims)
        elif name is None:
            if node.op_type in ("Cast", "DequantizeLinear", "Identity") and node.input[0] in shapes:
                shapes[node.output[0]] = shapes[node.input[0]]
        elif node.op_type == "Conv":
            weight = shapes.get(node.input[1])
            count = weight[1] * attribute(node, "group", 1) if weight and len(weight) == 4 else None
            return axes[name][1], count
        elif node.op_type == "Transpose":
            perm = attribute(node, "perm") or [3, 2, 1, 0]
            axes[node.output[0]] = tuple(axes[name][axis] for axis in perm)
        elif node.op_type in POINTWISE:
            axes[node.output[0]] = axes[name]
    return None, None


def check_operators(nodes: Iterable[onnx.NodeProto], weights: Mapping[str, np.ndarray]) -> None:
    """Refuse the kinds of models that a single operator tells to be unfit.

    Raises:
        ModelError: it detects objects, draws random numbers, or computes with integers throughout.
    """
    constant_false = {name for name, value in weights.items() if value.size == 1 and not value.any()}
    for node in nodes:
        kind = operator(node)
        where = f"node {node.name or node.output[0]!r}: {kind}"
        if kind in DETECTION:
            raise ModelError(f"{where} belongs to a detector: only classifiers can be explained")
        training = node.input[2] if kind == "Dropout" and len(node.input) > 2 else ""
        if kind == "BatchNormalization" and attribute(node, "training_mode", 0):
            raise ModelError(
                f"{where} is in training mode, so an image's result changes with the other images of its "
                "batch: export the model in evaluation mode"
            )
        if kind in RANDOM or (training and training not in constant_false):
            raise ModelError(f"{where} changes results by chance: export the model in evaluation mode")
        if kind in INTEGERS:
            raise ModelError(
                f"{where} computes with integers (the QOperator format), so there are no float maps: "
                "quantise in the QDQ format (quant_format=QuantFormat.QDQ in onnxruntime.quantization)"
            )


def declared_shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    """The shape that an input or output is declared with, None where it is free."""
    return tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
        for d in value.type.tensor_type.shape.dim
    )
