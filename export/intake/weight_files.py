"""Weights in files beside a model: which tensors have them, and where they lie in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sise_rt.errors import ModelError

from ..ir.messages import gist


class Place(NamedTuple):
    """Where a tensor's bytes lie."""

    file: Path
    offset: int
    length: int


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor of a model, those in attributes, subgraphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for a in node.attribute:
            if a.HasField("t"):
                yield a.t
            yield from a.tensors
            for sparse in (*([a.sparse_tensor] if a.HasField("sparse_tensor") else []), *a.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (*([a.g] if a.HasField("g") else []), *a.graphs):
                yield from _graph_tensors(graph)


def is_external(tensor: TensorProto) -> bool:
    """Whether the tensor's data lie in a file beside the model."""
    return tensor.data_location == TensorProto.EXTERNAL


def file_of(tensor: TensorProto, folder: Path) -> Path:
    """The file that an external tensor's data lie in.

    Raises:
        ModelError: there is none, or it is not a regular file inside `folder`.
    """
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    windows = PureWindowsPath(location)
    parts = {*PurePosixPath(location).parts, *windows.parts}
    outside = windows.drive or windows.root or ".." in parts or "\0" in location
    file = folder / location
    try:
        if not location or outside or not file.resolve().is_relative_to(folder.resolve()):
            raise _not_loaded(
                tensor,
                f"{location!r} does not lie in the model's folder; copy it there (a link is not enough)",
            )
        regular = file.is_file()
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise _not_loaded(tensor, gist(error)) from error
    if not regular:
        raise _not_loaded(tensor, f"no such file {file}")
    return file


def _not_loaded(tensor: TensorProto, why: str) -> ModelError:
    return ModelError(f"its external weights cannot be loaded (tensor {tensor.name!r}): {why}")


def place_of(tensor: TensorProto, folder: Path) -> Place:
    """Where an external tensor's data lies, checked against its shape and the file's size."""
    file = file_of(tensor, folder)
    entries = {entry.key: entry.value for entry in tensor.external_data}
    length = size_of(tensor)
    try:
        offset, declared = int(entries.get("offset") or 0), int(entries.get("length") or length)
    except ValueError as error:
        raise ModelError(f"weight {tensor.name!r} is damaged: {error}") from error
    if declared != length:
        raise ModelError(
            f"weight {tensor.name!r} is damaged: it has {declared} bytes in {file}, its shape needs {length}"
        )
    size = file.stat().st_size
    if offset < 0 or offset + length > size:
        raise _not_loaded(
            tensor,
            f"{file} has {size} bytes and should have {length} from byte {offset}; is it cut off, or of "
            "another model?",
        )
    return Place(file, offset, length)


def size_of(tensor: TensorProto) -> int:
    """The bytes that a tensor's shape and type need.

    Raises:
        ModelError: the type has no size, or the shape is none.
    """
    try:
        kind = TensorProto.DataType.Name(tensor.data_type)
        itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"weight {tensor.name!r} is damaged: type {tensor.data_type}") from error
    if tensor.data_type == TensorProto.STRING or any(d < 0 for d in tensor.dims):
        raise ModelError(
            f"weight {tensor.name!r} is damaged: {kind} {list(tensor.dims)} has no size in bytes"
        )
    count = 1
    for extent in tensor.dims:  # of Python's integers, which do not overflow
        count *= extent
    bits = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}.get(kind, 8 * itemsize)
    return (count * bits + 7) // 8


def mapped(tensor: TensorProto, folder: Path) -> np.ndarray:
    """A tensor's values; those that lie in a file are mapped, not read."""
    if not is_external(tensor):
        return numpy_helper.to_array(tensor)
    place = place_of(tensor, folder)
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if place.length != dtype.itemsize * int(np.prod(tensor.dims)):
        raise ModelError(f"weight {tensor.name!r}: several values share a byte, which is not supported")
    return np.memmap(place.file, dtype, "r", place.offset, tuple(tensor.dims))
