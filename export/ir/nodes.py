"""What a node is, what it reads, and which tensor names are taken, subgraphs included."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Any

import onnx
from onnx import helper

RANDOM = frozenset(
    "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike".split()
)


def operator(node: onnx.NodeProto) -> str:
    """The operator type, with its domain in front where it is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs that a control flow node holds."""
    return [graph for a in node.attribute for graph in ([a.g] if a.HasField("g") else list(a.graphs))]


def reads(node: onnx.NodeProto) -> set[str]:
    """Every tensor that a node reads, those that its subgraphs capture included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        own = {v.name for v in graph.input} | {w.name for w in graph.initializer}
        own |= {name for inner in graph.node for name in inner.output}
        used = {v.name for v in graph.output}.union(*(reads(inner) for inner in graph.node))
        names |= used - own
    return names


def homes(graph: onnx.GraphProto, weights: Collection[str]) -> dict[str, onnx.GraphProto]:
    """For each weight the innermost graph that all its readers are in, but for the branches of an If.

    ONNX Runtime lays a weight out in advance only for nodes of the graph that it stands in. What is an input
    of `graph` too is at home there.
    """
    readers: dict[str, list[onnx.NodeProto]] = {name: [] for name in sorted(weights)}
    for node in graph.node:
        for name in reads(node) & readers.keys():
            readers[name].append(node)
    here = {value.name for value in graph.input} | {name for node in graph.node for name in node.input}
    inside: dict[str, list[str]] = {}
    for name, nodes in readers.items():
        if name not in here and len(nodes) == 1 and len(subgraphs(nodes[0])) == 1:
            inside.setdefault(nodes[0].output[0], []).append(name)
    found = dict.fromkeys(readers, graph)
    for node in graph.node:
        if node.output[0] in inside:
            found |= homes(subgraphs(node)[0], inside[node.output[0]])
    return found


def tensor_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every tensor name of a graph and of its subgraphs."""
    yield from (value.name for value in graph.input)
    yield from (weight.name for weight in graph.initializer)
    yield from (weight.values.name for weight in graph.sparse_initializer)
    for node in graph.node:
        yield from (name for name in node.output if name)
        for inner in subgraphs(node):
            yield from tensor_names(inner)


def fresh(name: str, taken: Collection[str]) -> str:
    """`name`, or with the lowest number from 2 behind it that is not taken."""
    candidates = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, or the default where the node does not set it."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def rewire(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Rename tensors wherever the nodes read or write them."""
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def copied(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> list[onnx.NodeProto]:
    """Copies of nodes that read and write tensors under other names."""
    copies = []
    for node in nodes:
        copies.append(onnx.NodeProto())
        copies[-1].CopyFrom(node)
    rewire(copies, names)
    return copies
