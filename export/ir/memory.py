"""What the pass of one image holds in memory: the tensors that are alive at the same time."""

from __future__ import annotations

from math import prod

from .network import Network


def pass_bytes(network: Network) -> dict[str, int]:
    """The bytes that an image needs, weights aside: `forward` (the most alive at once), `backward`.

    A backward pass needs what the forward pass made, so all of that is alive, and gradients beside it. What
    ONNX Runtime saves by fusing and by working in place is not counted.
    """
    _, height, width = network.image_size
    # The picture and its mask are there all the time.
    alive = peak = _bytes(network, "images") + height * width * network.types["images"].dtype.itemsize
    nodes = network.graph.nodes
    last = {name: i for i, node in enumerate(nodes) for name in node.input}
    sizes: dict[str, int] = {}
    for i, node in enumerate(nodes):
        made = {name: _bytes(network, name) for name in node.output if name}
        sizes |= made
        alive += sum(made.values())
        peak = max(peak, alive)
        over = {name for name in (*node.input, *node.output) if last.get(name, i) <= i and name in sizes}
        alive -= sum(sizes.pop(name) for name in over)
    forward = peak
    made_in_all = sum(_bytes(network, name) for node in nodes for name in node.output if name)
    return {"forward": forward, "backward": made_in_all + forward}


def _bytes(network: Network, name: str) -> int:
    """The bytes of one image's part of a tensor; 0 where its extents are not fixed."""
    kind = network.types.get(name)
    if kind is None or any(isinstance(extent, str) for extent in kind.shape):
        return 0
    return prod(extent for extent in kind.shape if isinstance(extent, int)) * kind.dtype.itemsize
