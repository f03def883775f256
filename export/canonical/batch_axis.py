"""The batch dimension: freed where a model spells it out, kept at 1 where it cannot be freed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError
from sise_rt.wording import Note

from ..ir.network import OWN_PREFIX, Network, image_dependent
from ..ir.nodes import attribute
from ..ir.types import TensorType
from .shapes import BatchError, FixedBatch, MixedBatch, NoBatch, measure_shapes

Types = Mapping[str, TensorType]


def settle_batch(network: Network, declared: int | None) -> None:
    """Learn every tensor's type around a free batch, or around a batch of 1 where it cannot be freed.

    Args:
        network: as ONNX Runtime optimised it; it is changed.
        declared: the batch that the model's input has, None where it is free.

    Raises:
        ModelError: the model does not run, or it mixes the images of a batch that it declares to be free, or
            its batch is fixed to several.
    """
    if declared is not None:
        free_batch(network, declared)
    try:
        measure_shapes(network)
        return
    except FixedBatch as error:
        reason: BatchError = error
    except MixedBatch as error:
        if declared is None:
            raise
        reason = error
    if declared is None:  # it says so, but may have been exported with a batch of 1
        try:
            free_batch(network, 1)
            measure_shapes(network)
            return
        except ModelError as error:
            if isinstance(reason, NoBatch):
                raise reason from error
    elif declared > 1:
        raise ModelError(
            f"the model fixes its batch to {declared} images, and it cannot be freed ({reason.message}): "
            "export it with a free batch, or with a batch of 1"
        ) from reason
    measure_shapes(network, (1, 1))
    network.assumed.append(Note(f"batch of 1, so masked images are scored one by one ({reason.observed})"))


def free_batch(network: Network, batch: int) -> None:
    """Let the nodes that spell out a batch take it from their input; at that batch, nothing changes.

    Raises:
        ModelError: the network does not run with that batch.
    """
    measured = replace(network, types=dict(network.types), measured={})
    measure_shapes(measured, (batch, batch))
    nodes: list[onnx.NodeProto] = []
    dependent = image_dependent(network.graph.nodes, ["images"])
    for node in network.graph.nodes:
        free = FREEING.get(node.op_type)
        if free is not None and any(name in dependent for name in node.input):
            nodes += free(network, measured.types, dependent, node, batch)
        nodes.append(node)
    network.graph = replace(network.graph, nodes=tuple(nodes))


# Lets a node take the batch from its input, where it spells it out; gives the nodes to put in front of it.
Freeing = Callable[[Network, Types, set[str], onnx.NodeProto, int], list[onnx.NodeProto]]


def _reshape(
    network: Network, types: Types, dependent: set[str], node: onnx.NodeProto, batch: int
) -> list[onnx.NodeProto]:
    """Let the first extent be what is left, also where groups of channels join the batch."""
    target = _weight(network, node, 1)
    shape = types[node.output[0]].shape
    if target is None or not target.size or target[0] < 1 or 0 in shape:
        return []
    _remove(node, "allowzero")
    node.input[1] = _constant(network, node, np.array([-1, *shape[1:]], np.int64))
    return []


def _resize(
    network: Network, types: Types, dependent: set[str], node: onnx.NodeProto, batch: int
) -> list[onnx.NodeProto]:
    """Give sizes to the axes that change only, so not to the batch."""
    sizes = _weight(network, node, 3)
    roi = _weight(network, node, 1)
    before = types[node.input[0]].shape
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch")
    if sizes is None or (roi is not None and roi.size) or policy != b"stretch":
        return []
    axes = [axis % len(before) for axis in attribute(node, "axes") or range(len(before))]
    changed = [i for i, axis in enumerate(axes) if before[axis] != sizes[i]]
    kept = changed or [i for i, axis in enumerate(axes) if axis][-1:]  # one axis at least
    if kept and 0 in axes and 0 not in [axes[i] for i in kept]:
        _remove(node, "axes")
        node.attribute.append(helper.make_attribute("axes", [axes[i] for i in kept]))
        node.input[3] = _constant(network, node, sizes[kept])
    return []


def _slice(
    network: Network, types: Types, dependent: set[str], node: onnx.NodeProto, batch: int
) -> list[onnx.NodeProto]:
    """Take the whole batch, whatever its size."""
    starts, ends, axes, steps = (_weight(network, node, i) for i in range(1, 5))
    if starts is None or ends is None:
        return []
    rank = len(types[node.input[0]].shape)
    positions = [int(axis) % rank for axis in axes] if axes is not None else list(range(len(starts)))
    if 0 in positions and types[node.input[0]].shape[0] == batch:
        i = positions.index(0)
        if starts[i] == 0 and ends[i] >= batch and (steps is None or steps[i] == 1):
            ends = ends.copy()
            ends[i] = np.iinfo(ends.dtype).max
            node.input[2] = _constant(network, node, ends)
    return []


def _expand(
    network: Network, types: Types, dependent: set[str], node: onnx.NodeProto, batch: int
) -> list[onnx.NodeProto]:
    """Keep the input's own batch."""
    target, before = _weight(network, node, 1), types[node.input[0]].shape
    if target is not None and len(target) == len(before) and target[0] == before[0] == batch:
        node.input[1] = _constant(network, node, np.array([1, *target[1:]], np.int64))
    return []


