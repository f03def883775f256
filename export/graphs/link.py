"""Composing the two graphs that the runtime runs from the graphs of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from sise_rt.graphs import GraphSpec

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from .contract import graph_by


def features_graph(spec: GraphSpec, pieces: Sequence[Graph], heads: Sequence[Graph]) -> Graph:
    """One forward and one backward pass; without heads there is no backward pass."""
    return graph_by(spec, _merged([*pieces, *reversed(heads)]))


def score_graph(spec: GraphSpec, network: Network, pieces: Sequence[Graph]) -> Graph:
    """Masked scoring (SISE, phase 3): masks are made, applied and scored inside the graph."""
    op = Builder(f"{OWN_PREFIX}score/", network.types, network.weights, network.types["images"].dtype)
    resized = enlarged(op, "maps", network)
    enlarging = list(op.nodes)
    scoring = masked_scoring(op, resized, network, pieces)
    network.adopt(op)
    return graph_by(spec, [*enlarging, *scoring])


def enlarged(op: Builder, maps: str, network: Network) -> str:
    """Feature maps (N, 1, h, w) at the input's resolution, (N, 1, H, W)."""
    _, height, width = network.image_size
    return op.Resize(
        maps,
        None,
        None,
        op.constant([height, width]),
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )


def masked_scoring(
    op: Builder, resized: str, network: Network, pieces: Sequence[Graph]
) -> list[onnx.NodeProto]:
    """The nodes that score an `image` (1, C, H, W) under masks made of resized maps (N, 1, H, W).

    They give `confidences` (N, T) in the classes `targets`; `minimum` and `maximum` (N,), those of each
    resized map; and `area` (N,), the sum over the pixels once it is normalised to [0, 1], the denominator of
    eq. 11. The builder keeps their constants, and those of its nodes that lie outside the network.
    """
    before = len(op.nodes)
    everywhere = op.constant([1, 2, 3])
    low = op.ReduceMin(resized, everywhere, keepdims=1)
    high = op.ReduceMax(resized, everywhere, keepdims=1)
    # Constant maps are dropped before and after scoring; here they only must not divide by zero.
    span = op.Max(op.Sub(high, low), op.constant(float(np.finfo(op.dtype).tiny)))
    mask = op.Div(op.Sub(resized, low), span)
    op.Reshape(low, op.constant([-1]), names=("minimum",))
    op.Reshape(high, op.constant([-1]), names=("maximum",))
    op.ReduceSum(mask, everywhere, keepdims=0, names=("area",))
    op.Mul("image", mask, names=("images",))
    masks = op.nodes[before:]
    confidence = confidences_of(op, network)
    op.Gather(confidence, "targets", axis=1, names=("confidences",))
    return [*masks, *_merged(pieces), *op.nodes[before + len(masks) :]]


def confidences_of(op: Builder, network: Network) -> str:
    """What the logits (N, classes) mean: probabilities, or the output itself where that is explained."""
    return {
        "softmax": lambda: op.Softmax("logits", axis=1),
        "sigmoid": lambda: op.Sigmoid("logits"),
        "none": lambda: "logits",
    }[network.activation]()


def _merged(graphs: Sequence[Graph]) -> list[onnx.NodeProto]:
    """The graphs' nodes in order; one that several graphs share (a head repeats its block's) is kept once."""
    nodes: list[onnx.NodeProto] = []
    written: set[str] = set()
    for graph in graphs:
        for node in graph.nodes:
            if node.output[0] not in written:
                nodes.append(node)
                written.update(node.output)
    return nodes
