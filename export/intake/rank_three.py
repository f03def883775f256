"""Models that take a picture as a tensor of rank 3: without a batch, or without channels."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..ir.nodes import attribute, fresh, tensor_names

AXES_AS_INPUTS = 13  # the operator set from which Squeeze has its axes as an input
ELEMENTWISE = frozenset("Add Cast Clip Div Identity Mul Neg Round Sub".split())


def with_rank_four(model: onnx.ModelProto) -> list[str]:
    """Let a model whose only input has rank 3 take images (N, C, H, W), or (N, H, W, C), in place.

    It is one that adds the missing axis itself (Unsqueeze), with nothing but element-wise operators before.

    Returns:
        What was done, in a line for people; nothing where the model is as it was.
    """
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1 or len(inputs[0].type.tensor_type.shape.dim) != 3:
        return []
    image = inputs[0]
    axis = _added_axis(model, image.name)
    if axis is None:
        return []
    shape = image.type.tensor_type.shape
    dims = list(shape.dim)
    dims.insert(axis, onnx.TensorShapeProto.Dimension(dim_value=1))
    del shape.dim[:]
    shape.dim.extend(dims)
    taken = set(tensor_names(model.graph))
    squeezed, axes = fresh(f"{image.name}_squeezed", taken), fresh(f"{image.name}_axes", taken)
    for node in model.graph.node:
        node.input[:] = [squeezed if name == image.name else name for name in node.input]
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    if opset >= AXES_AS_INPUTS:
        model.graph.initializer.append(numpy_helper.from_array(np.array([axis]), axes))
        squeeze = helper.make_node("Squeeze", [image.name, axes], [squeezed], squeezed)
    else:
        squeeze = helper.make_node("Squeeze", [image.name], [squeezed], squeezed, axes=[axis])
    model.graph.node.insert(0, squeeze)
    what = "batch" if axis == 0 else "channel"
    return [
        f"input {image.name!r} has rank 3: its {what} of 1, which the model adds itself, is in front of it"
    ]


def _added_axis(model: onnx.ModelProto, image: str) -> int | None:
    """The axis that an Unsqueeze gives to the image, None where something else happens to it before."""
    values = {weight.name: weight for weight in model.graph.initializer}
    same = {image}
    for node in model.graph.node:
        if node.op_type == "Constant" and (value := attribute(node, "value")) is not None:
            values[node.output[0]] = value
        if not same.intersection(node.input):
            continue
        if node.op_type in ELEMENTWISE:
            same.update(node.output)
            continue
        if node.op_type != "Unsqueeze":
            return None
        axes = attribute(node, "axes")
        if axes is None and len(node.input) > 1 and _is_small(values.get(node.input[1])):
            axes = numpy_helper.to_array(values[node.input[1]]).reshape(-1).tolist()
        return axes[0] % 4 if axes and len(axes) == 1 else None
    return None


def _is_small(tensor: TensorProto | None) -> bool:
    return tensor is not None and tensor.data_location != TensorProto.EXTERNAL and len(tensor.dims) <= 1
