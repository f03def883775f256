"""Writing a bundle: every weight once, graphs that point to it, and the manifest last."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sise_rt.bundle import MANIFEST, WEIGHTS, Manifest
from sise_rt.errors import OutputError

from .network import Graph, Network, to_model

INLINE_BYTES = 1024  # smaller weights stay inside their graphs, as onnx's own writer does it
PAGE = 4096  # external data starts on a page, so that it can be mapped


def write_graphs(folder: Path, network: Network, graphs: Sequence[Graph]) -> None:
    """Write `weights.bin` and one ONNX file a graph, named after the graph.

    External data is declared relative to the bundle's folder.
    """
    used = {name for graph in graphs for node in graph.nodes for name in node.input}
    offsets: dict[str, int] = {}
    seen: dict[bytes, int] = {}
    with open(folder / WEIGHTS, "wb") as file:
        for name, value in network.weights.items():
            if name not in used or value.nbytes < INLINE_BYTES:
                continue
            data = np.ascontiguousarray(value).tobytes()
            key = hashlib.sha256(data).digest()
            if key not in seen:
                file.write(b"\0" * (-file.tell() % PAGE))
                seen[key] = file.tell()
                file.write(data)
            offsets[name] = seen[key]
    for graph in graphs:
        path = folder / f"{graph.name}.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(
            to_model(graph, network, location=WEIGHTS, offsets=offsets).SerializeToString(deterministic=True)
        )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; a folder without one is no bundle."""
    (folder / MANIFEST).write_text(manifest.to_json(), "utf-8")


@contextmanager
def new_bundle(output: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which becomes `output` when the block ends without an error, else nothing changes.

    Raises:
        OutputError: `output` exists and may not be replaced, or cannot be written.
    """
    if output.exists() and not (overwrite and (output / MANIFEST).is_file()):
        advice = (
            ": give --overwrite to replace it"
            if (output / MANIFEST).is_file()
            else " and is no bundle, so it stays as it is: choose another name"
        )
        raise OutputError(f"{output} exists already{advice}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error}") from error
    try:
        scratch.chmod(0o755)
        yield scratch
        _move(scratch, output)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{output} cannot be written: {error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _move(scratch: Path, output: Path) -> None:
    """Put the finished folder in its place; an old bundle there goes once the new one stands."""
    old = scratch.with_name(f"{scratch.name}.old")
    if replaced := output.exists():
        os.replace(output, old)
    try:
        os.replace(scratch, output)
    except BaseException:
        if replaced:
            os.replace(old, output)
        raise
    shutil.rmtree(old, ignore_errors=True)
