"""Which axis of a tensor holds the channels, and channels first where images or a block have them last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from onnx import helper

from sise_rt.bundle import Block

from ..ir.network import OWN_PREFIX, Network, image_dependent
from ..ir.nodes import attribute, rewire

Axis = tuple[str, int]

CHANNELS_FIRST = frozenset(  # of their inputs and outputs, axis 1 holds the channels by definition
    "AveragePool BatchNormalization Conv ConvTranspose DepthToSpace GlobalAveragePool GlobalLpPool "
    "GlobalMaxPool GroupNormalization InstanceNormalization LRN LpPool MaxPool SpaceToDepth".split()
)
CHANNELS_AT_END = frozenset({"LayerNormalization", "MatMul", "RMSNormalization"})
REARRANGING = frozenset({"Einsum", "Gather", "GatherElements", "GatherND", "Reshape"})
RESIZING = frozenset({"Concat", "Pad", "Resize", "Slice", "Split", "Tile"})
CHANNELS_LAST = "images_channels_last"


def channel_axes(network: Network) -> dict[str, int]:
    """The channels' axis of each tensor of rank 4 in which exactly one is known to hold them.

    Operators that treat one axis as channels (convolutions, normalisations, products with weights) tell it of
    their own tensors; operators that keep the axes apart, and transpositions, pass it on in both directions.
    """
    nodes = network.graph.nodes
    dependent = image_dependent(nodes, ["images"])
    parents: dict[Axis, Axis] = {}

    def root(axis: Axis) -> Axis:
        while (parent := parents.setdefault(axis, axis)) != axis:
            parents[axis] = parents[parent]
            axis = parents[axis]
        return axis

    def rank(name: str) -> int:
        return len(network.types[name].shape) if name in network.types else 0

    told: list[Axis] = []  # what operators say of their own tensors
    for node in nodes:
        inputs = [name for name in node.input if name in dependent]
        maps = [name for name in (*inputs, *node.output) if name in dependent and rank(name) == 4]
        if node.op_type in CHANNELS_FIRST:
            told += [(name, 1) for name in maps]
        elif node.op_type in CHANNELS_AT_END:
            last = attribute(node, "axis", -1) % 4 == 3
            if len(inputs) == 1 and last and (node.op_type != "MatMul" or node.input[0] in dependent):
                told += [(name, 3) for name in maps]
        elif node.op_type == "Transpose" and len(maps) == 2:
            perm = attribute(node, "perm") or [3, 2, 1, 0]
            for i, axis in enumerate(perm):
                parents[root((maps[1], i))] = root((maps[0], axis))
        elif node.op_type not in REARRANGING and node.op_type != "Transpose":
            for i in range(4):
                for a, b in pairwise(maps):
                    if node.op_type in RESIZING or _extent(network, a, i) == _extent(network, b, i):
                        parents[root((a, i))] = root((b, i))
    channels = {root(axis) for axis in told}
    tensors = {name for node in nodes for name in node.output if name in dependent and rank(name) == 4}
    candidates = {name: [i for i in range(1, 4) if root((name, i)) in channels] for name in tensors}
    return {name: axes[0] for name, axes in candidates.items() if len(axes) == 1}


def _extent(network: Network, name: str, axis: int) -> int | str | None:
    return network.types[name].shape[axis]


def to_nchw(network: Network) -> None:
    """Let the network take channels first: drop its leading Transpose, or put the reverse in front of it."""
    image = network.types["images"]
    n, h, w, c = image.shape
    network.types["images"] = replace(image, shape=(n, c, h, w))
    nodes = list(network.graph.nodes)
    readers = [node for node in nodes if "images" in node.input]
    if all(node.op_type == "Transpose" and attribute(node, "perm") == [0, 3, 1, 2] for node in readers):
        nodes = [node for node in nodes if node not in readers]
        rewire(nodes, {node.output[0]: "images" for node in readers})
    else:
        rewire(nodes, {"images": CHANNELS_LAST})
        nodes.insert(
            0, helper.make_node("Transpose", ["images"], [CHANNELS_LAST], CHANNELS_LAST, perm=[0, 2, 3, 1])
        )
        network.types[CHANNELS_LAST] = image
    network.graph = replace(network.graph, nodes=tuple(nodes))


def channels_first(network: Network, blocks: Sequence[Block]) -> list[Block]:
    """Bring block outputs that have their channels last, (N, h, w, K), to (N, K, h, w).

    The network's tensor is transposed there and back, so that the block ends in between.
    """
    axes = channel_axes(network)
    result, nodes = list(blocks), list(network.graph.nodes)
    for i, block in enumerate(blocks):
        old = network.types[block.tensor]
        shape = (network.batch, block.channels, block.height, block.width)
        if axes[block.tensor] == 1:
            continue
        new, back = (f"{OWN_PREFIX}{block.tensor}/channels_{which}" for which in ("first", "last"))
        position = next(p for p, node in enumerate(nodes) if block.tensor in node.output) + 1
        there = helper.make_node("Transpose", [block.tensor], [new], new, perm=[0, 3, 1, 2])
        for node in nodes[position:]:
            node.input[:] = [back if name == block.tensor else name for name in node.input]
        nodes[position:position] = [
            there,
            helper.make_node("Transpose", [new], [back], back, perm=[0, 2, 3, 1]),
        ]
        network.types |= {new: replace(old, shape=shape), back: old}
        network.rearranged[new] = block.tensor
        result[i] = replace(block, tensor=new)
    network.graph = replace(network.graph, nodes=tuple(nodes))
    return result
