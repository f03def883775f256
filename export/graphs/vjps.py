"""Graphs for the methods beside SISE: the forward pass, and vector-Jacobian products of the logits."""

from __future__ import annotations

from collections.abc import Sequence

from sise_rt.bundle import Block
from sise_rt.errors import UnsupportedOperator

from ..gradients.reverse import reverse
from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network

COTANGENTS = "cotangents"  # (N, classes): the weight of each logit in what is differentiated


def forward_graph(network: Network) -> Graph:
    """`images` (N, C, H, W) to `logits` (N, classes)."""
    return Graph.of("forward", network.graph.nodes, ("images",), ("logits",))


def last_block_gradient_graph(network: Network, blocks: Sequence[Block]) -> Graph:
    """The last block's maps and a gradient there (Grad-CAM and its kin).

    Inputs: `images` (N, C, H, W), `cotangents` (N, classes).
    Outputs: A_B (N, K, h, w), `last_block_gradient` of sum(cotangents * logits) with respect to it, `logits`.

    Raises:
        UnsupportedOperator: an operator behind the last block has no gradient rule.
    """
    tensor = blocks[-1].tensor
    return _gradient_graph(network, "last_block_gradient", tensor, (tensor,))


def image_gradient_graph(network: Network) -> Graph:
    """The gradient with respect to the input (integrated gradients, extremal perturbations).

    Inputs: `images` (N, C, H, W), `cotangents` (N, classes).
    Outputs: `image_gradient` (N, C, H, W) of sum(cotangents * logits), `logits`.

    Raises:
        UnsupportedOperator: an operator has no gradient rule.
    """
    return _gradient_graph(network, "image_gradient", "images", ())


def _gradient_graph(network: Network, name: str, tensor: str, beside: tuple[str, ...]) -> Graph:
    network.types |= {COTANGENTS: network.types["logits"], name: network.types[tensor]}
    op = Builder(f"{OWN_PREFIX}{name}/", network.types, network.weights, network.types[tensor].dtype)
    gradient = reverse(op, network.graph.nodes, {"logits": COTANGENTS}, [tensor])[tensor]
    op.Identity(gradient, names=[name])
    network.adopt(op)
    nodes = [*network.graph.nodes, *op.nodes]
    return Graph.of(name, nodes, ("images", COTANGENTS), (*beside, name, "logits"))


def gradient_graphs(network: Network, blocks: Sequence[Block]) -> tuple[list[Graph], list[str]]:
    """Both gradient graphs; the image's is left out, with a note that says why, where a rule is missing."""
    last = last_block_gradient_graph(network, blocks)
    try:
        return [last, image_gradient_graph(network)], []
    except UnsupportedOperator as error:
        note = (
            f"no integrated gradients and no extremal perturbation, which need the image's gradient: {error}"
        )
        return [last], [note]
