"""Finding the convolutional blocks: the last single tensor before each drop in resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import onnx

from sise_rt.bundle import Block
from sise_rt.errors import ModelError
from sise_rt.wording import counted

from ..ir.messages import described
from ..ir.network import Network, image_dependent
from .layout import channel_axes
from .no_cut import no_cut, too_small
from .weight_layers import weight_layers

MOST_BEHIND = 4  # a classifier of several layers is usual, four times the feature extractor is not
LISTED = "inspecting the model without naming blocks lists those that are found"
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
    axes = channel_axes(network)
    for tensor, reason in _judged(network, _cuts(network), axes).items():
        if reason:
            continue
        _, h, w = _extents(network, tensor, axes)
        if not outputs or last[0] / h >= DROP or last[1] / w >= DROP:
            if weighted[tensor] == layers:
                continue
            outputs.append(tensor)
        else:
            outputs[-1] = tensor
        last, layers = (h, w), weighted[tensor]
    if outputs and (misses := _missed_behind(network, outputs[-1])):
        reason, setting = misses
        raise ModelError(reason, settings=(setting,))
    if not outputs:
        raise no_cut(network, _cuts(network))
    if len(outputs) == 1:
        network.notes.append(f"one block: the resolution drops only once, before {outputs[0]!r}")
    return _blocks(network, outputs, axes)


def named_blocks(
    network: Network, names: Sequence[str], modules: Mapping[str, str], source: Sequence[str] = ()
) -> list[Block]:
    """Blocks chosen by tensor names, or by module names where the source is a torch module.

    Args:
        network: the canonical network.
        names: in any order.
        modules: tensor name for each torch module name, empty where the exporter fused it away.
        source: the tensors that the model had before it was brought into canonical form, in order.

    Raises:
        ModelError: a name is unknown, or names no usable cut; says why.
    """
    produced = {name: i for i, node in enumerate(network.graph.nodes) for name in node.output}
    axes = channel_axes(network)
    cuts = _judged(network, _cuts(network), axes)
    usable = [cut for cut, reason in cuts.items() if not reason]
    tensors = []
    for name in names:
        tensor = name if name in produced else modules.get(name) or name
        if tensor not in produced:
            why: str | None = _why_absent(name, [*produced, *modules], usable, modules, source)
        elif tensor not in cuts:
            others = _alive(network, produced[tensor]) - {tensor}
            why = (
                f"{name!r} is no cut, as information also flows past it through "
                + ", ".join(sorted(others)[:3])
                + f"; cuts near it: {', '.join(_near(usable, produced, tensor))}"
            )
        else:
            why = cuts[tensor] and f"{name!r} {cuts[tensor]}"
        if why:
            raise ModelError(why, settings=("blocks",))
        tensors.append(tensor)
    if len(set(tensors)) < len(tensors):
        raise ModelError(f"two names stand for one tensor: {', '.join(names)}", settings=("blocks",))
    return _blocks(network, sorted(tensors, key=produced.__getitem__), axes)


def _why_absent(
    name: str,
    there: Sequence[str],
    usable: Sequence[str],
    modules: Mapping[str, str],
    source: Sequence[str],
) -> str:
    """Why a name stands for no tensor of the network, and which ones are close to it or usable instead."""
    if name in modules:
        near = ", ".join(_near_module(usable, modules, name))
        return (
            f"the output of module {name!r} is no tensor of the deployed graph, as it is fused with its "
            f"neighbours or does nothing there; cuts near it: {near}"
        )
    if name in source:
        return (
            f"tensor {name!r} is not there any more in the deployed graph, where constants are folded and "
            f"BatchNormalization is fused; cuts near it: {_near_removed(usable, source, name)}; {LISTED}"
        )
    near = ", ".join(get_close_matches(name, there, 3))
    hint = f"close: {near}" if near else f"cuts are {', '.join(usable[-3:]) or 'none'}"
    return f"the network has no tensor {name!r}; {hint}; {LISTED}"


def _cuts(network: Network) -> list[str]:
    """The tensors that alone carry the image's information at some point, in order."""
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


def _near(usable: Sequence[str], produced: Mapping[str, int], tensor: str) -> list[str]:
    return sorted(usable, key=lambda cut: abs(produced[cut] - produced[tensor]))[:3]


