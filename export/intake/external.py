"""Large weights outside the model: moved to one file as a source is opened, so that none is held twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sise_rt.errors import ModelError

from ..ir.mapping import PAGE
from ..ir.messages import gist
from .weight_files import Place, file_of, is_external, place_of, size_of, tensors

LARGE = 1024  # bytes; smaller tensors (shapes, axes, scalars) stay inside, where onnx's tools can read them
CHUNK = 1 << 24  # bytes that are read at a time


def external_files(model: onnx.ModelProto, folder: Path) -> dict[str, Path]:
    """The files in which a model keeps weights, by their path inside the model's folder; none is read.

    Raises:
        ModelError: a file is missing, or is not a regular file inside the folder.
    """
    files = {file_of(tensor, folder) for tensor in tensors(model) if is_external(tensor)}
    return {file.relative_to(folder).as_posix(): file for file in sorted(files)}


def source_sha256(path: Path, external: dict[str, Path]) -> str:
    """The sha256 of a model file; where it keeps weights in other files, one that covers these as well.

    It is then taken of a text with one line a file, the file's sha256: first the model's, then the others' in
    the order of their paths.
    """
    digests = []
    for file in (path, *(external[name] for name in sorted(external))):
        with open(file, "rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


def take_out(model: onnx.ModelProto, folder: Path, target: Path) -> onnx.ModelProto:
    """Move a model's large weights into one file, and all others into the model.

    Args:
        model: without external data loaded; it is changed, and of no use afterwards.
        folder: of the model's file.
        target: the file to write; the result refers to it by its name.

    Returns:
        The model with large constants as initializers.

    Raises:
        ModelError: a weight is damaged, cut off, or holds NaN.
    """
    _constants_to_initializers(model)
    initializers = model.graph.initializer
    for tensor in islice(tensors(model), len(initializers), None):
        if is_external(tensor):
            _take_in(tensor, place_of(tensor, folder))
    moved: dict[Place, int] = {}
    total: Counter[Path] = Counter()
    with open(target, "wb") as out:
        for tensor in initializers:
            if is_external(tensor):
                place = place_of(tensor, folder)
                if place.length < LARGE:
                    _take_in(tensor, place)
                    _check_numbers(tensor)
                    continue
                if place not in moved:
                    total[place.file] += place.length
                    if total[place.file] > place.file.stat().st_size:  # it could fill the disk
                        raise ModelError(f"the weights in {place.file} overlap")
                    moved[place] = _append(out, tensor, _pieces(place))
                _refer(tensor, target.name, moved[place], place.length)
            elif (data := _raw(tensor)) is not None and len(data) >= LARGE:
                _refer(tensor, target.name, _append(out, tensor, [data]), len(data))
            else:
                _check_numbers(tensor)
    # Protobuf gives the memory of what was taken out back with the whole model only.
    return onnx.ModelProto.FromString(model.SerializeToString())


def _constants_to_initializers(model: onnx.ModelProto) -> None:
    """Make initializers of the graph's large Constant nodes: only these may keep their data elsewhere."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    kept, moved = [], []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        large = value is not None and (is_external(value) or value.ByteSize() >= LARGE)
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and large:
            if node.output[0] not in outputs:
                moved.append((value, node.output[0]))
                continue
        kept.append(node)
    if not moved:
        return
    for value, name in moved:
        graph.initializer.append(value)
        graph.initializer[-1].name = name
    del graph.node[:]
    graph.node.extend(kept)
    model.ir_version = max(model.ir_version, 4)  # before, every initializer was an input as well


# ---------------------------------------------------------------------------------------------- moving data


def _pieces(place: Place) -> Iterator[bytes]:
    with open(place.file, "rb") as file:
        file.seek(place.offset)
        left = place.length
        while left:
            piece = file.read(min(CHUNK, left))
            if not piece:
                raise ModelError(f"{place.file} became shorter while it was read")
            left -= len(piece)
            yield piece


def _append(out: BinaryIO, tensor: TensorProto, pieces: Iterable[bytes]) -> int:
    out.write(b"\0" * (-out.tell() % PAGE))
    start = out.tell()
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    for piece in pieces:
        _check_nan(tensor, np.frombuffer(piece, dtype) if dtype.kind == "f" else np.empty(0))
        out.write(piece)
    return start


def _raw(tensor: TensorProto) -> bytes | None:
    """The bytes of a tensor that is inside the model, None for text."""
    if tensor.data_type == TensorProto.STRING:
        return None
    try:
        if not tensor.HasField("raw_data"):
            tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name)
        data = tensor.raw_data
    except Exception as error:
        raise ModelError(f"weight {tensor.name!r} is damaged: {gist(error)}") from error
    if len(data) != (needed := size_of(tensor)):
        raise ModelError(
            f"weight {tensor.name!r} is damaged: it has {len(data)} bytes, its shape needs {needed}"
        )
    return data


def _check_numbers(tensor: TensorProto) -> None:
    try:
        value = numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"weight {tensor.name!r} is damaged: {gist(error)}") from error
    if value.dtype.kind == "f":
        _check_nan(tensor, value)


def _check_nan(tensor: TensorProto, values: np.ndarray) -> None:
    if np.isnan(values).any():
        raise ModelError(f"weight {tensor.name!r} holds NaN")


def _take_in(tensor: TensorProto, place: Place) -> None:
    data = b"".join(_pieces(place))
    _clear(tensor)
    tensor.raw_data = data


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    _clear(tensor)
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(entry))


def _clear(tensor: TensorProto) -> None:
    """Leave a tensor's name, type and shape."""
    kept = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    tensor.CopyFrom(kept)
