"""Cutting a network at its block outputs."""

from __future__ import annotations

from collections.abc import Sequence

from sise_rt.bundle import Block

from ..ir.network import BATCH, Graph, Network, batch_of


def split(network: Network, blocks: Sequence[Block]) -> list[Graph]:
    """Cut the network into one graph a block and the classifier behind the last block.

    Returns:
        B graphs, each from the block output before it (the first from `images`) to its own block output, then
        the classifier, from the last block output to `logits`. Tensors keep their names, so the graphs chain.
    """
    cuts = ["images", *(block.tensor for block in blocks), "logits"]
    names = [*(f"blocks/{i:02d}" for i in range(1, len(blocks) + 1)), "classifier"]
    nodes = [node for node in network.graph.nodes if BATCH not in node.output]
    return [
        Graph.of(name, [batch_of(start), *nodes], (start,), (end,))
        for name, start, end in zip(names, cuts[:-1], cuts[1:], strict=True)
    ]
