"""All graphs of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sise_rt.bundle import Manifest
from sise_rt.errors import UnsupportedOperator
from sise_rt.graphs import GraphSpec, graph_specs

from ..gradients.path import gradient_path
from ..gradients.rules import PIECEWISE_CONSTANT
from ..ir.network import Graph, Network
from ..ir.nodes import operator
from .half import score_in_half
from .heads import gradient_heads
from .link import features_graph, score_graph
from .split import cut_at_blocks
from .vjps import forward_graph, gradient_graph


@dataclass(frozen=True)
class Graphs:
    """What a bundle is written of.

    Attributes:
        files: every graph, in the order of writing.
        score: the score graph in float32; the one among the files may be in half precision.
        missing: graphs that the manifest names and that cannot be built.
        notes: why not, a line each.
    """

    files: tuple[Graph, ...]
    score: Graph
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def shipped_score(self) -> Graph:
        """The score graph among the files."""
        return next(graph for graph in self.files if graph.name == "score")


def build_graphs(network: Network, manifest: Manifest) -> Graphs:
    """Build the graphs that a manifest names; their constants join the network's.

    Args:
        network: in canonical form, its block outputs channels first.
        manifest: of the bundle to be.

    Raises:
        UnsupportedOperator: an operator on the way of a gradient score has no gradient rule.
        ModelError: the network cannot be brought to the manifest's precision.
    """
    specs = graph_specs(manifest)
    pieces = cut_at_blocks(network, specs)
    heads = gradient_heads(network, pieces, specs) if manifest.has_gradients else []
    score = score_graph(specs["score"], network, pieces)
    shipped = score_in_half(network, score) if manifest.precision == "fp16" else score
    files = [*pieces, *heads, features_graph(specs["features"], pieces, heads), shipped]
    files.append(forward_graph(specs["forward"], network))
    if "last_block_gradient" in specs:
        files.append(gradient_graph(specs["last_block_gradient"], network, manifest.blocks[-1].tensor))
    missing, notes = _with_image_gradient(files, network, specs)
    return Graphs(tuple(files), score, missing, notes)


def _with_image_gradient(
    files: list[Graph], network: Network, specs: Mapping[str, GraphSpec]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Add the image's gradient; where a rule is missing, it is left out, and a note says why."""
    if "image_gradient" not in specs:
        return (), ()
    which = "no integrated gradients and no extremal perturbation, which need the image's gradient"
    if "logits" not in gradient_path(network.graph.nodes, ["logits"], ["images"]):
        return ("image_gradient",), (f"{which}: {_step(network)} gives whole steps, whose slope is zero",)
    try:
        files.append(gradient_graph(specs["image_gradient"], network, "images"))
    except UnsupportedOperator as error:
        return ("image_gradient",), (f"{which}: {error.message}",)
    return (), ()


def _step(network: Network) -> str:
    """The first operator behind the picture that is constant between its steps, and its node."""
    reached = {"images"}
    for node in network.graph.nodes:
        if reached.intersection(node.input):
            if operator(node) in PIECEWISE_CONSTANT:
                return f"{operator(node)} (node {node.name or node.output[0]!r})"
            reached.update(node.output)
    return "an operator in front of the first block"
