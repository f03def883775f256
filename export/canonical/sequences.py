"""Sequences of tensors, as torch's scripting writes `split` and lists: taken apart into their tensors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError

from ..ir.network import OWN_PREFIX, Network
from ..ir.nodes import attribute, operator, rewire
from ..ir.types import Shape, TensorType

TAKING = frozenset({"ConcatFromSequence", "SequenceAt", "SequenceErase", "SequenceInsert", "SequenceLength"})
GIVING = frozenset({"SequenceConstruct", "SequenceEmpty", "SplitToSequence"})


def unfold_sequences(network: Network) -> None:
    """Let a network, whose types are measured, compute without sequences: with the tensors that they hold.

    Raises:
        ModelError: names the node that cannot be taken apart.
    """
    if not any(node.op_type in TAKING | GIVING for node in network.graph.nodes):
        return
    lists: dict[str, list[str]] = {}
    nodes: list[onnx.NodeProto] = []
    alias: dict[str, str] = {}
    for node in network.graph.nodes:
        rewire([node], {name: alias[name] for name in node.input if name in alias})
        if node.op_type == "SplitToSequence":
            split, lists[node.output[0]] = _split(network, node)
            nodes += split
        elif node.op_type in ("SequenceConstruct", "SequenceEmpty"):
            lists[node.output[0]] = list(node.input)
        elif node.op_type in ("SequenceInsert", "SequenceErase"):
            lists[node.output[0]] = _changed(network, node, lists)
        elif node.op_type == "SequenceAt":
            tensor = _members(node, lists)[_position(network, node, 1, _members(node, lists))]
            if node.output[0] == "logits":
                nodes.append(helper.make_node("Identity", [tensor], ["logits"], "logits"))
            else:
                alias[node.output[0]] = tensor
        elif node.op_type == "SequenceLength":
            _constant(network, node.output[0], np.array(len(_members(node, lists))))
        elif node.op_type == "ConcatFromSequence":
            nodes += _joined(network, node, _members(node, lists))
        elif taken := [name for name in node.input if name in lists]:
            raise _refused(node, f"takes the sequence {taken[0]!r}")
        else:
            nodes.append(node)
    network.graph = replace(network.graph, nodes=tuple(nodes))


def _refused(node: onnx.NodeProto, why: str) -> ModelError:
    return ModelError(
        f"node {node.name or node.output[0]!r}: {operator(node)} {why}, which cannot be taken apart"
    )


def _members(node: onnx.NodeProto, lists: dict[str, list[str]]) -> list[str]:
    if node.input[0] not in lists:
        raise _refused(node, f"takes the sequence {node.input[0]!r}")
    return lists[node.input[0]]


def _value(network: Network, name: str) -> np.ndarray | None:
    """A constant, or what shapes alone decide at every batch size."""
    if name in network.measured:
        small, large = network.measured[name]
        return small if np.array_equal(small, large) else None
    value = network.weights.get(name)
    return None if value is None else np.asarray(value)


def _position(network: Network, node: onnx.NodeProto, operand: int, members: list[str], end: int = 0) -> int:
    value = _value(network, node.input[operand])
    if value is None:
        raise _refused(node, "takes a place that is computed")
    place = int(value.reshape(-1)[0])
    if not -len(members) <= place < len(members) + end:
        raise _refused(node, f"takes place {place} of {len(members)}")
    return place


def _changed(network: Network, node: onnx.NodeProto, lists: dict[str, list[str]]) -> list[str]:
    members = list(_members(node, lists))
    if node.op_type == "SequenceErase":
        given = len(node.input) > 1 and node.input[1]
        members.pop(_position(network, node, 1, members) if given else -1)
    else:
        given = len(node.input) > 2 and node.input[2]
        place = _position(network, node, 2, members, end=1) if given else len(members)
        members.insert(place, node.input[1])
    return members


def _split(network: Network, node: onnx.NodeProto) -> tuple[list[onnx.NodeProto], list[str]]:
    """A Split in place of a SplitToSequence, and the names of its parts."""
    kind = network.types[node.input[0]]
    axis = attribute(node, "axis", 0) % len(kind.shape)
    extent = kind.shape[axis]
    given = len(node.input) > 1 and node.input[1]
    pieces = _value(network, node.input[1]) if given else np.array(1)
    if not isinstance(extent, int) or pieces is None:
        raise _refused(node, "splits by a computed size" if pieces is None else "splits the batch")
    if pieces.ndim == 0:
        count = int(pieces)
        sizes = np.array([min(count, extent - start) for start in range(0, extent, count)])
    else:
        sizes = np.asarray(pieces)
    stem = f"{OWN_PREFIX}{node.output[0]}"
    parts = [f"{stem}_{i}" for i in range(len(sizes))]
    names = {part: _with(kind, axis, int(size)) for part, size in zip(parts, sizes, strict=True)}
    network.types |= names
    lengths = _constant(network, f"{stem}_sizes", sizes.astype(np.int64))
    nodes = [helper.make_node("Split", [node.input[0], lengths], parts, node.name or stem, axis=axis)]
    if given or attribute(node, "keepdims", 1):
        return nodes, parts
    axes = _constant(network, f"{stem}_axes", np.array([axis]))
    squeezed = [f"{part}_squeezed" for part in parts]
    flat = TensorType(kind.element, (*kind.shape[:axis], *kind.shape[axis + 1 :]))
    network.types |= dict.fromkeys(squeezed, flat)
    pairs = zip(parts, squeezed, strict=True)
    return nodes + [helper.make_node("Squeeze", [part, axes], [name], name) for part, name in pairs], squeezed


def _joined(network: Network, node: onnx.NodeProto, members: list[str]) -> list[onnx.NodeProto]:
    """A Concat in place of a ConcatFromSequence; a new axis is put into each tensor first."""
    axis = attribute(node, "axis")
    if not attribute(node, "new_axis", 0):
        return [helper.make_node("Concat", members, node.output, node.name or node.output[0], axis=axis)]
    rank = len(network.types[node.output[0]].shape)
    axis %= rank
    axes = _constant(network, f"{OWN_PREFIX}{node.output[0]}_axes", np.array([axis]))
    nodes, rows = [], []
    for i, name in enumerate(members):
        rows.append(f"{OWN_PREFIX}{node.output[0]}_{i}")
        network.types[rows[-1]] = _with(network.types[node.output[0]], axis, 1)
        nodes.append(helper.make_node("Unsqueeze", [name, axes], rows[-1:], rows[-1]))
    nodes.append(helper.make_node("Concat", rows, node.output, node.name or node.output[0], axis=axis))
    return nodes


def _with(kind: TensorType, axis: int, extent: int) -> TensorType:
    shape: Shape = (*kind.shape[:axis], extent, *kind.shape[axis + 1 :])
    return TensorType(kind.element, shape)


def _constant(network: Network, name: str, value: np.ndarray) -> str:
    network.weights[name] = value
    network.types[name] = TensorType(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
    network.measured.pop(name, None)
    return name
