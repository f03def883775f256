"""Graphs for the methods beside SISE: the forward pass, and vector-Jacobian products of the logits."""

from __future__ import annotations

from sise_rt.graphs import GraphSpec

from ..gradients.reverse import reverse
from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from .contract import graph_by


def forward_graph(spec: GraphSpec, network: Network) -> Graph:
    """The network as it is."""
    return graph_by(spec, network.graph.nodes)


def gradient_graph(spec: GraphSpec, network: Network, tensor: str) -> Graph:
    """The gradient of sum(cotangents * logits) with respect to a tensor, and what the spec wants beside it.

    At the last block's maps it serves Grad-CAM and its kin, at the images integrated gradients and extremal
    perturbations. The gradient bears the name of the graph.

    Raises:
        UnsupportedOperator: an operator behind the tensor has no gradient rule.
    """
    cotangents = spec.inputs[1].name
    op = Builder(f"{OWN_PREFIX}{spec.name}/", network.types, network.weights, network.types[tensor].dtype)
    gradient = reverse(op, network.graph.nodes, {"logits": cotangents}, [tensor])[tensor]
    op.Identity(gradient, names=[spec.name])
    network.adopt(op)
    return graph_by(spec, [*network.graph.nodes, *op.nodes])
