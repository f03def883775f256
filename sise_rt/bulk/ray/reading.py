"""Where Ray reads rows from: lists of this process, Parquet with pictures in it, and WebDataset shards."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import reason

from .cluster import import_ray
from .given import BYTES, COLUMNS, ID, ITEM, PATH, TARGET, TRUTH

if TYPE_CHECKING:
    import pyarrow

KEY, PLACE = "__key__", "path"  # of a sample of WebDataset, and of its shard
TAR, PARQUET = ".tar", ".parquet"
DIGEST = 16  # bytes that tell ids apart
NO_CPU = {"num_cpus": 0}  # what reads waits for files: it shall not wait for the cores of actors


@dataclass(frozen=True)
class Stream:
    """Rows that Ray reads where the actors are: how many there are is not known before.

    Attributes:
        places: files, folders or URIs, all of one kind.
        kind: `parquet`, with a picture in each row, or `webdataset`, shards of tar.
    """

    places: tuple[str, ...]
    kind: str

    def dataset(self, ray: Any) -> Any:
        """The rows, as Ray reads them.

        Raises:
            ArgumentError: they cannot be read.
        """
        try:
            if self.kind == "parquet":
                return ray.data.read_parquet(list(self.places), ray_remote_args=NO_CPU)
            return ray.data.read_webdataset(
                list(self.places), decoder=None, include_paths=True, ray_remote_args=NO_CPU
            )
        except Exception as error:  # whatever the file systems of pyarrow raise
            where = ", ".join(self.places)
            raise ArgumentError(f"{where} cannot be read: {reason(error)}", settings=("images",)) from error


def stream_of(places: Sequence[str]) -> Stream | None:
    """The stream that arguments name; None where they name pictures.

    Raises:
        ArgumentError: they name several kinds.
    """
    kinds = {PurePosixPath(place).suffix.lower() for place in places}
    kinds = {ending if ending in (TAR, PARQUET) else "" for ending in kinds}
    if kinds == {""} or not kinds:
        return None
    if len(kinds) > 1:
        raise ArgumentError(
            "pictures, shards and Parquet are explained apart: name one kind", settings=("images",)
        )
    return Stream(tuple(places), "webdataset" if kinds == {TAR} else "parquet")


def dataset_of(ray: Any, rows: Sequence[str], part_rows: int) -> Any:
    """Items that this process knows, as a dataset whose blocks are parts of a run.

    Args:
        ray: the package, connected.
        rows: from `item_row`.
        part_rows: of each block.
    """
    import pyarrow

    return ray.data.from_arrow(
        [pyarrow.table({ITEM: rows[at : at + part_rows]}) for at in range(0, len(rows), part_rows)]
    )


def as_items(batch: pyarrow.Table) -> pyarrow.Table:
    """Rows of a stream as items: a column `item`, and `bytes` where they have pictures; as they are else."""
    import pyarrow

    if ITEM in batch.column_names:
        return batch
    of_shards = KEY in batch.column_names
    items, pictures = [], []
    for row in batch.to_pylist():
        picture, values = _sample(row) if of_shards else (row.pop(BYTES, None), _values(row))
        items.append(json.dumps(values, default=str))
        pictures.append(picture)
    table = {ITEM: pyarrow.array(items, pyarrow.string())}
    if any(picture is not None for picture in pictures):
        table[BYTES] = pyarrow.array(pictures, pyarrow.large_binary())
    return pyarrow.table(table)


def ids_of(batch: pyarrow.Table) -> list[str]:
    """The ids of rows of `as_items`."""
    return [_identity(json.loads(item)) for item in batch[ITEM].to_pylist()]


def _identity(values: Mapping[str, Any]) -> str:
    return str(values[PATH] if values.get(ID) is None else values[ID])


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    """An item's values: what is known by its column, all else below `columns`."""
    known = {name: row.get(name) for name in (ID, PATH, TARGET, TRUTH)}
    further = {
        name: value for name, value in row.items() if name not in known and not isinstance(value, bytes)
    }
    return known | {COLUMNS: further}


def _sample(row: dict[str, Any]) -> tuple[bytes | None, dict[str, Any]]:
    """The picture of a sample of WebDataset, and its values; its id has the shard's name, as keys may recur."""
    key, shard = row.pop(KEY), row.pop(PLACE)
    row.pop("__url__", None)
    pictures = [
        name for name, value in row.items() if value is not None and f".{name}".lower().endswith(PICTURES)
    ]
    picture = row.pop(pictures[0]) if len(pictures) == 1 else None
    texts = {name: _text(value) for name, value in row.items() if name not in pictures and value is not None}
    name = f"{posixpath.basename(shard).removesuffix(TAR)}/{key}"
    target, truth = texts.pop(TARGET, None), texts.pop(TRUTH, None)
    return picture, {ID: name, TARGET: target, TRUTH: truth, COLUMNS: texts}


def _text(value: Any) -> Any:
    """What a sample says besides, as text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


class Finished:
    """The ids that a run has finished, for actors that ask for each row: one copy a node, whatever their number.

    Args:
        ray: the package, connected.
        ids: of the items.
    """

    def __init__(self, ray: Any, ids: Iterable[str]):
        self._digests = ray.put(np.array(sorted(map(_digest, ids)), f"S{DIGEST * 2}"))

    def left(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Those rows of `as_items` that are not finished."""
        import pyarrow

        known = import_ray().get(self._digests)
        asked = np.array([_digest(name) for name in ids_of(batch)], known.dtype)
        places = np.searchsorted(known, asked)
        there = [place < len(known) and known[place] == one for place, one in zip(places, asked, strict=True)]
        return batch.filter(pyarrow.array([not finished for finished in there], pyarrow.bool_()))


def _digest(name: str) -> bytes:
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=DIGEST)
    return digest.hexdigest().encode()
