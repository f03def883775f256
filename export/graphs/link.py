"""Composing the two graphs that the runtime runs from the graphs of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from sise_rt.bundle import Block

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from ..ir.types import TensorType
from .heads import alpha_name


def features_graph(
    pieces: Sequence[Graph], gradient_heads: Sequence[Graph], blocks: Sequence[Block]
) -> Graph:
    """One forward and one backward pass.

    Inputs: `images` (N, C, H, W), `targets` (N,) int64, below 0 for the class with the highest logit.
    Outputs: every A_b (N, K, h, w), every alpha_b (N, K), `logits` (N, classes).
    Without heads there is no backward pass: neither `targets` nor alphas.
    """
    nodes = _merged([*pieces, *reversed(gradient_heads)])
    alphas = [alpha_name(i) for i in range(1, len(gradient_heads) + 1)]
    outputs = (*(block.tensor for block in blocks), *alphas, "logits")
    return Graph.of("features", nodes, ("images", "targets") if alphas else ("images",), outputs)


def score_graph(network: Network, pieces: Sequence[Graph]) -> Graph:
    """Masked scoring (SISE, phase 3): masks are made, applied and scored inside the graph.

    Inputs: `image` (1, C, H, W), `targets` (T,) int64, and `maps` (M, 1, h, w), feature maps at their own
    resolution.
    Outputs: `confidences` (M, T) of the image times each mask; of each resized map its `minimum`, its
    `maximum` and, once normalised to [0, 1], its `area` (the sum over pixels, the denominator of eq. 11),
    all (M,).
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
    confidence = op.Softmax("logits", axis=1) if network.activation == "softmax" else op.Sigmoid("logits")
    op.Gather(confidence, "targets", axis=1, names=("confidences",))
    confidences = op.nodes[len(masks) :]
    network.adopt(op)
    element = image.element
    network.types |= {
        "image": TensorType(element, (1, *image.shape[1:])),
        "maps": TensorType(element, (network.batch, 1, "h", "w")),
        "targets": TensorType(TensorProto.INT64, (None,)),
        "confidences": TensorType(element, (network.batch, "T")),
        **{name: TensorType(element, (network.batch,)) for name in ("minimum", "maximum", "area")},
    }
    nodes = [*masks, *_merged(pieces), *confidences]
    outputs = ("confidences", "minimum", "maximum", "area")
    return Graph.of("score", nodes, ("image", "maps", "targets"), outputs)


def _merged(graphs: Sequence[Graph]) -> list[onnx.NodeProto]:
    """The graphs' nodes in order; one that several graphs share (a head repeats its block's) is kept once."""
    nodes: list[onnx.NodeProto] = []
    known: set[str] = set()
    for graph in graphs:
        for node in graph.nodes:
            if node.output[0] not in known:
                nodes.append(node)
                known.update(node.output)
    return nodes
