"""Why a network has no block: which of its branches, or of its kinds of maps, stands in the way."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from sise_rt.errors import ModelError

from ..ir.messages import described
from ..ir.network import Network, image_dependent, needed
from ..ir.nodes import operator
from .weight_layers import weight_layers

NOWHERE = (
    "the network has no usable cut: nowhere between its first and last weight layer does a single tensor "
    "(N, K, h, w) hold all that is known of the image"
)


def no_cut(network: Network, cuts: Sequence[str]) -> ModelError:
    """The error of a network without a block.

    Args:
        network: in canonical form.
        cuts: the tensors, of any shape, that alone hold what is known of the image.
    """
    nodes = network.graph.nodes
    if reason := too_small(network):
        return ModelError(reason, settings=("input_size",))
    dependent = image_dependent(nodes, ["images"])
    layers = weight_layers(network)
    producers = {name: i for i, node in enumerate(nodes) for name in node.output}
    if not layers:
        return ModelError(f"{NOWHERE}, as it has no weight layer (a convolution, a product with weights)")
    join = next((nodes[producers[cut]] for cut in cuts if producers[cut] >= layers[0]), nodes[-1])
    ends = list(dict.fromkeys(name for name in join.input if name in dependent))
    if len(ends) > 1:
        return _branched(network, join, ends)
    if any(len(network.types[cut].shape) == 3 for cut in cuts):
        return ModelError(
            f"{NOWHERE}: it works on tokens, as vision transformers do, and SISE needs the "
            "feature maps of a CNN"
        )
    return ModelError(f"{NOWHERE}: SISE needs the feature maps of a CNN")


def too_small(network: Network) -> str | None:
    """Why a network has hardly any maps: its convolutions have a single position left to look at."""
    _, _, height, width = network.types["images"].shape
    for node in network.graph.nodes:
        if operator(node) != "Conv":
            continue
        maps, kernel = (network.types[name].shape[2:] for name in node.input[:2])
        if set(maps) == {1} and max(int(extent or 0) for extent in kernel) > 1:
            return (
                f"an input of {height}x{width} pixels is too small for this model: its maps have a single "
                f"position already before node {node.name or node.output[0]!r}, a convolution of "
                f"{'x'.join(map(str, kernel))}: choose a larger input size"
            )
    return None


def _branched(network: Network, join: onnx.NodeProto, ends: Sequence[str]) -> ModelError:
    """The picture goes through several branches, and no map is all that is known of it."""
    nodes, weights = network.graph.nodes, network.weights
    used = []
    for end in ends:
        branch = needed(nodes, [end])
        used.append(
            {name for node in branch for name in node.input if name in weights and weights[name].ndim > 1}
        )
    where = f"{operator(join)} (node {join.name or join.output[0]!r})"
    same = all(names and names == used[0] for names in used)
    kind = (
        "one network runs on several views of the picture (test-time augmentation)"
        if same
        else ("the picture goes through several branches")
    )
    shapes = [network.types[end].shape for end in ends]
    rows = [end for end, shape in zip(ends, shapes, strict=True) if len(shape) == 2 and end in network.types]
    advice = (
        f"choose the scores of one of them as the output: {' or '.join(rows[:3])}"
        if rows and shapes[0] == network.types[join.output[0]].shape
        else "export a model of one of them"
    )
    listed = ", ".join(f"{end} {described(shape)}" for end, shape in zip(ends[:3], shapes, strict=False))
    return ModelError(
        f"{NOWHERE}: {kind}, and what they give ({listed}) meets only at {where}; {advice}",
        settings=("output_name",) if advice.startswith("choose") else (),
    )
