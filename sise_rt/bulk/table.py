"""The lines of a run as one table, a Parquet file: a row a line, whose columns have types.

It is made of results.jsonl when the run ends, and can be made again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sise_rt.errors import ArgumentError, OutputError
from sise_rt.files import make_folder, whole_file
from sise_rt.records import record_schema
from sise_rt.wording import installing, reason

from .ledger import Shard
from .map_shards import kept_maps
from .table_columns import (
    COLUMNS,
    INTEGER,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    YES_OR_NO,
    Line,
    cell,
    escaped,
    joined,
    kind_of,
    of_item,
    of_record,
)

if TYPE_CHECKING:
    import pyarrow

SCHEMA = "sise-rt/table/1"
"""What such a table is, as its metadata tell: the number changes where a column changes its meaning."""
ENDING = ".parquet"
MARK = b"sise-rt"
GROUP = 4096  # rows of a row group at most
GROUP_BYTES = 32 << 20  # of records and maps that a row group has in memory
MAP, MAP_SHAPE = "map", "map_shape"

MapOf = Callable[[Line], np.ndarray | None]


def prepare_table(path: Path) -> None:
    """Find out before the work whether a table can be written there; its folder is made if missing.

    Raises:
        ArgumentError: the name has another ending than `.parquet`, or pyarrow is not installed.
        OutputError: the file is there and no table of a run, or its folder cannot be used.
    """
    if path.suffix.lower() != ENDING:
        raise ArgumentError(
            f"{str(path)!r} has another ending than the Parquet that a table is: call it {ENDING}",
            settings=("table",),
        )
    _, parquet = _arrow()
    make_folder(path.parent, settings=("table",))
    try:
        if not path.exists():
            return
        known = (parquet.read_schema(path).metadata or {}).get(MARK, b"")
    except (OSError, ValueError):  # no Parquet at all, which is a ValueError to pyarrow
        known = b""
    if not known:
        raise OutputError(
            f"{str(path)!r} exists already and is no table of a run, so it stays as it is: name another file",
            settings=("table",),
        )


def write_table(path: Path, lines: Callable[[], Iterable[Line]], map_of: MapOf | None = None) -> int:
    """Write the table of a run, whole or not at all; gives its rows.

    What the list of the run says of an item has a column of its own name, or `column_NAME` where a column
    of the table has that name. It has numbers where all its values are, else text.

    Args:
        path: of the file; an earlier table is replaced.
        lines: gives them one after the other; it is called twice, as types are found out first.
        map_of: gives the map (H, W) of a line, or None; without it the table has no column of maps.

    Raises:
        ArgumentError: pyarrow is not installed.
        OutputError: it cannot be written, or the lines cannot be read.
    """
    arrow, parquet = _arrow()
    kinds: dict[str, str] = {}
    for line in lines():
        for name, value in line["columns"].items():
            kinds[name] = joined(kinds.get(name, ""), kind_of(value))
    carried = _names(kinds, map_of is not None)
    schema = _schema(arrow, {carried[name]: kind or TEXT for name, kind in kinds.items()}, map_of is not None)
    rows = 0
    with whole_file(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(_rows(lines(), carried, kinds, map_of)):
            writer.write_table(arrow.Table.from_pylist(group, schema))
            rows += len(group)
    return rows


def table_of(lines: Sequence[Line], maps: Sequence[np.ndarray | None]) -> pyarrow.Table:
    """Lines in memory as a table, whose types are the same whatever they hold: those of every other batch.

    Args:
        lines: what a list says of their items is left out.
        maps: of each (H, W), or None.

    Raises:
        ArgumentError: pyarrow is not installed.
    """
    arrow, _ = _arrow()
    of_lines = iter(maps)
    bare = ({**line, "columns": {}} for line in lines)
    rows = list(_rows(bare, {}, {}, lambda _: next(of_lines)))
    return arrow.Table.from_pylist(rows, _schema(arrow, {}, True))


def write_table_with_maps(path: Path, lines: Callable[[], Iterable[Line]], folder: Path) -> int:
    """The same with the maps of the run, which are those of its shards.

    Args:
        path: as of `write_table`, as are the lines and the errors.
        lines: likewise.
        folder: of the run.
    """
    with kept_maps(folder) as find:

        def map_of(line: Line) -> np.ndarray | None:
            target = line["target"]
            return None if target is None else find(line["id"], target["index"], line["asked"])

        return write_table(path, lines, map_of)


def of_shard(path: Path, shard: Shard | None) -> Path:
    """Where the table of a shard lies beside the others: `results-3-of-8.parquet`."""
    return path if shard is None else path.with_stem(f"{path.stem}-{shard[0]}-of-{shard[1]}")


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ArgumentError(
            f"a table is Parquet, which pyarrow writes: {installing('parquet')} ({reason(error)})",
            settings=("table",),
        ) from error
    return pyarrow, parquet


def _schema(arrow: Any, carried: Mapping[str, str], maps: bool) -> pyarrow.Schema:
    types = {name: arrow.type_for_alias(name) for name in (TEXT, INTEGER, NUMBER, YES_OR_NO)}
    types |= {TEXTS: arrow.list_(arrow.string()), TIME: arrow.timestamp("ms", "UTC")}
    fields = [(name, types[kind]) for name, (kind, _) in COLUMNS.items()]
    fields += [(name, types[kind]) for name, kind in carried.items()]
    if maps:
        fields += [(MAP, arrow.binary()), (MAP_SHAPE, arrow.list_(arrow.int32()))]
    return arrow.schema(fields, metadata={MARK: SCHEMA.encode()})


def _names(carried: Iterable[str], maps: bool) -> dict[str, str]:
    """What carried columns are called in the table; some readers do not tell capitals from small letters."""
    taken = {*COLUMNS, *((MAP, MAP_SHAPE) if maps else ())}
    names = {}
    for name in carried:
        free = escaped(name)
        while free.casefold() in taken:
            free = f"column_{free}"
        taken.add(free.casefold())
        names[name] = free
    return names


def _rows(
    lines: Iterable[Line], carried: Mapping[str, str], kinds: Mapping[str, str], map_of: MapOf | None
) -> Iterator[dict[str, Any]]:
    record_keys = record_schema()["required"]
    for line in lines:
        row = of_item(line)
        if line["status"] == "done":
            row |= of_record(line) | {"record": json.dumps({key: line[key] for key in record_keys})}
        for name, value in line["columns"].items():
            row[carried[name]] = cell(value, kinds[name])
        if map_of is not None and (map_ := map_of(line)) is not None:
            half = np.ascontiguousarray(map_, "<f2")
            row |= {MAP: half.tobytes(), MAP_SHAPE: list(half.shape)}
        yield row


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows as they are written at once."""
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.get("record", "")) + len(row.get(MAP, b""))
        if len(group) >= GROUP or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group
