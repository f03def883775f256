"""`explain.onnx`: one graph that gives a picture's explanation by SISE, in standard operators.

Made of the parts that a bundle is made of: the features graph, and the score graph inside a Loop. Its inputs
and outputs are told in `docs/single-file.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto

from sise_rt.bundle import BEST, Block, Manifest
from sise_rt.errors import ModelError
from sise_rt.graphs import alpha_name, graph_specs
from sise_rt.pictures.flatness import CONSTANT

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from ..ir.nodes import operator
from ..ir.types import TensorType
from .ends import INDEX, LARGEST, Answer, answered, are_finite, explaining_graph, tell_class, tell_status
from .heads import gradient_heads
from .link import enlarged, features_graph
from .looping import scored_in_turns
from .split import cut_at_blocks
from .thresholding import activated_regions, double, fused, normalised

NEWEST = 21  # opset that the graph may be in


def single_graph(network: Network, manifest: Manifest) -> Graph:
    """SISE as one graph; its constants, and the defaults of its settings, join the network's weights.

    Args:
        network: in canonical form, its block outputs channels first.
        manifest: of a bundle with gradients, in float32.

    Raises:
        UnsupportedOperator: an operator on the way of a gradient score has no gradient rule.
        ModelError: the network has what standard operators of opset 18 to 21 do not say.
    """
    require_standard(network)
    specs, blocks = graph_specs(manifest), manifest.blocks
    pieces = cut_at_blocks(network, specs)
    features = features_graph(specs["features"], pieces, gradient_heads(network, pieces, specs))
    selecting, found = _selecting(network, features.nodes, blocks)
    op = Builder(f"{OWN_PREFIX}single/", network.types, network.weights)
    scores, given = scored_in_turns(op, network, pieces, blocks, selecting, found)
    op.Identity(given["logits"], names=("logits",))
    answer = Answer(given["class"], given["possible"])
    columns = [op.Gather(scores, op.constant(place), axis=1) for place in range(4)]
    finite = op.And(given["finite"], are_finite(op, [columns[0]]))
    entering = op.And(given["chosen"], op.Not(_flat(op, columns[1], columns[2])))
    maps = _visualization_maps(op, network, blocks, given["maps"], entering, columns)
    visual, usable = normalised(op, maps)
    _, height, width = network.image_size
    regions = activated_regions(op, visual, len(blocks), height * width)
    explanation, shaped = normalised(op, fused(op, visual, usable, regions, len(blocks)))
    sound = op.And(finite, answer.possible)
    _tell(op, "explanation", op.Where(sound, op.Squeeze(explanation, op.constant([0])), zero(op)))
    _tell(op, "visualization_maps", op.Where(sound, visual, zero(op)))
    op.Identity(given["kept"], names=("kept",))
    sizes = op.constant([block.channels for block in blocks])
    of_block = op.Split(op.Cast(entering, to=TensorProto.INT64), sizes, axis=0, outputs=len(blocks))
    of_block = of_block if len(blocks) > 1 else (of_block,)
    op.Concat(*(op.ReduceSum(part, keepdims=1) for part in of_block), axis=0, names=("used",))
    op.ReduceSum(op.Cast(given["chosen"], to=TensorProto.INT64), keepdims=0, names=("masks_scored",))
    tell_class(op, network, answer, finite)
    speaks = op.Greater(op.ReduceSum(given["kept"], keepdims=0), op.constant(0))
    tell_status(op, possible=answer.possible, finite=finite, speaks=speaks, shaped=shaped)
    network.adopt(op)
    defaults = {
        "target": np.array(BEST),
        "mu": np.array(0, np.float32),
        "max_masks": np.array(sum(block.channels for block in blocks)),
    }
    further = {
        "visualization_maps": TensorType(TensorProto.FLOAT, (len(blocks), height, width)),
        "kept": TensorType(TensorProto.INT64, (len(blocks),)),
        "used": TensorType(TensorProto.INT64, (len(blocks),)),
        "masks_scored": INDEX,
    }
    return explaining_graph(network, op.nodes, defaults, further)


def require_standard(network: Network) -> None:
    """Refuse a network that a graph for any runtime cannot hold.

    Raises:
        ModelError: names the operator, or the opset.
    """
    for node in network.graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            raise ModelError(
                f"node {node.name or node.output[0]!r} is a {operator(node)}, which is none of ONNX's own: "
                "such a model can be exported to a bundle, and not to a single file"
            )
    if network.opsets[""] > NEWEST:
        raise ModelError(
            f"the model is in opset {network.opsets['']}, and a single file is in {NEWEST} at most, which "
            "runtimes in other languages read: write the model in an older one, or export a bundle"
        )


def _selecting(
    network: Network, features: Sequence[onnx.NodeProto], blocks: tuple[Block, ...]
) -> tuple[list[onnx.NodeProto], dict[str, TensorType]]:
    """Phases 1 and 2: nodes from `images` and the settings to tensors, and these.

    `maps`: of all blocks in a row; `chosen`: which of them are scored, bool (maps,); `kept`: of each block
    how many speak for the class (eq. 7); `class`: int64 (1,); `logits`; `finite`: whether the picture, the
    maps, the gradients and the logits are; `possible`: whether the settings are within their ranges.
    """
    op = Builder(f"{OWN_PREFIX}select/", network.types, network.weights)
    answer = answered(op, network, features)
    op.Identity(answer.target, names=("class",))
    op.Concat(*(op.Reshape(block.tensor, op.constant([-1])) for block in blocks), axis=0, names=("maps",))
    _select(op, blocks, answer)
    network.adopt(op)
    channels = sum(block.channels for block in blocks)
    values = sum(block.channels * block.height * block.width for block in blocks)
    return op.nodes, {
        "maps": TensorType(TensorProto.FLOAT, (values,)),
        "chosen": TensorType(TensorProto.BOOL, (channels,)),
        "kept": TensorType(TensorProto.INT64, (len(blocks),)),
        "class": TensorType(TensorProto.INT64, (1,)),
        "logits": TensorType(TensorProto.FLOAT, (1, network.classes)),
        "finite": TensorType(TensorProto.BOOL, ()),
        "possible": TensorType(TensorProto.BOOL, ()),
    }


def _select(op: Builder, blocks: tuple[Block, ...], answer: Answer) -> None:
    """Select by `mu` (eq. 7, 8), and of these the `max_masks` with the highest share of their block's alpha.

    So a limit selects as a higher `mu` would.
    """
    alphas = [alpha_name(index) for index in range(1, len(blocks) + 1)]
    finite = op.Identity(are_finite(op, ["images", "logits", *alphas, "maps"]), names=("finite",))
    mu, one = op.Cast("mu", to=TensorProto.DOUBLE), op.constant(double(1))
    within = op.And(op.GreaterOrEqual(mu, zero(op)), op.Less(mu, one))
    some = op.GreaterOrEqual("max_masks", op.constant(1))
    possible = op.And(answer.possible, op.And(within, some), names=("possible",))
    sound, nothing = op.And(finite, possible), op.constant(0)
    kept, shares, shaped = [], [], []
    for block, name in zip(blocks, alphas, strict=True):
        alpha = op.Cast(op.Reshape(name, op.constant([-1])), to=TensorProto.DOUBLE)
        peak = op.ReduceMax(alpha, keepdims=1)
        speaks = op.And(op.Greater(alpha, zero(op)), op.Greater(alpha, op.Mul(mu, peak)))
        kept.append(op.And(speaks, sound))
        shares.append(op.Div(alpha, op.Where(op.Greater(peak, zero(op)), peak, one)))
        rows = op.Reshape(block.tensor, op.constant([block.channels, -1]))
        across = op.constant([1])
        shaped.append(
            op.Not(_flat(op, op.ReduceMin(rows, across, keepdims=0), op.ReduceMax(rows, across, keepdims=0)))
        )
    counts = [op.ReduceSum(op.Cast(keep, to=TensorProto.INT64), keepdims=1) for keep in kept]
    masks = op.And(op.Concat(*kept, axis=0), op.Concat(*shaped, axis=0))
    share = op.Where(masks, op.Concat(*shares, axis=0), op.constant(double(-1)))
    every = op.constant([sum(block.channels for block in blocks)])
    _, by_share = op.TopK(share, every, axis=0, outputs=2)
    _, ranks = op.TopK(by_share, every, axis=0, largest=0, outputs=2)
    limit = op.Max("max_masks", nothing)
    op.And(masks, op.Less(ranks, limit), names=("chosen",))
    op.Concat(*counts, axis=0, names=("kept",))


def _flat(op: Builder, low: str, high: str) -> str:
    """Whether maps with these extremes are flat, as `sise_rt.pictures.flatness.is_constant`."""
    least = op.Mul(op.constant(CONSTANT), op.Max(op.Abs(high), op.constant(1.0)))
    return op.Less(op.Sub(high, low), least)


def _visualization_maps(
    op: Builder, network: Network, blocks: tuple[Block, ...], flat: str, usable: str, columns: list[str]
) -> str:
    """V_b of each block (eq. 10-12) but for a positive factor, (B, H, W) float64; flat where there is none.

    The sum is taken over the maps at their own resolution and resized once, as resizing is linear.
    """
    confidence, low, high, area = columns
    wide = [op.Cast(column, to=TensorProto.DOUBLE) for column in (confidence, low, high, area)]
    one = op.constant(double(1))
    if network.activation == "none":  # outputs have no zero of their own: the smallest is taken for it
        far = op.Where(usable, wide[0], op.constant(double(LARGEST)))
        wide[0] = op.Sub(wide[0], op.ReduceMin(far, keepdims=0))
    below = op.Where(usable, op.Mul(wide[3], op.Sub(wide[2], wide[1])), one)
    weights = op.Where(usable, op.Div(wide[0], below), zero(op))
    large, start, at = [], 0, 0
    for block in blocks:
        part = op.constant([start]), op.constant([start + block.channels])
        weight = op.Reshape(op.Slice(weights, *part), op.constant([1, -1]))
        end = at + block.channels * block.height * block.width
        rows = op.Slice(flat, op.constant([at]), op.constant([end]))
        rows = op.Reshape(rows, op.constant([block.channels, -1]))
        summed = op.MatMul(weight, op.Cast(rows, to=TensorProto.DOUBLE))
        lowest = op.MatMul(weight, op.Reshape(op.Slice(wide[1], *part), op.constant([-1, 1])))
        small = op.Sub(summed, lowest)
        # Confidences may be tiny; a map's scale says nothing, and float32 is to hold it.
        peak = op.ReduceMax(op.Abs(small), keepdims=1)
        small = op.Div(small, op.Where(op.Greater(peak, zero(op)), peak, one))
        small = op.Cast(small, to=TensorProto.FLOAT)
        large.append(enlarged(op, op.Reshape(small, op.constant([1, 1, block.height, block.width])), network))
        start, at = start + block.channels, end
    _, height, width = network.image_size
    stacked = op.Reshape(op.Concat(*large, axis=1), op.constant([-1, height, width]))
    return op.Cast(stacked, to=TensorProto.DOUBLE)


def _tell(op: Builder, name: str, value: str) -> None:
    op.Cast(value, to=TensorProto.FLOAT, names=(name,))


def zero(op: Builder) -> str:
    """0 in float64."""
    return op.constant(double(0))