def _concat(
    network: Network, types: Types, dependent: set[str], node: onnx.NodeProto, batch: int
) -> list[onnx.NodeProto]:
    """Repeat constant maps for the batch of the others."""
    shape = types[node.output[0]].shape
    if not shape or shape[0] != batch or attribute(node, "axis") % len(shape) == 0:
        return []
    source = next(name for name in node.input if name in dependent)
    added: list[onnx.NodeProto] = []
    for i, name in enumerate(node.input):
        value = network.weights.get(name)
        if value is None or not _same_rows(value):
            continue
        stem = f"{OWN_PREFIX}batch/{node.output[0]}_{i}"
        count, target, rows = f"{stem}_count", f"{stem}_shape", f"{stem}_rows"
        rest = _constant(network, node, np.array(value.shape[1:], np.int64), f"_{i}_rest")
        row = _constant(network, node, value[:1], f"_{i}_row")
        added += [
            helper.make_node("Shape", [source], [count], count, start=0, end=1),
            helper.make_node("Concat", [count, rest], [target], target, axis=0),
            helper.make_node("Expand", [row, target], [rows], rows),
        ]
        node.input[i] = rows
    return added


def _broadcast(
    network: Network, types: Types, dependent: set[str], node: onnx.NodeProto, batch: int
) -> list[onnx.NodeProto]:
    """Keep one row of a constant that repeats it for a batch of several."""
    rank = len(types[node.output[0]].shape)
    for i, name in enumerate(node.input):
        value = network.weights.get(name)
        if batch > 1 and value is not None and value.ndim == rank and value.shape[0] == batch:
            if rank and types[node.output[0]].shape[0] == batch and _same_rows(value):
                node.input[i] = _constant(network, node, value[:1], f"_{i}")
    return []


FREEING: dict[str, Freeing] = {
    "Concat": _concat,
    "Expand": _expand,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum", "Where"), _broadcast),
}


def _same_rows(value: np.ndarray) -> bool:
    return value.ndim > 0 and bool(np.all(value == value[:1]))


def _weight(network: Network, node: onnx.NodeProto, position: int) -> np.ndarray | None:
    return network.weights.get(node.input[position]) if len(node.input) > position else None


def _constant(network: Network, node: onnx.NodeProto, value: np.ndarray, suffix: str = "") -> str:
    name = f"{OWN_PREFIX}batch/{node.output[0]}{suffix}"
    network.weights[name] = value
    network.types[name] = TensorType(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
    return name


def _remove(node: onnx.NodeProto, name: str) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
