"""Phase 3 (SISE) as an ONNX Loop: masks are made and scored in turns of a fixed number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.bundle import Block

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from ..ir.nodes import copied
from .link import enlarged, masked_scoring

MASKS = 8  # of a turn
SCORE_COLUMNS = ("confidences", "minimum", "maximum", "area")


def scored_in_turns(
    op: Builder,
    network: Network,
    pieces: Sequence[Graph],
    blocks: Sequence[Block],
    *,
    chosen: str,
    count: str,
    target: str,
) -> str:
    """Score some of all feature maps as masks; at full size there are never more than those of a turn.

    Args:
        op: adds the nodes to the graph, whose picture is `image`.
        network: to score with; it takes over what constants the Loop has.
        pieces: of the network.
        blocks: whose maps are at hand, each under its tensor's name (1, K, h, w).
        chosen: which of the maps of all blocks in a row, bool (maps,).
        count: how many, int64 (1,).
        target: class index, int64 (1,).

    Returns:
        (maps, 4) float32: confidence, minimum, maximum and area of each, see `masked_scoring`. Of maps that
        were not chosen all are 0.
    """
    maps = sum(block.channels for block in blocks)
    per_turn = network.batch or MASKS
    flat = op.Concat(*(op.Reshape(block.tensor, op.constant([-1])) for block in blocks), axis=0)
    turns = op.Div(op.Add(count, op.constant([per_turn - 1])), op.constant([per_turn]))
    turns = op.Max(turns, op.constant([1]))  # a Loop of no turn is what runtimes get wrong
    indices = op.Reshape(op.NonZero(chosen), op.constant([-1]))
    padding = op.Sub(op.Mul(turns, op.constant([per_turn])), count)
    # The last turn is filled with a map that is none, whose row is cut off again.
    slots = op.Concat(indices, op.Expand(op.constant([maps]), padding), axis=0)
    body = _turn(network, pieces, blocks, per_turn, slots=slots, flat=flat, target=target)
    rows = op.Loop(op.Squeeze(turns), op.constant(np.array(True)), body=body)
    rows = op.Reshape(rows, op.constant([-1, len(SCORE_COLUMNS)]))
    empty = op.ConstantOfShape(op.constant([maps + 1, len(SCORE_COLUMNS)]))
    table = op.ScatterND(empty, op.Unsqueeze(slots, op.constant([1])), rows)
    return op.Slice(table, op.constant([0]), op.constant([maps]))


def _turn(
    network: Network,
    pieces: Sequence[Graph],
    blocks: Sequence[Block],
    per_turn: int,
    *,
    slots: str,
    flat: str,
    target: str,
) -> onnx.GraphProto:
    """The body of the Loop: the next masks of `slots`, whatever blocks they are of, and their scores."""
    prefix = f"{OWN_PREFIX}turn/"
    op = Builder(prefix, network.types, network.weights, network.types["images"].dtype)
    turn, again = f"{prefix}turn", f"{prefix}again"
    start = op.Mul(op.Reshape(turn, op.constant([1])), op.constant([per_turn]))
    places = op.Slice(slots, start, op.Add(start, op.constant([per_turn])))
    body = _mask(network, blocks, places=places, flat=flat)
    resized = op.Loop(op.constant(per_turn), again, body=body)
    making = list(op.nodes)
    scoring = masked_scoring(op, resized, network, pieces)
    joining = len(op.nodes)
    column = op.constant([-1, 1])
    op.Concat(*(op.Reshape(name, column) for name in SCORE_COLUMNS), axis=1, names=(f"{prefix}rows",))
    op.Identity(again, names=(f"{prefix}go on",))
    network.adopt(op)
    # The network stands in the features' graph too, under the same names.
    nodes = _apart([*making, *scoring, *op.nodes[joining:]], prefix, {"targets": target})
    rows = helper.make_tensor_value_info(f"{prefix}rows", TensorProto.FLOAT, [per_turn, len(SCORE_COLUMNS)])
    return helper.make_graph(nodes, "turn", _loop_inputs(turn, again), [_truth(f"{prefix}go on"), rows])


def _mask(network: Network, blocks: Sequence[Block], *, places: str, flat: str) -> onnx.GraphProto:
    """The body of the Loop inside: one map at the input's resolution, (1, H, W), from a row of all maps."""
    prefix = f"{OWN_PREFIX}mask/"
    op = Builder(prefix, network.types, network.weights, network.types["images"].dtype)
    place, again = f"{prefix}place", f"{prefix}again"
    sizes = np.repeat([block.height * block.width for block in blocks], [b.channels for b in blocks])
    ends = np.cumsum(sizes, dtype=np.int64)
    of_block = np.repeat(np.arange(len(blocks), dtype=np.int64), [block.channels for block in blocks])
    extents = np.array([(1, 1, block.height, block.width) for block in blocks], np.int64)
    map_ = op.Min(op.Gather(places, op.Reshape(place, op.constant([1]))), op.constant([len(sizes) - 1]))
    start, end = op.Gather(op.constant(ends - sizes), map_), op.Gather(op.constant(ends), map_)
    shape = op.Gather(op.constant(extents), op.Gather(op.constant(of_block), map_))
    small = op.Reshape(op.Slice(flat, start, end), op.Squeeze(shape, op.constant([0])))
    op.Squeeze(enlarged(op, small, network), op.constant([0]), names=(f"{prefix}map",))
    op.Identity(again, names=(f"{prefix}go on",))
    network.adopt(op)
    _, height, width = network.image_size
    made = helper.make_tensor_value_info(f"{prefix}map", TensorProto.FLOAT, [1, height, width])
    return helper.make_graph(op.nodes, "mask", _loop_inputs(place, again), [_truth(f"{prefix}go on"), made])


def _loop_inputs(turn: str, again: str) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(turn, TensorProto.INT64, []), _truth(again)]


def _truth(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.BOOL, [])


def _apart(nodes: Sequence[onnx.NodeProto], prefix: str, given: dict[str, str]) -> list[onnx.NodeProto]:
    """Copies of nodes that write names of their own; what they read elsewhere stays, but for `given`."""
    written = {name for node in nodes for name in node.output if name and not name.startswith(prefix)}
    copies = copied(nodes, {name: prefix + name for name in written} | given)
    for node in copies:
        if node.name and not node.name.startswith(prefix):
            node.name = prefix + node.name
    return copies
