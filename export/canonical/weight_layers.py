"""Which nodes are weight layers: where a parameter meets what depends on the image, and mixes it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
import onnx

from ..ir.network import Network, image_dependent
from ..ir.nodes import attribute

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # whatever their weights are
PARAMETRIC = frozenset({"DeformConv", "Einsum", "GRU", "LSTM", "RNN"})  # if one of their inputs is a matrix
PAIRWISE = frozenset({"Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"})
SAME_VALUES = frozenset({"Cast", "Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Tile", "Unsqueeze"})
OWN_DOMAINS = frozenset({"", "ai.onnx"})


def weight_layers(network: Network) -> list[int]:
    """The positions of a network's weight layers, in order.

    A convolution and a product with weights are. So is any operator with a parameter of more than a vector
    that combines positions or channels: an Einsum, one of another domain, and what is written with
    element-wise operators, as the distances to centres (x - c) and the products w * x that are then summed.
    A scale, a bias and an embedding of positions, which are added or multiplied where they are, are not.
    """
    nodes = network.graph.nodes
    dependent = image_dependent(nodes, ["images"])
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    sources = {node.output[0]: node.input[0] for node in nodes if node.op_type in SAME_VALUES}
    return [
        position
        for position, node in enumerate(nodes)
        if sum(name in dependent for name in node.input) == 1
        and _mixes(network, node, sources, readers, dependent)
    ]


def _mixes(
    network: Network,
    node: onnx.NodeProto,
    sources: Mapping[str, str],
    readers: Mapping[str, list[onnx.NodeProto]],
    dependent: set[str],
) -> bool:
    if node.op_type in PRODUCTS and node.domain in OWN_DOMAINS:
        return True
    parameters = [name for name in node.input if name not in dependent and _is_float(network, name)]
    matrices = [name for name in parameters if sum(extent != 1 for extent in network.types[name].shape) > 1]
    if node.op_type in PARAMETRIC or node.domain not in OWN_DOMAINS:
        return bool(matrices)
    if node.op_type not in PAIRWISE or node.output[0] not in network.types:
        return False
    data = next(name for name in node.input if name in dependent)
    while data in sources and data in dependent:
        data = sources[data]  # what was only repeated or reshaped
    if matrices and _size(network, node.output[0]) > _size(network, data):
        return True
    return node.op_type == "Mul" and any(
        _sums_over(network, reader, name) for reader in readers.get(node.output[0], ()) for name in parameters
    )


def _is_float(network: Network, name: str) -> bool:
    return name in network.types and network.types[name].dtype.kind == "f"


def _size(network: Network, name: str) -> int:
    """How many values an image has there."""
    return prod(int(extent or 1) for extent in network.types[name].shape)


def _sums_over(network: Network, node: onnx.NodeProto, parameter: str) -> bool:
    """Whether a node sums over an axis along which a parameter of the product before it varies."""
    if node.op_type != "ReduceSum":
        return False
    rank = len(network.types[node.input[0]].shape)
    axes = (
        network.weights.get(node.input[1])
        if len(node.input) > 1 and node.input[1]
        else attribute(node, "axes")
    )
    own = network.types[parameter].shape
    shape = (*([1] * (rank - len(own))), *own)
    summed = range(rank) if axes is None else np.asarray(axes).reshape(-1)
    return any(shape[int(axis) % rank] != 1 for axis in summed)
