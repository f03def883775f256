"""Finding the convolutional blocks: the last single tensor before each drop in resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import onnx

from sise_rt.bundle import Block
from sise_rt.errors import ModelError

from .ends import attribute
from .messages import described
from .network import Network, image_dependent

WEIGHT_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
MOST_BEHIND = 4  # a classifier of several layers is usual, four times the feature extractor is not
DROP = 1.5  # a side must shrink by this factor: unpadded convolutions lose a few pixels inside a block


def find_blocks(network: Network) -> list[Block]:
    """The block outputs of a network, in the order of the data (SISE, layer selection).

    Walking the nodes, a tensor is a cut where nothing else that depends on the image is alive. Of the cuts
    with a 2-D map, a weight layer before and a weight layer behind them, the last one at each resolution is a
    block's output. A resolution without a weight layer of its own is no block: its maps are the former ones,
    pooled.

    Raises:
        ModelError: there is none, as in a transformer.
    """
    outputs: list[str] = []
    last, layers = (0, 0), 0
    weighted = _weight_layers(network)
    for tensor in _cuts(network):
        if _why_unusable(network, tensor):
            continue
        h, w = _size(network, tensor)
        if not outputs or last[0] / h >= DROP or last[1] / w >= DROP:
            if weighted[tensor] == layers:
                continue
            outputs.append(tensor)
        else:
            outputs[-1] = tensor
        last, layers = (h, w), weighted[tensor]
    if outputs and (reason := _tokens_behind(network, outputs[-1])):
        raise ModelError(reason)
    if not outputs:
        raise ModelError(
            "the network has no usable cut: nowhere between its first and last weight layer does a single "
            "tensor (N, K, h, w) hold all that is known of the image. SISE needs the feature maps of a CNN; "
            "vision transformers have none"
        )
    return _blocks(network, outputs)


def named_blocks(network: Network, names: Sequence[str], modules: Mapping[str, str]) -> list[Block]:
    """Blocks chosen by tensor names, or by module names where the source is a torch module.

    Args:
        network: the canonical network.
        names: in any order.
        modules: tensor name for each torch module name, empty where the exporter fused it away.

    Raises:
        ModelError: a name is unknown or no usable cut; says why.
    """
    produced = {name: i for i, node in enumerate(network.graph.nodes) for name in node.output}
    cuts = set(_cuts(network))
    tensors = []
    for name in names:
        tensor = name if name in produced else modules.get(name) or name
        if tensor not in produced:
            if name in modules:
                raise ModelError(
                    f"--blocks: the output of module {name!r} is no tensor of the deployed graph, as it is "
                    "fused with its neighbours or does nothing there; cuts near it: "
                    + ", ".join(_near_module(network, cuts, modules, name))
                )
            near = get_close_matches(name, [*produced, *modules], 3)
            hint = f"; close: {', '.join(near)}" if near else ""
            raise ModelError(f"--blocks: the network has no tensor {name!r}{hint}")
        if tensor not in cuts:
            others = _alive(network, produced[tensor]) - {tensor}
            raise ModelError(
                f"--blocks: {name!r} is no cut, as information also flows past it through "
                + ", ".join(sorted(others)[:3])
                + f"; cuts near it: {', '.join(_near(network, cuts, produced, tensor))}"
            )
        if reason := _why_unusable(network, tensor):
            raise ModelError(f"--blocks: {name!r} {reason}")
        tensors.append(tensor)
    if len(set(tensors)) < len(tensors):
        raise ModelError(f"--blocks: two names stand for one tensor: {', '.join(names)}")
    return _blocks(network, sorted(tensors, key=produced.__getitem__))


def _cuts(network: Network) -> list[str]:
    """Tensors that alone carry the image's information at some point, in order."""
    nodes = network.graph.nodes
    dependent = image_dependent(nodes, ["images"])
    last_use = _last_uses(nodes)
    alive, cuts = {"images"}, []
    for i, node in enumerate(nodes):
        alive.update(name for name in node.output if name in dependent)
        alive = {name for name in alive if last_use.get(name, -1) > i}
        if len(alive) == 1 and node.output[0] in alive:
            cuts.append(node.output[0])
    return cuts


def _alive(network: Network, position: int) -> set[str]:
    nodes = network.graph.nodes
    last_use = _last_uses(nodes)
    before = {name for node in nodes[: position + 1] for name in node.output} | {"images"}
    return {n for n in before & image_dependent(nodes, ["images"]) if last_use.get(n, -1) > position}


