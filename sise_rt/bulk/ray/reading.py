"""Where Ray reads rows from: lists of this process, Parquet with pictures in it, shards, and buckets."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import reason

from .cluster import import_ray
from .given import BYTES, COLUMNS, ID, ITEM, PATH, TARGET, TRUTH

if TYPE_CHECKING:
    import pyarrow

KEY, URL = "__key__", "__url__"  # of a sample of WebDataset
TAR, PARQUET, URI = ".tar", ".parquet", "://"
LISTED = 64  # pictures of a bucket that are one block, before they are dealt out
DIGEST = 16  # bytes that tell ids apart
NO_CPU = {"num_cpus": 0}  # what reads waits for files: it shall not wait for the cores of actors


@dataclass(frozen=True)
class Stream:
    """Rows that Ray reads, or that lie in a bucket: how many there are is not known before.

    Attributes:
        places: files, folders or URIs, all of one kind.
        kind: `parquet`, with a picture or its path in each row; `webdataset`, shards of tar; or `pictures` by
            their URIs.
    """

    places: tuple[str, ...]
    kind: Literal["parquet", "webdataset", "pictures"]

    def dataset(self, ray: Any) -> Any:
        """The rows, as Ray reads them.

        Raises:
            ArgumentError: they cannot be read, or there are none.
        """
        places = [place if URI in place else str(Path(place).absolute()) for place in self.places]
        try:
            match self.kind:
                case "parquet":
                    return ray.data.read_parquet(places, **NO_CPU)
                case "webdataset":
                    return ray.data.read_webdataset(places, decoder=None, include_paths=True, **NO_CPU)
            return dataset_of(ray, [row for place in places for row in _below(place)], LISTED)
        except Exception as error:  # whatever the file systems of pyarrow raise
            where = ", ".join(self.places)
            raise ArgumentError(f"{where} cannot be read: {reason(error)}", settings=("images",)) from error


def stream_of(places: Sequence[str]) -> Stream | None:
    """The stream that arguments name; None where they name pictures and folders of this machine.

    Raises:
        ArgumentError: they name several kinds.
    """
    kinds = {_kind(place) for place in places}
    if len(kinds) > 1 and kinds != {None}:
        raise ArgumentError(
            "pictures, shards, Parquet and URIs are explained apart: name one kind", settings=("images",)
        )
    kind = next(iter(kinds), None)
    return None if kind is None else Stream(tuple(places), kind)


def _kind(place: str) -> Literal["parquet", "webdataset", "pictures"] | None:
    ending = posixpath.splitext(place)[1].lower()
    if ending == PARQUET:
        return "parquet"
    if ending == TAR:
        return "webdataset"
    return "pictures" if URI in place else None


def dataset_of(ray: Any, rows: Sequence[str], block: int) -> Any:
    """Items that this process knows, as a dataset.

    Args:
        ray: the package, connected.
        rows: from `sise_rt.bulk.ray.given.item_row`.
        block: rows of each block.
    """
    import pyarrow

    return ray.data.from_arrow(
        [pyarrow.table({ITEM: rows[at : at + block]}) for at in range(0, len(rows), block)]
    )


def _below(place: str) -> Iterator[str]:
    """The pictures below a URI as rows; their ids are the paths from there on.

    Raises:
        ValueError: there are none.
    """
    from pyarrow import fs

    system, root = fs.FileSystem.from_uri(place)
    info = system.get_file_info(root)
    files = [info] if info.is_file else system.get_file_info(fs.FileSelector(root, recursive=True))
    scheme = place[: place.index(URI) + len(URI)]
    found = False
    for file in sorted((file for file in files if file.is_file), key=lambda file: file.path):
        name = file.base_name if info.is_file else posixpath.relpath(file.path, root)
        if file.path.lower().endswith(PICTURES) and not any(p.startswith(".") for p in name.split("/")):
            found = True
            yield json.dumps({ID: name, PATH: f"{scheme}{file.path}"})
    if not found:
        raise ValueError("no pictures are there")


def as_items(batch: pyarrow.Table) -> pyarrow.Table:
    """Rows of a stream as items: columns `item` and `bytes`, their pictures; those of a list as they are.

    Raises:
        ArgumentError: rows have no ids.
    """
    import pyarrow

    if ITEM in batch.column_names:
        return batch
    of_shards = KEY in batch.column_names
    if not of_shards and not {ID, PATH} & {*batch.column_names}:
        raise ArgumentError(
            f"rows of a run need a column {ID!r} or {PATH!r}, by which it is gone on with: they have "
            f"{', '.join(map(repr, batch.column_names))}"
        )
    items, pictures = [], []
    for row in batch.to_pylist():
        picture, values = _sample(row) if of_shards else (row.pop(BYTES, None), _values(row))
        items.append(json.dumps(values, default=str))
        pictures.append(picture)
    return pyarrow.table(
        {
            ITEM: pyarrow.array(items, pyarrow.string()),
            BYTES: pyarrow.array(pictures, pyarrow.large_binary()),
        }
    )


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
    """The picture of a sample of WebDataset, and its values; its id has the shard's name: keys may recur."""
    key, shard = row.pop(KEY), row.pop(PATH)
    row.pop(URL, None)
    there = {name: value for name, value in row.items() if value is not None}
    pictures = [name for name in there if f".{name}".lower().endswith(PICTURES)]
    picture = there[pictures[0]] if len(pictures) == 1 else None
    texts = {name: _text(value) for name, value in there.items() if name not in pictures}
    known = {ID: f"{posixpath.basename(shard).removesuffix(TAR)}/{key}"}
    known |= {name: texts.pop(name, None) for name in (TARGET, TRUTH)}
    return picture, known | {COLUMNS: texts}


def _text(value: Any) -> Any:
    """What a sample says besides, as text."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


class FinishedIds:
    """The ids that a run has finished, for actors that ask for each row: one copy a node, however many.

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
