"""Every tensor's shape, measured by running the network, and constants for what shapes alone decide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError

from .messages import described, first_line
from .network import OWN_PREFIX, Graph, Network, TensorType, image_dependent, to_model
from .session import Level, open_session, quiet_options

BATCHES = (2, 3)  # two sizes above 1 tell a batch dimension from a fixed one
MIXING = 1e-3  # how far an image's tensors may change with its batch, relative to the largest value
GROUP = 32  # nodes that run together: a session holds every tensor that it gives out until its run ends
FULL = re.compile("bad_alloc|bad allocation|allocate memory|out of memory", re.IGNORECASE)

Values = dict[str, Any]  # arrays; lists where a tensor sequence is


def measure_shapes(network: Network) -> None:
    """Run the network at two batch sizes to learn every tensor's type, and values that shapes alone decide.

    It is run group by group, so that the tensors of one group are in memory and not those of all.

    Raises:
        ModelError: it does not run so, or an image's result depends on the others of its batch.
    """
    nodes = network.graph.nodes
    derived = _shape_derived(network)
    last_use = {name: i for i, node in enumerate(nodes) for name in node.input}
    image = network.types["images"]
    try:
        shape = [d if isinstance(d, int) else max(BATCHES) for d in image.shape]
        images = np.random.default_rng(0).standard_normal(shape, np.float32)
        runs: list[Values] = [{"images": images[:batch]} for batch in BATCHES]
        start, end = 0, GROUP
        while start < len(nodes):
            found = [_run(network, nodes[start:end], *given) for given in zip(runs, BATCHES, strict=True)]
            alive = {name for name in (*runs[0], *found[0]) if last_use.get(name, -1) >= end}
            if not all(isinstance((runs[0] | found[0])[name], np.ndarray) for name in alive):
                end += GROUP  # a sequence of tensors stays within its group
                continue
            for name, small in found[0].items():
                _learn(network, name, small, found[1][name])
                if name in derived:
                    network.measured[name] = (small, found[1][name])
            runs = [
                {name: value for name, value in (old | new).items() if name in alive}
                for old, new in zip(runs, found, strict=True)
            ]
            start, end = end, end + GROUP
    except MemoryError as error:
        raise ModelError(
            f"an input {described(image.shape)} needs more memory than there is: set a smaller --input-size"
        ) from error
    if not any("logits" in node.output for node in nodes):
        raise ModelError("the output does not depend on the image")


def _run(network: Network, nodes: Sequence[onnx.NodeProto], values: Values, batch: int) -> Values:
    """Everything that a group of nodes computes from `values`."""
    names = [name for node in nodes for name in node.output if name]
    used = {name for node in nodes for name in node.input}
    given = {name: value for name, value in values.items() if name in used}
    model = to_model(Graph(OWN_PREFIX + "group", tuple(nodes), (), ()), network)
    # Free extents stay nameless: ONNX Runtime takes two of one name for equal.
    model.graph.input.extend(
        helper.make_tensor_value_info(name, network.types[name].element, network.types[name].shape)
        for name in given
    )
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(model.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL))
    try:
        return dict(zip(names, session.run(names, given), strict=True))
    except Exception as error:
        if isinstance(error, MemoryError) or FULL.search(str(error)):
            raise MemoryError(first_line(error)) from error
        raise ModelError(
            f"the model does not run with a batch of {batch}, so its batch cannot be freed: "
            + first_line(error)
        ) from error


def _learn(network: Network, name: str, small: Any, large: Any) -> None:
    """A tensor's type from its values at both batch sizes."""
    if not isinstance(small, np.ndarray):
        return
    if small.ndim != large.ndim:
        raise ModelError(f"tensor {name!r} changes its rank with the batch size")
    dims = tuple(a if a == b else None for a, b in zip(small.shape, large.shape, strict=True))
    network.types[name] = TensorType(helper.np_dtype_to_tensor_dtype(small.dtype), dims)
    batched = (small.shape[:1], large.shape[:1]) == (BATCHES[:1], BATCHES[1:])
    # Not the output alone: a saturated softmax would hide it.
    if batched and small.dtype.kind == "f":
        scale = np.abs(small, where=np.isfinite(small), out=np.zeros_like(small)).max(initial=0.0)
        if not np.allclose(small, large[: BATCHES[0]], rtol=0.0, atol=MIXING * scale, equal_nan=True):
            raise ModelError(
                f"tensor {name!r} of an image changes with the other images of its batch, or by "
                "chance, so masked copies cannot be scored together: export in evaluation mode"
            )
    if name == "logits" and not batched:
        raise ModelError(
            f"the output has shape {described(small.shape)} for a batch of {BATCHES[0]} images, "
            "where a classifier gives (N, classes)"
        )


def _shape_derived(network: Network) -> set[str]:
    """Tensors that depend on the image through shapes alone."""
    dependent = image_dependent(network.graph.nodes, ["images"])
    derived: set[str] = set()
    for node in network.graph.nodes:
        sources = [name for name in node.input if name in dependent]
        if sources and (node.op_type in ("Shape", "Size") or all(name in derived for name in sources)):
            derived.update(name for name in node.output if name)
    return derived


def fold_shapes(network: Network) -> None:
    """Replace what depends on shapes alone by constants; in a Reshape the batch becomes -1."""
    derived = network.measured
    for node in network.graph.nodes:
        if node.op_type in ("Shape", "Size") or node.output[0] in derived:
            continue
        for i, name in enumerate(node.input):
            if name not in derived:
                continue
            small, large = derived[name]
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
            constant = f"{name}_of_{node.name or node.output[0]}_{i}"
            network.weights[constant] = value
            network.types[constant] = TensorType(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            node.input[i] = constant
