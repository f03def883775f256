"""Weights that are stored in integers, in a model that computes in floats: brought to floats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError

from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.mapping import mapped_offsets
from ..ir.messages import gist
from ..ir.network import OWN_PREFIX, Graph, Network, image_dependent, to_model
from ..ir.types import TensorType

QUANTISED = "DequantizeLinear"


def fold_stored_weights(network: Network) -> None:
    """Compute every weight that is a DequantizeLinear of constants, where what reads it computes in floats.

    ONNX Runtime keeps such a node, and what it makes of it depends on the graph around it: one graph would
    differ from another by its rounding. A model that rounds its tensors as well (QDQ throughout) stays as it
    is, as ONNX Runtime runs that in integers.

    Raises:
        ModelError: ONNX Runtime cannot compute one, as where a scale does not fit its weight.
    """
    nodes = network.graph.nodes
    dependent = image_dependent(nodes, ["images"])
    folded = _folded(nodes, network.weights.keys(), dependent)
    if not folded:
        return
    kept = [node for node in nodes if not folded.intersection(node.output)]
    inside = [node for node in nodes if folded.intersection(node.output)]
    wanted = sorted(folded.intersection(name for node in kept for name in node.input))
    network.weights |= _computed(network, inside, wanted)
    for name in wanted:
        value = network.weights[name]
        network.types[name] = TensorType(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
    network.graph = replace(network.graph, nodes=tuple(kept))


def _folded(nodes: Sequence[onnx.NodeProto], weights: Iterable[str], dependent: set[str]) -> set[str]:
    """The tensors to compute: those that follow from constants, but for what meets rounded tensors."""
    producers = {name: node for node in nodes for name in node.output}
    fixed = set(weights)
    following: set[str] = set()
    for node in nodes:
        if (node.op_type == QUANTISED or following.intersection(node.input)) and fixed.issuperset(
            name for name in node.input if name
        ):
            following.update(node.output)
            fixed.update(node.output)
    kept: set[str] = set()
    for node in reversed(
        nodes
    ):  # what meets rounded tensors keeps its weights, and all that these are made of
        before = [producers[name].op_type for name in node.input if name in dependent and name in producers]
        if QUANTISED in before or kept.intersection(node.output):
            kept |= following.intersection(node.input)
    return following - kept


def _computed(network: Network, nodes: list[onnx.NodeProto], wanted: list[str]) -> dict[str, np.ndarray]:
    file, offsets = mapped_offsets(network.weights)
    graph = Graph(OWN_PREFIX + "stored", tuple(nodes), (), ())
    model = to_model(graph, network, location=file.name if file else None, offsets=offsets)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = open_session(
        model.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), file and file.parent
    )
    try:
        return dict(zip(wanted, session.run(wanted, {}), strict=True))
    except Exception as error:  # ONNX Runtime looks at scales when it runs
        raise ModelError(f"the model's stored weights cannot be computed: {gist(error)}") from error
