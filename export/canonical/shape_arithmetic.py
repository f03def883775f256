"""Shape arithmetic taken out of a network: constants, and one tensor for the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from ..ir.network import BATCH, OWN_PREFIX, SHAPE_READERS, Network, batch_of, needed
from ..ir.nodes import attribute
from ..ir.types import TensorType


def fold_shapes(network: Network) -> None:
    """Rid the network of shape arithmetic.

    What depends on shapes alone becomes constants, and in a Reshape the batch becomes -1. Indices that count
    through the whole batch become indices within an image. What still depends on the batch is computed from
    the tensor `BATCH`, so that it can be cut anywhere.
    """
    for node in network.graph.nodes:
        if node.op_type not in SHAPE_READERS and node.output[0] not in network.measured:
            _fold_inputs(network, node)
        if node.op_type == "Squeeze" and not any(node.input[1:]):
            _name_squeezed_axes(network, node)
    _gather_within_images(network)
    _compute_from_batch(network)


def keep_measured_sizes(network: Network) -> None:
    """Say the size behind each Resize whose scales ONNX Runtime multiplies otherwise as it loads a graph.

    It runs with products in float32 (10 * 1.3 is 13), and infers shapes with products in double (12.99...).
    A Reshape to what was measured changes no value, and ends the wrong shape there.
    """
    nodes: list[onnx.NodeProto] = []
    for node in network.graph.nodes:
        nodes.append(node)
        scales = network.weights.get(node.input[2]) if node.op_type == "Resize" and node.input[2:] else None
        if scales is None or not scales.size:
            continue
        before, after = (network.types[name].shape for name in (node.input[0], node.output[0]))
        axes = attribute(node, "axes") or range(len(before))
        pairs = zip(axes, np.asarray(scales, np.float64), strict=True)
        if all(before[axis] is None or int(int(before[axis] or 0) * s) == after[axis] for axis, s in pairs):
            continue
        output, sized = node.output[0], f"{OWN_PREFIX}{node.output[0]}/resized"
        shape = np.array([-1 if extent is None else extent for extent in after], np.int64)
        node.output[0] = sized
        network.types[sized] = network.types[output]
        target = _constant(network, f"{OWN_PREFIX}{output}/size", shape)
        nodes.append(helper.make_node("Reshape", [sized, target], [output], f"{sized}_as_measured"))
    network.graph = replace(network.graph, nodes=tuple(nodes))


def _fold_inputs(network: Network, node: onnx.NodeProto) -> None:
    """Replace a node's shape-derived inputs by constants where their values allow it."""
    for i, name in enumerate(node.input):
        if name not in network.measured:
            continue
        small, large = network.measured[name]
        value = small
        if small.shape != large.shape:
            continue
        if not np.array_equal(small, large):
            varying = np.flatnonzero(small != large)
            output = network.types[node.output[0]].shape
            if node.op_type == "Reshape" and output.count(None) == 1:
                value = np.array([-1 if d is None else d for d in output])
            elif (
                node.op_type == "Expand"
                and varying.tolist() == [0]
                and network.types[node.input[0]].shape[:1] == (None,)
                and len(network.types[node.input[0]].shape) == len(small)
            ):
                value = small.copy()
                value[varying] = 1
            else:
                continue
        node.input[i] = _constant(network, f"{name}_of_{node.name or node.output[0]}_{i}", value)


def _name_squeezed_axes(network: Network, node: onnx.NodeProto) -> None:
    """Name the axes of a Squeeze of all axes of one element, so that it leaves a batch of one image alone."""
    shape = network.types[node.input[0]].shape
    axes = np.flatnonzero([extent == 1 for extent in shape]).astype(np.int64)
    if not axes.size:  # an empty list would mean every axis
        node.op_type, node.input[:] = "Identity", node.input[:1]
        return
    node.input[:] = [node.input[0], _constant(network, f"{node.output[0]}_axes", axes)]


def _constant(network: Network, name: str, value: np.ndarray) -> str:
    network.weights[name] = value
    network.types[name] = TensorType(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
    return name


def _gather_within_images(network: Network) -> None:
    """Gather from each image where a flattened batch is indexed, as torch writes its `as_strided`."""
    producers = {name: node for node in network.graph.nodes for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in network.graph.nodes:
        flat = producers.get(node.input[0]) if node.op_type == "Gather" and node.input else None
        nodes += (flat is not None and _within_images(network, node, flat)) or [node]
    network.graph = replace(network.graph, nodes=tuple(nodes))


def _within_images(network: Network, gather: onnx.NodeProto, flat: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes that compute what `gather` does for each image by itself; none where it mixes images."""
    name, output = gather.input[1], gather.output[0]
    axis = next((a.i for a in gather.attribute if a.name == "axis"), 0)
    if axis != 0 or flat.op_type not in ("Reshape", "Flatten") or name not in network.measured:
        return []
    source = network.types[flat.input[0]].shape
    if network.types[flat.output[0]].shape != (None,) or source[:1] != (None,) or None in source[1:]:
        return []
    stride = int(np.prod([d for d in source[1:] if isinstance(d, int)]))
    if not network.measured[name][0].ndim:
        return []
    first = network.measured[name][0][:1]
    for indices in network.measured[name]:
        start = stride * np.arange(len(indices)).reshape(-1, *[1] * (indices.ndim - 1))
        if not np.array_equal(indices, first + start) or first.min() < 0 or first.max() >= stride:
            return []
    in_order = np.array_equal(first.ravel(), np.arange(stride))
    shape = [-1, *first.shape[1:]] if in_order else [-1, stride]
    target = _constant(network, f"{output}_shape", np.array(shape, np.int64))
    rows = output if in_order else f"{output}_rows"
    reshape = helper.make_node("Reshape", [flat.input[0], target], [rows], rows)
    if in_order:
        return [reshape]
    network.types[rows] = TensorType(network.types[output].element, (None, stride))
    within = _constant(network, f"{output}_indices", first[0])
    return [reshape, helper.make_node("Gather", [rows, within], [output], gather.name or output, axis=1)]


def _compute_from_batch(network: Network) -> None:
    """Let remaining shape arithmetic start from one tensor, the batch size, and not from tensors all over."""
    nodes = needed(network.graph.nodes, network.graph.outputs)
    result: list[onnx.NodeProto] = []
    for node in nodes:
        shape = network.types[node.input[0]].shape if node.op_type == "Shape" else ()
        bounds = {a.name: a.i for a in node.attribute}
        extents = shape[bounds.get("start") : bounds.get("end")]
        if extents.count(None) != 1 or shape[0] is not None:
            result.append(node)  # it reads no batch size, or one that is mixed into another extent
            continue
        output = node.output[0]
        before, after = extents[: extents.index(None)], extents[extents.index(None) + 1 :]
        parts = [
            BATCH if i == 1 else _constant(network, f"{output}_extents_{i}", np.array(part, np.int64))
            for i, part in enumerate((before, None, after))
            if i == 1 or part
        ]
        result.append(helper.make_node("Concat", parts, [output], output, axis=0))
    if any(BATCH in node.input for node in result):
        network.types[BATCH] = TensorType(onnx.TensorProto.INT64, (1,))
        result.insert(0, batch_of("images"))
    network.graph = replace(network.graph, nodes=tuple(result))
