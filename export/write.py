"""Writing what a bundle holds: every weight once, and graphs that point to it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sise_rt.bundle import WEIGHTS

from .ir.mapping import PAGE, unload
from .ir.network import Graph, Network, to_model

INLINE_BYTES = 1024  # smaller weights stay inside their graphs, as onnx's own writer does it


def write_graphs(folder: Path, network: Network, graphs: Sequence[Graph]) -> dict[str, int]:
    """Write `weights.bin` and one ONNX file a graph, named after the graph.

    External data is declared relative to the bundle's folder.

    Returns:
        Where each weight that is not inside the graphs begins in `weights.bin`, in bytes.
    """
    used = {name for graph in graphs for node in graph.nodes for name in node.input}
    offsets: dict[str, int] = {}
    seen: dict[bytes, int] = {}
    with open(folder / WEIGHTS, "wb") as file:
        for name, value in network.weights.items():
            if name not in used or value.nbytes < INLINE_BYTES:
                continue
            data = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
            key = hashlib.sha256(data).digest()
            if key not in seen:
                file.write(b"\0" * (-file.tell() % PAGE))
                seen[key] = file.tell()
                file.write(data)
            offsets[name] = seen[key]
            unload([value])
    for graph in graphs:
        path = folder / f"{graph.name}.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(
            to_model(graph, network, location=WEIGHTS, offsets=offsets).SerializeToString(deterministic=True)
        )
    return offsets
