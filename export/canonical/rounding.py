"""Probabilities that are rounded: the gradient passes straight through, as it does through a quantisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError

from ..ir.network import STRAIGHT_THROUGH, Network
from .bounds import tensor_bounds
from .last_steps import roundings


def pass_through_rounding(network: Network, values: np.ndarray) -> None:
    """Let the gradient pass what rounds probabilities, as it passes a quantisation; the results stay.

    Args:
        network: whose output are probabilities.
        values: (P, columns) of the output for pictures.

    Raises:
        ModelError: what is rounded is a decision.
    """
    steps = roundings(network)
    if steps and len(values) and np.isin(values, (0, 1)).all():
        kind, name = steps[0].op_type, steps[0].name
        raise ModelError(
            f"the output is what {kind} (node {name!r}) decides, 0 or 1, not the scores: explain the tensor "
            f"that it takes, {steps[0].input[0]}",
            settings=("output_name",),
        )
    nodes = list(network.graph.nodes)
    passed: list[onnx.NodeProto] = []
    for node in steps:
        place = next(i for i, other in enumerate(nodes) if other is node)
        given, result = node.input[0], node.output[0]
        if node.op_type == "Cast":
            if not _only_cut(network, node):
                continue
            network.types[result] = replace(network.types[given], shape=network.types[result].shape)
        kind = "Floor" if node.op_type == "Cast" else node.op_type
        nodes[place] = helper.make_node(kind, [given], [result], STRAIGHT_THROUGH + (node.name or result))
        passed.append(node)
    if passed:
        network.notes.append(
            f"{passed[0].op_type} (node {passed[0].name!r}) rounds the probabilities: the gradient passes "
            "straight through, and masks whose confidences round to the same are not told apart (explain a "
            "tensor before it where that matters)"
        )
        network.graph = replace(network.graph, nodes=tuple(nodes))


def _only_cut(network: Network, node: onnx.NodeProto) -> bool:
    """Whether a cast to integers takes off what is behind the point, and all that read it are casts back."""
    readers = [other for other in network.graph.nodes if node.output[0] in other.input]
    limits = np.iinfo(network.types[node.output[0]].dtype)
    low, high = tensor_bounds(network, node.input[0]) or (-1.0, 0.0)
    floats = network.types[node.input[0]].dtype.kind == "f" and low >= 0 and high <= limits.max
    back = [r.op_type == "Cast" and network.types[r.output[0]].dtype.kind == "f" for r in readers]
    return bool(floats and back and all(back))
