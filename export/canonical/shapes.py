"""Every tensor's shape, and the values that shapes alone decide, measured by running the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError
from sise_rt.running.passes import FULL

from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.mapping import mapped_offsets
from ..ir.messages import described, gist
from ..ir.network import OWN_PREFIX, Graph, Network, image_dependent, to_model
from ..ir.types import TensorType

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
        if small.shape != same.shape or not np.allclose(
            small, same, rtol=0.0, atol=MIXING * scale, equal_nan=True
        ):
            raise MixedBatch(
                f"tensor {name!r} of an image changes with the other images of its batch, or by chance",
                ", so masked copies cannot be scored together: export in evaluation mode, and with "
                "running statistics in every batch normalisation",
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