def _last_uses(nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    return {name: i for i, node in enumerate(nodes) for name in node.input} | {"logits": len(nodes)}


def _near(network: Network, cuts: set[str], produced: Mapping[str, int], tensor: str) -> list[str]:
    usable = [cut for cut in cuts if not _why_unusable(network, cut)]
    return sorted(usable, key=lambda cut: abs(produced[cut] - produced[tensor]))[:3]


def _near_module(network: Network, cuts: set[str], modules: Mapping[str, str], name: str) -> list[str]:
    """The closest modules whose outputs are usable cuts, else tensors that are."""
    order = {module: i for i, module in enumerate(modules)}
    usable = {cut for cut in cuts if not _why_unusable(network, cut)}
    near = sorted(
        (module for module in modules if modules[module] in usable),
        key=lambda module: abs(order[module] - order[name]),
    )
    return near[:3] or sorted(usable)[:3] or ["none"]


def _why_unusable(network: Network, tensor: str) -> str | None:
    shape = network.types[tensor].shape
    if len(shape) != 4 or None in shape[1:]:
        return f"has shape {described(shape)}, where (N, K, h, w) is needed"
    if shape[2] == shape[3] == 1:
        return "has a single position, so its maps say nothing of where"
    if _channel_axes(network).get(tensor, 1) != 1:
        return f"has its channels last, {described(shape)}, where (N, K, h, w) is needed"
    nodes = network.graph.nodes
    position = next(i for i, node in enumerate(nodes) if tensor in node.output)
    behind = image_dependent(nodes, [tensor])
    if not any(node.op_type in WEIGHT_LAYERS and set(node.input) & behind for node in nodes[position + 1 :]):
        return "has no weight layer behind it: its maps are the class scores themselves"
    dependent = image_dependent(nodes, ["images"])
    if not any(
        node.op_type in WEIGHT_LAYERS and set(node.input) & dependent for node in nodes[: position + 1]
    ):
        return "has no weight layer before it: it is the picture itself"
    return None


def _weight_layers(network: Network) -> dict[str, int]:
    """How many weight layers there are up to each tensor."""
    count = 0
    counts: dict[str, int] = {}
    dependent = image_dependent(network.graph.nodes, ["images"])
    for node in network.graph.nodes:
        count += node.op_type in WEIGHT_LAYERS and any(name in dependent for name in node.input)
        counts |= dict.fromkeys(node.output, count)
    return counts


def _channel_axes(network: Network) -> dict[str, int]:
    """The channels' axis of each rank-4 tensor in which a Transpose has moved them from axis 1."""
    axes: dict[str, int] = {}
    for node in network.graph.nodes:
        found = [axes[name] for name in node.input if name in axes]
        if node.op_type == "Transpose" and len(network.types[node.input[0]].shape) == 4:
            perm = attribute(node, "perm") or [3, 2, 1, 0]
            found = [perm.index(axes.get(node.input[0], 1))]
        for name in node.output:
            if found and found[0] != 1 and name in network.types and len(network.types[name].shape) == 4:
                axes[name] = found[0]
    return axes


def _tokens_behind(network: Network, tensor: str) -> str | None:
    """Why the last block would miss most of the network, as the patch embedding of a transformer does."""
    nodes = network.graph.nodes
    position = next(i for i, node in enumerate(nodes) if tensor in node.output)
    dependent = image_dependent(nodes, ["images"])
    weighted = [
        i
        for i, node in enumerate(nodes)
        if node.op_type in WEIGHT_LAYERS and sum(name in dependent for name in node.input) == 1
    ]
    before = sum(i <= position for i in weighted)
    behind = len(weighted) - before
    if behind <= MOST_BEHIND * before:
        return None
    return (
        f"the last tensor with a 2-D map, {tensor!r}, has {before} weight layers before it and {behind} "
        "behind it: the network works on tokens, as vision transformers do, and has no feature maps for "
        "SISE. Where a 2-D map is wanted all the same, name it with --blocks"
    )


def _size(network: Network, tensor: str) -> tuple[int, int]:
    _, _, h, w = network.types[tensor].shape
    return int(h or 0), int(w or 0)


def _blocks(network: Network, tensors: Sequence[str]) -> list[Block]:
    return [
        Block(f"block{i}", tensor, int(network.types[tensor].shape[1] or 0), *_size(network, tensor))
        for i, tensor in enumerate(tensors, 1)
    ]
