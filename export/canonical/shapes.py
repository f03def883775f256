"""Every tensor's shape, measured by running the network, and constants for what shapes alone decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError
from sise_rt.running.sessions import FULL

from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.mapping import mapped_offsets
from ..ir.messages import described, gist
from ..ir.network import (
    BATCH,
    OWN_PREFIX,
    SHAPE_READERS,
    Graph,
    Network,
    TensorType,
    batch_of,
    image_dependent,
    needed,
    to_model,
)

BATCHES = (2, 3)  # two sizes above 1 tell a batch dimension from a fixed one
MIXING = 1e-3  # how far an image's tensors may change with its batch, relative to the largest value
GROUP = 32  # nodes that run together: a session holds every tensor that it gives out until its run ends

Values = dict[str, Any]  # arrays; lists where a tensor sequence is


class BatchError(ModelError):
    """Why a network's batch cannot be free.

    Attributes:
        observed: what its runs showed, without what that means and what would help.
    """

    def __init__(self, observed: str, advice: str = ""):
        super().__init__(observed + advice)
        self.observed = observed


class FixedBatch(BatchError):
    """The network does not run at another batch size."""


class NoBatch(FixedBatch):
    """The network runs, but its output does not have one row an image."""


class MixedBatch(BatchError):
    """An image's result depends on the batch that it is in, or on chance."""


def measure_shapes(network: Network, batches: tuple[int, int] = BATCHES) -> None:
    """Run the network at two batch sizes to learn every tensor's type, and values that shapes alone decide.

    It is run group by group, so that the tensors of one group are in memory and not those of all.

    Args:
        network: its types are filled in.
        batches: two sizes; if they are equal, the network's batch is fixed to that size.

    Raises:
        FixedBatch: it does not run so.
        MixedBatch: an image's result depends on the others of its batch, on its place there, or on chance.
        ModelError: it needs too much memory, or the output does not depend on the image.
    """
    nodes = network.graph.nodes
    derived = _shape_derived(network)
    last_use = {name: i for i, node in enumerate(nodes) for name in node.input}
    image = network.types["images"]
    if batches[0] == batches[1]:
        network.types["images"] = replace(image, shape=(batches[0], *image.shape[1:]))
    try:
        shape = [max(batches), *(int(d or 0) for d in image.shape[1:])]
        images = np.random.default_rng(0).standard_normal(shape, np.float32)
        runs: list[Values] = [
            {"images": images[: batches[0]]},
            {"images": _aligned(images[: batches[1]], batches)},
        ]
        start, end = 0, GROUP
        while start < len(nodes):
            made = [_run(network, nodes[start:end], *given) for given in zip(runs, batches, strict=True)]
            alive = {name for name in (*runs[0], *made[0]) if last_use.get(name, -1) >= end}
            if not all(isinstance((runs[0] | made[0])[name], np.ndarray) for name in alive):
                end += GROUP  # a sequence of tensors stays within its group
                continue
            for name, small in made[0].items():
                _learn(network, name, small, made[1][name], batches, name in derived)
                network.sample = small if name == "logits" else network.sample
                if name in derived:
                    network.measured[name] = (small, made[1][name])
            runs = [
                {name: value for name, value in (old | new).items() if name in alive}
                for old, new in zip(runs, made, strict=True)
            ]
            start, end = end, end + GROUP
    except MemoryError as error:
        raise ModelError(
            f"an input {described(image.shape)} needs more memory than there is: choose a smaller input size",
            settings=("input_size",),
        ) from error
    if not any("logits" in node.output for node in nodes):
        raise ModelError("the output does not depend on the image")


def _aligned(values: np.ndarray, batches: tuple[int, int]) -> np.ndarray:
    """The second run's images, or what became of them, in the order of the first run's.

    The second run has them the other way round, as what comes before an image must not matter either.
    """
    return values[::-1] if batches[0] != batches[1] else values


def _run(network: Network, nodes: Sequence[onnx.NodeProto], values: Values, batch: int) -> Values:
    """Everything that a group of nodes computes from `values`."""
    names = [name for node in nodes for name in node.output if name]
    used = {name for node in nodes for name in node.input}
    given = {name: value for name, value in values.items() if name in used}
    graph = Graph(OWN_PREFIX + "group", tuple(nodes), (), ())
    file, offsets = mapped_offsets(network.weights)
    model = to_model(graph, network, location=file.name if file else None, offsets=offsets)
    # Free extents stay nameless: ONNX Runtime takes two of one name for equal.
    model.graph.input.extend(
        helper.make_tensor_value_info(name, network.types[name].element, network.types[name].shape)
        for name in given
    )
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(
        model.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), file and file.parent
    )
    try:
        return dict(zip(names, session.run(names, given), strict=True))
    except Exception as error:
        if isinstance(error, MemoryError) or FULL.search(str(error)):
            raise MemoryError(gist(error)) from error
        raise FixedBatch(f"the model does not run with a batch of {batch}: {gist(error)}") from error


def _learn(
    network: Network, name: str, small: Any, large: Any, batches: tuple[int, int], derived: bool
) -> None:
    """A tensor's type, from its values at both batch sizes.

    Args:
        network: its types are filled in.
        name: of the tensor.
        small: its value at the first batch size; a tensor sequence has no type.
        large: at the second.
        batches: both sizes.
        derived: the tensor follows from shapes alone, so it may hold the batch size itself.
    """
    if not isinstance(small, np.ndarray):
        return
    if small.ndim != large.ndim:
        raise FixedBatch(f"tensor {name!r} changes its rank with the batch size")
    dims = tuple(a if a == b else None for a, b in zip(small.shape, large.shape, strict=True))
    network.types[name] = TensorType(helper.np_dtype_to_tensor_dtype(small.dtype), dims)
    batched = (*small.shape[:1], *large.shape[:1]) == batches
    # Not the output alone: a saturated softmax would hide it.
    if batched and small.dtype.kind == "f" and not derived:
        scale = np.abs(small, where=np.isfinite(small), out=np.zeros_like(small)).max(initial=0.0)
        same = _aligned(large, batches)[: batches[0]]
        if not np.allclose(small, same, rtol=0.0, atol=MIXING * scale, equal_nan=True):
            raise MixedBatch(
                f"tensor {name!r} of an image changes with the other images of its batch, or by chance",
                ", so masked copies cannot be scored together: export in evaluation mode",
            )
    if name == "logits" and not batched and batches[0] != batches[1]:
        raise NoBatch(
            f"the output has shape {described(small.shape)} for a batch of {batches[0]} images, "
            "where a classifier gives (N, classes)"
        )


def _shape_derived(network: Network) -> set[str]:
    """Tensors that depend on the image through shapes alone."""
    reached = {"images"}
    for node in network.graph.nodes:
        if any(name in reached for name in node.input):
            reached.update(name for name in node.output if name)
    return reached - image_dependent(network.graph.nodes, ["images"])


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
