"""Phases 1 to 3 (SISE) as an ONNX Loop: masks are made and scored in turns of a fixed number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.bundle import Block

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from ..ir.nodes import copied
from ..ir.types import TensorType
from .link import enlarged, masked_scoring

MASKS = 8  # of a turn
SCORE_COLUMNS = ("confidences", "minimum", "maximum", "area")


def scored_in_turns(
    op: Builder,
    network: Network,
    pieces: Sequence[Graph],
    blocks: Sequence[Block],
    selecting: Sequence[onnx.NodeProto],
    found: Mapping[str, TensorType],
) -> tuple[str, dict[str, str]]:
    """Find masks and score them; at full size there are never more than those of a turn.

    The first turn of the Loop begins with phases 1 and 2: so all nodes that have weights lie in its body,
    and weights can stand there. In the graph around it, they would not be laid out in advance.

    Args:
        op: adds the nodes to the graph, whose picture is `image`.
        network: to score with; it takes over what constants the Loop has.
        pieces: of the network.
        blocks: whose maps are masks.
        selecting: the nodes of phases 1 and 2, from the graph's inputs to `found`.
        found: what these compute. Besides what the caller likes: `maps`, all blocks' in a row, of one
            dimension; `chosen`, which of them are scored, bool (maps,); and `class`, int64 (1,).

    Returns:
        (maps, 4) float32: confidence, minimum, maximum and area of each, see `masked_scoring`. Of maps that
        were not chosen all are 0. And the names of what was found.
    """
    count, per_turn = sum(block.channels for block in blocks), network.batch or MASKS
    turns = -(-count // per_turn)
    body = _turn(network, pieces, blocks, selecting, found)
    empty = [_zeros(op, tensor) for tensor in found.values()]
    most, true = op.constant(np.array(turns)), op.constant(np.array(True))
    *values, rows = op.Loop(most, true, *empty, body=body, outputs=len(found) + 1)
    given = dict(zip(found, values, strict=True))
    rows = op.Reshape(rows, op.constant([-1, len(SCORE_COLUMNS)]))
    slots = _slots(op, given["chosen"], count, per_turn)
    slots = op.Slice(slots, op.constant([0]), op.Shape(rows, start=0, end=1))
    table = op.ConstantOfShape(op.constant([count + 1, len(SCORE_COLUMNS)]))
    table = op.ScatterND(table, op.Unsqueeze(slots, op.constant([1])), rows)
    return op.Slice(table, op.constant([0]), op.constant([count])), given


def _zeros(op: Builder, tensor: TensorType) -> str:
    """A tensor of this type, which the first turn replaces."""
    filling = helper.make_tensor("value", tensor.element, [1], [0])
    return op.ConstantOfShape(op.constant(np.array(tensor.shape, np.int64)), value=filling)


def _slots(op: Builder, chosen: str, count: int, per_turn: int) -> str:
    """Which maps are scored, in the order of turns; all other places have `count`, which is none of them."""
    indices = op.Reshape(op.NonZero(chosen), op.constant([-1]))
    every = count + per_turn
    padding = op.Sub(op.constant([every]), op.Shape(indices))
    return op.Concat(indices, op.Expand(op.constant([count]), padding), axis=0)


def _turn(
    network: Network,
    pieces: Sequence[Graph],
    blocks: Sequence[Block],
    selecting: Sequence[onnx.NodeProto],
    found: Mapping[str, TensorType],
) -> onnx.GraphProto:
    """The body of the Loop: the next of the chosen masks, whatever blocks they are of, and their scores."""
    prefix = f"{OWN_PREFIX}turn/"
    op = Builder(prefix, network.types, network.weights, network.types["images"].dtype)
    turn, again = f"{prefix}turn", f"{prefix}again"
    count, per_turn = sum(block.channels for block in blocks), network.batch or MASKS
    before = {name: f"{prefix}before/{name}" for name in found}
    now = {name: f"{prefix}now/{name}" for name in found}
    op.If(
        op.Equal(turn, op.constant(0)),
        then_branch=_first(selecting, found),
        else_branch=_later(before, found),
        names=tuple(now.values()),
    )
    start = op.Mul(op.Reshape(turn, op.constant([1])), op.constant([per_turn]))
    end = op.Add(start, op.constant([per_turn]))
    places = op.Slice(_slots(op, now["chosen"], count, per_turn), start, end)
    body = _mask(network, blocks, places=places, flat=now["maps"])
    resized = op.Loop(op.constant(per_turn), op.constant(np.array(True)), body=body)
    making = list(op.nodes)
    scoring = masked_scoring(op, resized, network, pieces)
    joining = len(op.nodes)
    column = op.constant([-1, 1])
    op.Concat(*(op.Reshape(name, column) for name in SCORE_COLUMNS), axis=1, names=(f"{prefix}rows",))
    chosen = op.ReduceSum(op.Cast(now["chosen"], to=TensorProto.INT64), keepdims=1)
    op.Squeeze(op.Less(end, chosen), names=(f"{prefix}go on",))
    network.adopt(op)
    # The network stands in the first turn's nodes too, under other names.
    nodes = _apart([*making, *scoring, *op.nodes[joining:]], prefix, {"targets": now["class"]})
    rows = helper.make_tensor_value_info(f"{prefix}rows", TensorProto.FLOAT, [per_turn, len(SCORE_COLUMNS)])
    inputs = [*_loop_inputs(turn, again), *_values(before, found)]
    return helper.make_graph(nodes, "turn", inputs, [_truth(f"{prefix}go on"), *_values(now, found), rows])


def _first(selecting: Sequence[onnx.NodeProto], found: Mapping[str, TensorType]) -> onnx.GraphProto:
    """Phases 1 and 2."""
    prefix = f"{OWN_PREFIX}first/"
    nodes = _apart(selecting, prefix, {"images": "image"})
    return helper.make_graph(nodes, "first", [], _values({name: prefix + name for name in found}, found))


def _later(before: Mapping[str, str], found: Mapping[str, TensorType]) -> onnx.GraphProto:
    """What was found before."""
    kept = {name: f"{OWN_PREFIX}later/{name}" for name in found}
    nodes = [helper.make_node("Identity", [before[name]], [kept[name]], kept[name]) for name in found]
    return helper.make_graph(nodes, "later", [], _values(kept, found))


def _values(names: Mapping[str, str], types: Mapping[str, TensorType]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(names[name], tensor.element, list(tensor.shape))
        for name, tensor in types.items()
    ]


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
