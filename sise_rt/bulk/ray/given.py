"""Rows that come in: each is an item, and where its picture is read from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sise_rt.bulk.items import Item
from sise_rt.errors import ArgumentError, ImageError, SiseError
from sise_rt.wording import in_bytes, reason

if TYPE_CHECKING:
    import pyarrow

BYTES, PATH = "bytes", "path"
ID, TARGET, TRUTH, COLUMNS = "id", "target", "truth", "columns"
ITEM = "item"  # of rows that `run` makes: a whole item as JSON
KNOWN = {BYTES, PATH, ID, TARGET, TRUTH, ITEM}
LARGEST = 2**30  # bytes of a picture that is fetched into memory
SEPARATOR = ";"  # between several targets


class Given(NamedTuple):
    """A row.

    Attributes:
        item: of it.
        row: its place in the batch.
        fetch: gives what `Explainer.prepare` takes, or raises why it cannot.
    """

    item: Item
    row: int
    fetch: Callable[[], Any]


def rows_given(table: pyarrow.Table) -> Iterator[Given]:
    """The rows of a table, one after the other, so that only one picture's bytes are copied at a time.

    Raises:
        ArgumentError: it has no column of pictures.
    """
    names = set(table.column_names)
    if not names & {BYTES, PATH, ITEM}:
        raise ArgumentError(
            f"rows have no column {BYTES!r} (encoded pictures) or {PATH!r}: they have "
            f"{', '.join(map(repr, table.column_names)) or 'none'}"
        )
    for row in range(table.num_rows):
        yield _given(row, {name: table[name][row].as_py() for name in names & KNOWN})


def _given(row: int, values: dict[str, Any]) -> Given:
    if ITEM in values:
        values = {BYTES: values.get(BYTES), **json.loads(values[ITEM])}
    data, path, identity = values.get(BYTES), values.get(PATH), values.get(ID)
    if identity is None:
        identity = path if path is not None else hashlib.sha256(data or b"").hexdigest()
    problem = None
    if data is None and path is None:
        problem = ImageError(f"{identity}: there is no picture")
    elif not isinstance(data, bytes | None) or not isinstance(path, str | None):
        problem = ImageError(f"{identity}: {BYTES!r} holds bytes, and {PATH!r} a text")
    item = Item(
        id=str(identity),
        picture=data if isinstance(data, bytes) else Path(str(path)),
        stem=str(identity),
        targets=targets_of(values.get(TARGET)),
        truth=values.get(TRUTH),
        columns=values.get(COLUMNS) or {},
        problem=problem,
    )
    return Given(item, row, partial(_picture, data, path, problem))


def item_row(item: Item) -> str:
    """An item whose picture is a path as text, for the column `item`: ASCII, whatever its names hold."""
    targets = None if item.targets is None else list(item.targets)
    values = {ID: item.id, PATH: str(item.picture), TARGET: targets, TRUTH: item.truth, COLUMNS: item.columns}
    return json.dumps(values, default=str)


def _picture(data: Any, path: Any, problem: SiseError | None) -> Path | bytes:
    """What `Explainer.prepare` takes of a row, from wherever it lies."""
    if problem is not None:
        raise problem
    return data if data is not None else fetched(path)


def targets_of(value: Any) -> tuple[int | str, ...] | None:
    """The targets that a cell names: an index, a label, or several with `;` between; None where it is empty."""
    parts = (
        value.split(SEPARATOR) if isinstance(value, str) else value if isinstance(value, list) else [value]
    )
    named = [part.strip() if isinstance(part, str) else part for part in parts]
    return tuple(part for part in named if part not in (None, "")) or None


def fetched(place: str) -> Path | bytes:
    """A path as it is; the bytes behind a URI, by pyarrow's file systems.

    Raises:
        ImageError: there is no such file, or it is too large.
    """
    if "://" not in place:
        return Path(place)
    from pyarrow import ArrowException, fs

    try:
        system, path = fs.FileSystem.from_uri(place)
        with system.open_input_file(path) as stream:
            if (size := stream.size()) > LARGEST:
                raise ImageError(
                    f"{place}: {in_bytes(size)} are more than the {in_bytes(LARGEST)} that are fetched"
                )
            return stream.read()
    except FileNotFoundError as error:
        raise ImageError(f"{place}: no such file: check the path") from error
    except (ArrowException, OSError, ValueError) as error:
        if isinstance(error, SiseError):
            raise
        raise ImageError(f"{place}: cannot be fetched: {reason(error)}") from error
