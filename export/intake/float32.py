"""Models in another precision than float32, brought to it: half, bfloat16, double, and pictures in uint8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from sise_rt.errors import ModelError

from ..ir.mapping import PAGE
from ..ir.nodes import subgraphs
from .external import LARGE
from .interface import image_input
from .weight_files import mapped, tensors

OTHERS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
# Attributes that hold an element type, whatever the operator.
TYPED = frozenset({"to", "dtype", "output_dtype", "output_datatype", "softmax_precision", "stash_type"})
REARRANGING = frozenset({"Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
FILE = "float32.bin"


def in_float32(model: onnx.ModelProto, folder: Path) -> tuple[str, ...]:
    """Bring a model to float32, in place, its input included.

    Returns:
        What it was in, for people to read: `float16`, `bfloat16`, `float64`, `uint8`; empty if it was in
        float32.

    Raises:
        ModelError: it takes whole pixels and computes with them.
    """
    image = image_input(model)
    precisions = to_float32(model, folder)
    if image.type.tensor_type.elem_type == TensorProto.UINT8:
        if not to_float_image(model, image.name):
            raise ModelError(
                f"input {image.name!r} takes whole pixels (uint8) and the model computes with them as they "
                "are, where masked images are floats: let a Cast to float be the first that happens to it"
            )
        precisions.add("uint8")
    return tuple(sorted(precisions))


def to_float32(model: onnx.ModelProto, folder: Path) -> set[str]:
    """Turn every half, bfloat16 and double tensor of a model to float32, in place.

    Halves and bfloat16 numbers are float32 numbers too; doubles are rounded. What is external is read from
    `folder`, and what was external is written to `FILE` there.

    Returns:
        The precisions that inputs, outputs and weights had; scalars may have any.
    """
    precisions: set[str] = set()
    for value in _declared(model.graph):
        tensor = value.type.tensor_type
        if tensor.elem_type in OTHERS:
            precisions.add(OTHERS[tensor.elem_type])
            tensor.elem_type = TensorProto.FLOAT
    with open(folder / FILE, "wb") as out:
        for weight in tensors(model):
            if weight.data_type in OTHERS:
                if any(extent != 1 for extent in weight.dims):
                    precisions.add(OTHERS[weight.data_type])
                _convert(weight, folder, out)
    functions = [node for function in model.functions for node in function.node]
    for node in (*_nodes(model.graph), *functions):
        for a in node.attribute:
            if a.name in TYPED and a.type == onnx.AttributeProto.INT and a.i in OTHERS:
                a.i = TensorProto.FLOAT
    return precisions


def _declared(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from (*graph.input, *graph.output, *graph.value_info)
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _declared(inner)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from _nodes(inner)


def _convert(weight: TensorProto, folder: Path, out: BinaryIO) -> None:
    limits = np.finfo(np.float32)
    value = np.asarray(mapped(weight, folder))
    if value.dtype == np.float64:  # -1.8e308 stands for no limit
        value = np.where(np.isfinite(value), np.clip(value, limits.min, limits.max), value)
    value = np.ascontiguousarray(value.astype(np.float32)).reshape(tuple(weight.dims))
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    if value.nbytes < LARGE:
        return
    weight.ClearField("raw_data")
    out.write(b"\0" * (-out.tell() % PAGE))
    weight.data_location = TensorProto.EXTERNAL
    for key, entry in (("location", FILE), ("offset", out.tell()), ("length", value.nbytes)):
        weight.external_data.add(key=key, value=str(entry))
    out.write(value.tobytes())


def to_float_image(model: onnx.ModelProto, image: str) -> bool:
    """Let an input of whole pixels (uint8) be float32, if all that the model does with it first is a Cast.

    Transpositions and changes of shape may come before. The values of whole pixels stay the same; in between,
    the model computes what it would for them without rounding.

    Returns:
        Whether it could be done; if not, the model is as before.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input[:1]:
            readers.setdefault(name, []).append(node)
    others = {name for node in model.graph.node for name in node.input[1:]}
    outputs = {value.name for value in model.graph.output}
    pending = [image]
    while pending:
        name = pending.pop()
        if name in outputs or name in others or not readers.get(name):
            return False
        for node in readers[name]:
            to = next((a.i for a in node.attribute if a.name == "to"), None)
            if node.op_type == "Cast" and to == TensorProto.FLOAT:
                continue
            elif node.op_type in REARRANGING:
                pending += node.output
            elif node.op_type not in ("Shape", "Size"):
                return False
    whole = TensorProto.UINT8
    kept = [value for value in model.graph.value_info if value.type.tensor_type.elem_type != whole]
    del model.graph.value_info[:]
    model.graph.value_info.extend(kept)
    value = next(value for value in model.graph.input if value.name == image)
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    return True
