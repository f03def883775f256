"""The lines of a run as one table, a Parquet file: a row a line, whose columns have types.

It is made of results.jsonl when the run ends, and can be made again at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sise_rt.errors import ArgumentError, OutputError
from sise_rt.files import make_folder, whole_file
from sise_rt.records import record_schema
from sise_rt.wording import reason

if TYPE_CHECKING:
    import pyarrow

SCHEMA = "sise-rt/table/1"
"""What such a table is, as its metadata tell: the number changes where a column changes its meaning."""
MARK = b"sise-rt"
GROUP = 10_000  # rows of a row group at most
GROUP_BYTES = 32 << 20  # of records and maps that a row group has in memory
LARGEST = 2**63 - 1  # integers that a column holds

TEXT, TEXTS, INTEGER, NUMBER, YES_OR_NO, TIME = "string", "texts", "int64", "double", "bool", "time"
COLUMNS = {
    "id": (TEXT, "Of the item, as in `results.jsonl`."),
    "status": (TEXT, "`done`, `no evidence`, `failed` or `skipped`."),
    "error": (TEXT, "The kind of what went wrong."),
    "message": (TEXT, "What went wrong, for people."),
    "reason": (TEXT, "Why it was skipped."),
    "asked": (TEXT, "The method as it was asked for."),
    "part": (INTEGER, "Which of the item's rows this is, from 1."),
    "parts": (INTEGER, "Of how many."),
    "files": (TEXTS, "What was written of it, below the output folder."),
    "truth": (TEXT, "The class that is in the picture, as the list gives it."),
    "target": (INTEGER, "The class that is explained."),
    "label": (TEXT, "Its label."),
    "confidence": (NUMBER, "Of the model in it."),
    "predicted": (INTEGER, "The class with the highest confidence."),
    "predicted_label": (TEXT, "Its label."),
    "predicted_confidence": (NUMBER, "Of the model in it."),
    "picture": (TEXT, "`picture.name` of the record."),
    "picture_sha256": (TEXT, "`picture.sha256`."),
    "width": (INTEGER, "`picture.width`, in pixels."),
    "height": (INTEGER, "`picture.height`, likewise."),
    "model": (TEXT, "`bundle.name`."),
    "bundle_sha256": (TEXT, "`bundle.sha256`."),
    "method": (TEXT, "Its name."),
    "settings": (TEXT, "Its settings, as JSON."),
    "border_share": (NUMBER, "`map.border_share`."),
    "masks": (INTEGER, "As in the record."),
    "guessed": (INTEGER, "As in the record."),
    "passes": (INTEGER, "As in the record."),
    "partial": (YES_OR_NO, "As in the record."),
    "region_bears": (YES_OR_NO, "`check.region.bears`."),
    "drop": (NUMBER, "`check.drop`."),
    "increase": (NUMBER, "`check.increase`."),
    "insertion": (NUMBER, "`check.insertion`."),
    "deletion": (NUMBER, "`check.deletion`."),
    "provider": (TEXT, "`runtime.provider`."),
    "device": (TEXT, "`runtime.device`."),
    "precision": (TEXT, "`runtime.precision`."),
    "seconds": (NUMBER, "The sum of `seconds`; several targets of a picture share some of them."),
    "time": (TIME, "When the explanation was made, in UTC."),
    "warnings": (TEXTS, "The codes of the record's warnings."),
    "record": (TEXT, "The whole record, as JSON."),
}
"""The columns that every table has, in their order: their kinds, and what they are."""
MAP, MAP_SHAPE = "map", "map_shape"

Line = Mapping[str, Any]
MapOf = Callable[[Line], np.ndarray | None]


def prepare_table(path: Path) -> None:
    """Find out before the work whether a table can be written there; its folder is made if missing.

    Raises:
        ArgumentError: pyarrow is not installed.
        OutputError: the file is there and no table of a run, or its folder cannot be used.
    """
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
            kinds[name] = _joined(kinds.get(name, ""), _kind(value))
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


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ArgumentError(
            f"a table is Parquet, which pyarrow writes: pip install 'sise-rt[parquet]' ({reason(error)})",
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


def _kind(value: Any) -> str:
    """Of a carried value; empty of none."""
    match value:
        case None:
            return ""
        case bool():
            return YES_OR_NO
        case int() if abs(value) <= LARGEST:
            return INTEGER
        case float():
            return NUMBER
    return TEXT


def _joined(one: str, other: str) -> str:
    """The kind that holds values of both."""
    if one == other or not other:
        return one
    return other if not one else NUMBER if {one, other} == {INTEGER, NUMBER} else TEXT


def _rows(
    lines: Iterable[Line], carried: Mapping[str, str], kinds: Mapping[str, str], map_of: MapOf | None
) -> Iterator[dict[str, Any]]:
    record_keys = record_schema()["required"]
    for line in lines:
        row = _of_item(line)
        if line["status"] == "done":
            row |= _of_record(line) | {"record": json.dumps({key: line[key] for key in record_keys})}
        for name, value in line["columns"].items():
            row[carried[name]] = _cell(value, kinds[name])
        if map_of is not None and (map_ := map_of(line)) is not None:
            half = np.ascontiguousarray(map_, "<f2")
            row |= {MAP: half.tobytes(), MAP_SHAPE: list(half.shape)}
        yield row


def _of_item(line: Line) -> dict[str, Any]:
    """The columns of every line."""
    error, target, said = (line[key] or {} for key in ("error", "target", "predicted"))
    part, parts = line["part"]
    return {
        "id": _text(line["id"]),
        "status": line["status"],
        "error": error.get("kind"),
        "message": _text(error.get("message")),
        "reason": _text(line["reason"]),
        "asked": line["asked"],
        "part": part,
        "parts": parts,
        "files": [_text(name) for name in line["files"]],
        "truth": None if line["truth"] is None else _text(str(line["truth"])),
        "target": target.get("index"),
        "label": _text(target.get("label")),
        "confidence": line["confidence"],
        "predicted": said.get("index"),
        "predicted_label": _text(said.get("label")),
        "predicted_confidence": said.get("confidence"),
    }


def _of_record(line: Line) -> dict[str, Any]:
    """The columns of an explanation."""
    picture, check, seconds = line["picture"], line["check"] or {}, line["seconds"]
    return {
        "picture": _text(picture["name"]),
        "picture_sha256": picture["sha256"],
        "width": picture["width"],
        "height": picture["height"],
        "model": _text(line["bundle"]["name"]),
        "bundle_sha256": line["bundle"]["sha256"],
        "method": line["method"],
        "settings": json.dumps(line["settings"]),
        "border_share": line["map"]["border_share"],
        **{name: line[name] for name in ("masks", "guessed", "passes", "partial")},
        "region_bears": check.get("region", {}).get("bears"),
        **{name: check.get(name) for name in ("drop", "increase", "insertion", "deletion")},
        **{name: _text(line["runtime"][name]) for name in ("provider", "device", "precision")},
        "seconds": sum(seconds["shared"].values()) + sum(seconds["own"].values()),
        "time": datetime.fromisoformat(line["time"]),
        "warnings": [warning["code"] for warning in line["warnings"]],
    }


def _cell(value: Any, kind: str) -> Any:
    """A carried value as its column has it."""
    if value is None or kind in (YES_OR_NO, INTEGER):
        return value
    if kind == NUMBER:
        return float(value)
    return _text(value if isinstance(value, str) else json.dumps(value))


def _text(text: str | None) -> str | None:
    return None if text is None else escaped(text)


def escaped(text: str) -> str:
    """A text as UTF-8 has it; of names that are none, the bytes as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


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