def _near_removed(usable: Sequence[str], source: Sequence[str], name: str) -> str:
    order = {tensor: i for i, tensor in enumerate(source)}
    near = sorted((c for c in usable if c in order), key=lambda cut: abs(order[cut] - order[name]))
    return ", ".join(near[:3] or usable[:3]) or "none"


def _near_module(usable: Sequence[str], modules: Mapping[str, str], name: str) -> list[str]:
    """The closest modules whose outputs are usable cuts, else tensors that are."""
    order = {module: i for i, module in enumerate(modules)}
    near = sorted(
        (module for module in modules if modules[module] in usable),
        key=lambda module: abs(order[module] - order[name]),
    )
    return near[:3] or list(usable[:3]) or ["none"]


def _judged(network: Network, cuts: Sequence[str], axes: Mapping[str, int]) -> dict[str, str | None]:
    """For each cut why it cannot be a block's output, None where it can."""
    nodes = network.graph.nodes
    position = {name: i for i, node in enumerate(nodes) for name in node.output}
    padded = {node.output[0]: node.input[0] for node in nodes if node.op_type == "Pad"}
    weighted = weight_layers(network)
    reasons: dict[str, str | None] = {}
    for tensor in cuts:
        shape = network.types[tensor].shape
        reason = None
        if len(shape) != 4 or None in shape[1:]:
            reason = f"has shape {described(shape)}, where (N, K, h, w) is needed"
        elif network.types[tensor].dtype.kind != "f":
            reason = f"holds {network.types[tensor].dtype} values, where floats are needed"
        elif axes.get(tensor) not in (1, 3):
            reason = f"has shape {described(shape)}, of which no axis is known to be the channels'"
        elif 0 in shape:
            reason = f"has shape {described(shape)}, which holds nothing"
        elif _extents(network, tensor, axes)[1:] == (1, 1):
            reason = "has a single position, so its maps say nothing of where"
        elif tensor in padded:
            reason = f"is {padded[tensor]!r} with a border, so its positions are not the picture's"
        elif not weighted or weighted[-1] <= position[tensor]:
            reason = "has no weight layer behind it: its maps are the class scores themselves"
        elif weighted[0] > position[tensor]:
            reason = "has no weight layer before it: it is the picture itself"
        reasons[tensor] = reason
    return reasons


def _weight_layers(network: Network) -> dict[str, int]:
    """How many weight layers there are up to each tensor."""
    counts: dict[str, int] = {}
    layers = set(weight_layers(network))
    count = 0
    for position, node in enumerate(network.graph.nodes):
        count += position in layers
        counts |= dict.fromkeys(node.output, count)
    return counts


def _missed_behind(network: Network, tensor: str) -> tuple[str, str] | None:
    """Why the last block would miss most of the network, as the patch embedding of a transformer does.

    And the setting that would help.
    """
    nodes = network.graph.nodes
    position = next(i for i, node in enumerate(nodes) if tensor in node.output)
    weighted = weight_layers(network)
    before = sum(i <= position for i in weighted)
    behind = len(weighted) - before
    if behind <= MOST_BEHIND * before:
        return None
    if reason := too_small(network):
        return reason, "input_size"
    return (
        f"the last tensor with a 2-D map, {tensor!r}, has {counted(before, 'weight layer')} before it and "
        f"{behind} behind it: the network works on tokens, as vision transformers do, and has no feature "
        "maps for SISE. Where a 2-D map is wanted all the same, name it as a block",
        "blocks",
    )


def _extents(network: Network, tensor: str, axes: Mapping[str, int]) -> tuple[int, int, int]:
    """(K, h, w) of a map, wherever it has its channels."""
    _, *rest = (int(d or 0) for d in network.types[tensor].shape)
    channels = rest.pop(axes[tensor] - 1)
    return channels, rest[0], rest[1]


def _blocks(network: Network, tensors: Sequence[str], axes: Mapping[str, int]) -> list[Block]:
    return [
        Block(f"block{i}", tensor, *_extents(network, tensor, axes)) for i, tensor in enumerate(tensors, 1)
    ]
