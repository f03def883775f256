"""Older models raised to the operator set that gradients and blocks are written in."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from sise_rt.errors import ModelError

from ..ir.messages import gist
from ..ir.nodes import attribute, fresh, tensor_names
from .spelling import needed_opset

OPSET = 18  # the first with one signature for every reduction; newer models keep their own
IR = 8  # the file format that goes with it
WEIGHTS_ARE_INPUTS = 4  # before this file format every weight was declared as an input as well


def raise_opset(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in opset 18 or newer; it may be changed.

    Args:
        model: external data need not be loaded.

    Raises:
        ModelError: ONNX's converter cannot raise it, or a Resize hides which pixels it takes.
    """
    if model.ir_version < WEIGHTS_ARE_INPUTS:
        drop_weights_from_inputs(model)
    model.ir_version = max(model.ir_version, IR)
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    wanted = max(OPSET, needed_opset(model))
    if version >= wanted:
        return model
    # The converter would lose what lies in a file, so these weights are inputs meanwhile.
    outside = [w for w in model.graph.initializer if w.data_location == TensorProto.EXTERNAL]
    inside = [w for w in model.graph.initializer if w.data_location != TensorProto.EXTERNAL]
    declared = {value.name for value in model.graph.input}
    meanwhile = [w for w in outside if w.name not in declared]
    del model.graph.initializer[:]
    model.graph.initializer.extend(inside)
    model.graph.input.extend(helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in meanwhile)
    try:
        model = version_converter.convert_version(model, wanted)
    except Exception as error:
        raise ModelError(
            f"the model's opset {version} cannot be raised to {wanted}: {gist(error)}"
        ) from error
    names = {w.name for w in meanwhile}
    kept = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(outside)
    if version < 11:
        _keep_old_resizes(model)
    return model


def drop_weights_from_inputs(model: onnx.ModelProto) -> None:
    """Declare as inputs only what is no weight."""
    weights = {w.name for w in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def _keep_old_resizes(model: onnx.ModelProto) -> None:
    """Say how Resize and Upsample placed their samples before opset 11; the converter does not.

    Their nearest neighbour was the next one up on an axis that shrinks, and the next one down on one that
    grows.
    """
    tensors = {w.name: w for w in model.graph.initializer if w.data_location != TensorProto.EXTERNAL}
    taken = set(tensor_names(model.graph))
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "Constant" and (value := attribute(node, "value")) is not None:
            tensors[node.output[0]] = value
        if node.op_type != "Resize" or attribute(node, "coordinate_transformation_mode"):
            nodes.append(node)
            continue
        node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
        if attribute(node, "mode", b"nearest") != b"nearest":
            nodes.append(node)
            continue
        if node.input[2] not in tensors:
            raise ModelError(
                f"node {node.name or node.output[0]!r}: Resize of an opset below 11 computes its scales: "
                "export the model again with opset 11 or newer"
            )
        scales = numpy_helper.to_array(tensors[node.input[2]])
        if (scales < 1).any() and (scales > 1).any():
            shrinking, node = _apart(model, node, scales, taken)
            shrinking.attribute.append(helper.make_attribute("nearest_mode", "ceil"))
            nodes.append(shrinking)
        mode = "ceil" if (scales < 1).any() and not (scales > 1).any() else "floor"
        node.attribute.append(helper.make_attribute("nearest_mode", mode))
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _apart(
    model: onnx.ModelProto, node: onnx.NodeProto, scales: np.ndarray, taken: set[str]
) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Two Resizes in place of one: of the axes that shrink, then of those that grow."""
    names = [fresh(f"{node.output[0]}_{part}", taken) for part in ("shrunk", "shrinking", "growing")]
    taken.update(names)
    both = []
    for part, name in zip((np.minimum(scales, 1), np.maximum(scales, 1)), names[1:], strict=True):
        model.graph.initializer.append(numpy_helper.from_array(part.astype(np.float32), name))
        half = onnx.NodeProto()
        half.CopyFrom(node)
        half.name, half.input[2] = name, name
        both.append(half)
    first, second = both
    first.output[0] = second.input[0] = names[0]
    return first, second
