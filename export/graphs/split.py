"""Cutting a network at its block outputs."""

from __future__ import annotations

from collections.abc import Mapping

from sise_rt.graphs import GraphSpec, block_graph

from ..ir.network import BATCH, Graph, Network, batch_of
from .contract import graph_by


def cut_at_blocks(network: Network, specs: Mapping[str, GraphSpec]) -> list[Graph]:
    """Cut the network into one graph a block and the classifier behind the last block.

    Returns:
        B graphs, each from the block output before it (the first from `images`) to its own block output, then
        the classifier, from the last block output to `logits`. Tensors keep their names, so the graphs chain.
    """
    nodes = [node for node in network.graph.nodes if BATCH not in node.output]
    pieces, index = [], 1
    while (name := block_graph(index)) in specs:
        pieces.append(specs[name])
        index += 1
    pieces.append(specs["classifier"])
    return [graph_by(spec, [batch_of(spec.inputs[0].name), *nodes]) for spec in pieces]
