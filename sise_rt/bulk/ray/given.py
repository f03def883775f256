"""Rows that come in: each is an item, whose picture lies in the row, in a file, or in a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sise_rt.bulk.items import Item
from sise_rt.errors import ArgumentError, ImageError, SiseError
from sise_rt.wording import in_bytes, reason

if TYPE_CHECKING:
    import pyarrow

BYTES, PATH = "bytes", "path"
ID, TARGET, TRUTH, COLUMNS = "id", "target", "truth", "columns"
ITEM = "item"  # of rows that a run makes: a whole item as JSON
KNOWN = {BYTES, PATH, ID, TARGET, TRUTH, ITEM}
LARGEST = 2**30  # bytes of a picture that is fetched into memory
SEPARATOR = ";"  # between several targets


def items_of(table: pyarrow.Table) -> Iterator[Item]:
    """The rows of a table as items, one after the other; the next one is fetched while one is worked on.

    Args:
        table: with a column `bytes`, `path` or `item`, and perhaps others of `KNOWN`.

    Raises:
        ArgumentError: it has no column of pictures.
    """
    names = {*table.column_names}
    if not names & {BYTES, PATH, ITEM}:
        raise ArgumentError(
            f"rows have no column {BYTES!r} (encoded pictures) or {PATH!r}: they have "
            f"{', '.join(map(repr, table.column_names)) or 'none'}"
        )

    def row(number: int) -> Item:
        return _item({name: table[name][number].as_py() for name in names & KNOWN})

    with ThreadPoolExecutor(1) as beside:
        following = beside.submit(row, 0) if table.num_rows else None
        for number in range(1, table.num_rows + 1):
            assert following is not None
            item = following.result()
            following = beside.submit(row, number) if number < table.num_rows else None
            yield item


def _item(values: dict[str, Any]) -> Item:
    """The item of a row; what is wrong with it alone is its problem."""
    if ITEM in values:
        values = {BYTES: values.get(BYTES), **json.loads(values[ITEM])}
    data, path, identity = values.get(BYTES), values.get(PATH), values.get(ID)
    if identity is None:
        identity = path if path is not None else hashlib.sha256(data or b"").hexdigest()
    picture: Path | bytes = Path()
    problem = None
    try:
        picture = data if isinstance(data, bytes) else _fetched(path)
    except SiseError as error:
        problem = error
    return Item(
        id=str(identity),
        picture=picture,
        stem=str(identity),
        targets=targets_of(values.get(TARGET)),
        truth=values.get(TRUTH),
        columns=values.get(COLUMNS) or {},
        problem=problem,
    )


def item_row(item: Item) -> str:
    """An item whose picture is a path as text, for the column `item`: ASCII, whatever its names hold.

    The path is absolute there: an actor works in a folder of its own.
    """
    targets = None if item.targets is None else list(item.targets)
    path = str(item.picture.absolute() if isinstance(item.picture, Path) else item.picture)
    values = {ID: item.id, PATH: path, TARGET: targets, TRUTH: item.truth, COLUMNS: dict(item.columns)}
    return json.dumps(values, default=str)


def targets_of(value: Any) -> tuple[int | str, ...] | None:
    """The targets that a cell names: indices or labels, with `;` between several; None where it is empty."""
    parts = (
        value.split(SEPARATOR) if isinstance(value, str) else value if isinstance(value, list) else [value]
    )
    named = [part.strip() if isinstance(part, str) else part for part in parts]
    return tuple(part for part in named if part not in (None, "")) or None


def _fetched(place: Any) -> Path | bytes:
    """A path as it is; the bytes behind a URI, by pyarrow's file systems.

    Raises:
        ImageError: there is no such file, it is too large, or it is no place at all.
    """
    if not isinstance(place, str) or not place:
        raise ImageError(f"a row has no picture: {BYTES!r} is empty, and {PATH!r} is {place!r}")
    if "://" not in place:
        return Path(place)
    from pyarrow import ArrowException, fs

    try:
        system, path = fs.FileSystem.from_uri(place)
        with system.open_input_file(path) as stream:
            if (size := stream.size()) > LARGEST:
                most = in_bytes(LARGEST)
                raise ImageError(f"{place}: {in_bytes(size)} are more than the {most} that are fetched")
            return stream.read()
    except FileNotFoundError as error:
        raise ImageError(f"{place}: no such file: check the path") from error
    except (ArrowException, OSError, ValueError) as error:
        if isinstance(error, SiseError):
            raise
        raise ImageError(f"{place}: cannot be fetched: {reason(error)}") from error
