"""Maps that wait for their shard: a file that is only added to, whose end may be torn.

Each map is a line of JSON, which has its shape and the CRC-32 of its bytes, and then these bytes: float16,
little-endian, row by row.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from sise_rt.errors import ArgumentError, OutputError
from sise_rt.files import append_whole, whole_file
from sise_rt.wording import reason

HALF = np.dtype("<f2")


class KeptMap(NamedTuple):
    """A map of a run.

    Attributes:
        id: of the picture in the run.
        target: class index.
        method: its label, with its options: `sise`, `sise:mu=0.3`.
        map: (H, W) float16 in [0, 1].
    """

    id: str
    target: int
    method: str
    map: np.ndarray


def half(map_: np.ndarray) -> np.ndarray:
    """A map in float16, which is off by at most 2 ** -12 (0.00024).

    Args:
        map_: (H, W) in [0, 1].

    Raises:
        ArgumentError: a value lies elsewhere, or is none.
    """
    if map_.ndim != 2 or not map_.size or not (map_.min() >= 0 and map_.max() <= 1):  # NaN compares false
        raise ArgumentError("a map that is kept is (H, W), of numbers from 0 to 1", settings=("map",))
    return np.ascontiguousarray(map_, HALF)


def append(path: Path, maps: Iterable[KeptMap]) -> None:
    """Add maps to a file; arguments and errors are those of `append_whole`."""
    append_whole(path, b"".join(map(_encoded, maps)))


def write(path: Path, maps: Iterable[KeptMap]) -> None:
    """Write such a file anew, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path, path.with_name(f".{path.name}.tmp")) as file:
        for kept in maps:
            file.write(_encoded(kept))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> Iterator[KeptMap]:
    """The maps of such a file, as far as they are whole.

    Raises:
        OutputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            while (kept := _decoded(file)) is not None:
                yield kept
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be read: {reason(error)}") from error


def _encoded(kept: KeptMap) -> bytes:
    data = kept.map.astype(HALF, copy=False).tobytes()
    line = [kept.id, kept.target, kept.method, *kept.map.shape, zlib.crc32(data)]
    return json.dumps(line).encode() + b"\n" + data


def _decoded(file: BinaryIO) -> KeptMap | None:
    """The next map; None at the end, and where it is torn."""
    line = file.readline()
    try:
        name, target, method, height, width, checksum = json.loads(line)
        data = file.read(HALF.itemsize * height * width)
        values = np.frombuffer(data, HALF).reshape(height, width)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return KeptMap(name, target, method, values) if zlib.crc32(data) == checksum else None
