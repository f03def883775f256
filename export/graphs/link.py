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
    """Masked scoring (SISE, phase 3): masks are made, applied and scored inside the graph.

    `minimum` and `maximum` are those of each resized map; `area` is the sum over the pixels once it is
    normalised to [0, 1], the denominator of eq. 11.
    """
    image = network.types["images"]
    _, height, width = network.image_size
    op = Builder(f"{OWN_PREFIX}score/", network.types, network.weights, image.dtype)
    resized = op.Resize(
        "maps",
        None,
        None,
        op.constant([height, width]),
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    everywhere = op.constant([1, 2, 3])
    low = op.ReduceMin(resized, everywhere, keepdims=1)
    high = op.ReduceMax(resized, everywhere, keepdims=1)
    # Constant maps are dropped before and after scoring; here they only must not divide by zero.
    span = op.Max(op.Sub(high, low), op.constant(float(np.finfo(image.dtype).tiny)))
    mask = op.Div(op.Sub(resized, low), span)
    op.Reshape(low, op.constant([-1]), names=("minimum",))
    op.Reshape(high, op.constant([-1]), names=("maximum",))
    op.ReduceSum(mask, everywhere, keepdims=0, names=("area",))
    op.Mul("image", mask, names=("images",))
    masks = list(op.nodes)
    confidence = {
        "softmax": lambda: op.Softmax("logits", axis=1),
        "sigmoid": lambda: op.Sigmoid("logits"),
        "none": lambda: "logits",
    }[network.activation]()
    op.Gather(confidence, "targets", axis=1, names=("confidences",))
    confidences = op.nodes[len(masks) :]
    network.adopt(op)
    return graph_by(spec, [*masks, *_merged(pieces), *confidences])


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
