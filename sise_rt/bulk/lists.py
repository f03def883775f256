"""The rows of a list of pictures: CSV, JSON lines, Parquet, or a path in each line."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from sise_rt.errors import ArgumentError, ImageError, SiseError, TargetError
from sise_rt.wording import counted, reason, short

PATH, ID, TARGET, TRUTH = KNOWN = ("path", "id", "target", "truth")
ALIASES = ("image", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img", "picture")
DELIMITERS = ",;\t"
WHOLE = re.compile(r"([0-9]{1,9})\.0+")  # as pandas writes whole numbers in a column with empty cells
UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")  # how it begins where it is taken for UTF-8
BATCH = 10_000  # rows of Parquet that are taken at once

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list; its attributes are those of an `Item`, but for two.

    Attributes:
        line: its number, from 1; of Parquet the row's.
        path: as it stands there.
    """

    line: int
    path: str
    id: str
    targets: tuple[int | str, ...] | None
    truth: int | str | None
    columns: Mapping[str, Any]
    problem: SiseError | None


def called(source: Path | BinaryIO) -> str:
    """What messages call a list."""
    return str(source) if isinstance(source, Path) else "standard input"


def unit(source: Path | BinaryIO) -> str:
    """What its rows are counted in."""
    return "row" if _ending(source) == ".parquet" else "line"


def _ending(source: Path | BinaryIO) -> str:
    return source.suffix.lower() if isinstance(source, Path) else ""


def read_rows(source: Path | BinaryIO, notes: list[str]) -> Iterator[Row]:
    """The rows of a list, as `sise_rt.bulk.listing.from_list` describes it.

    Args:
        source: the file, or a stream of it.
        notes: what is left out is added.

    Raises:
        ArgumentError: it cannot be read, has no column of paths, or is torn or damaged.
        SiseError: it is Parquet, and pyarrow is not installed.
    """
    name = called(source)
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
            if _ending(source) == ".parquet":
                values = _parquet(stream, name, notes)
            else:
                values = _text(stream, source, name)
            for line, row in values:
                yield _row(line, row, f"{name}, {unit(source)} {line}")
    except FileNotFoundError as error:
        raise _refusal(f"{name}: no such file: check the path") from error
    except OSError as error:
        raise _refusal(f"{name} cannot be read: {reason(error)}: check the path and its rights") from error


def _refusal(message: str) -> ArgumentError:
    return ArgumentError(message, settings=("listing",))


def _row(line: int, values: Values, where: str) -> Row:
    """A row by its values, by column; what is wrong with it alone is its problem."""
    problem: SiseError | None = None
    path, targets, truth = values.pop(PATH), None, None
    if not isinstance(path, str) or not path:
        problem = ImageError(f"{where}, names no picture")
        path = ""
    try:
        targets = _targets(values.pop(TARGET, None))
        truth = _class(values.pop(TRUTH, None))
    except ValueError as error:
        problem = problem or TargetError(f"{where}: {error}")
    name = _id(values.pop(ID, None), where) or path or f"{where.rpartition(', ')[2]}"
    return Row(line, path, name, targets, truth, values, problem)


def _id(value: Any, where: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bool | list | dict):
        raise _refusal(f"{where}: the id is {short(repr(value))}, where a text or a number is needed")
    return str(int(value)) if float(value).is_integer() else str(value)


def _targets(value: Any) -> tuple[int | str, ...] | None:
    """Several classes: a list, or a text with semicolons between them."""
    parts = value.split(";") if isinstance(value, str) else value if isinstance(value, list) else [value]
    classes = [named for named in map(_class, parts) if named is not None]
    return tuple(classes) or None


def _class(value: Any) -> int | str | None:
    """A class by index or label; a whole number with a point is an index, as pandas writes one.

    Raises:
        ValueError: it is neither.
    """
    match value:
        case None:
            return None
        case str():
            text = value.strip()
            whole = WHOLE.fullmatch(text)
            return (whole[1] if whole else text) or None
        case int() if not isinstance(value, bool):
            return value
        case float() if value.is_integer():
            return int(value)
        case float() if math.isnan(value):
            return None
    raise ValueError(f"{short(repr(value))} is neither a class index nor a label")


def _text(stream: BinaryIO, source: Path | BinaryIO, name: str) -> Iterator[tuple[int, Values]]:
    """The rows of a list that is text, by its lines; bytes that are no UTF-8 stay what they are in paths."""
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        lines = enumerate(text, 1)
        begin = next(((number, line) for number, line in lines if line.strip()), None)
        if begin is None:
            return
        first = begin[1]
        if first.startswith(UTF_16) or "\0" in first or first.startswith("PAR1"):
            raise _refusal(f"{name} is no text in UTF-8: save it as CSV UTF-8, or name Parquet .parquet")
        read = _reader(first, source)
        yield from read(chain([begin], lines), name)
    finally:
        text.detach()  # or the stream would be closed with it


def _reader(first: str, source: Path | BinaryIO) -> Callable[..., Iterator[tuple[int, Values]]]:
    """What reads a list, by its ending or its first line."""
    ending = _ending(source)
    if ending in (".csv", ".tsv"):
        return _csv
    if ending in (".jsonl", ".ndjson") or first.lstrip().startswith("{"):
        return _jsonl
    if PATH in _names(first, _delimiter(first)):
        return _csv
    folder = source.parent if isinstance(source, Path) else Path()
    path = first.rstrip("\r\n")
    heading = any(delimiter in path for delimiter in DELIMITERS) or path.lower() in ALIASES
    return _csv if heading and not os.path.lexists(folder / path) else _paths


def _paths(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, Values]]:
    return ((number, {PATH: path}) for number, line in lines if (path := line.rstrip("\r\n")))


def _jsonl(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, Values]]:
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number},"
        try:
            values = json.loads(line, parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise _refusal(f"{where} is no JSON ({error}): is the list torn?") from error
        if not isinstance(values, dict):
            raise _refusal(f"{where} is no object, as {{'path': 'cam1/0001.png'}} is one")
        if PATH not in values:
            raise _no_path(where, "key", list(values))
        yield number, values


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number that JSON has")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _csv(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, Values]]:
    rows = iter(lines)
    begin, first = next(rows)
    delimiter = _delimiter(first)
    reader = csv.reader(chain([first], (line for _, line in rows)), delimiter=delimiter, strict=True)
    number = begin  # of the line in which a row begins
    try:
        heading = _heading(next(reader), name)
        number = begin + reader.line_num
        for cells in reader:
            if any(cells):
                yield number, _by_column(heading, cells, f"{name}, line {number},")
            number = begin + reader.line_num
    except csv.Error as error:
        raise _refusal(f"{name}, line {number}, is no CSV: {error}: is the list torn?") from error


def _by_column(heading: Sequence[str], cells: Sequence[str], where: str) -> Values:
    if len(cells) < len(heading) or any(cells[len(heading) :]):
        raise _refusal(
            f"{where} has {counted(len(cells), 'cell')}, and the heading {len(heading)}: is the list torn or "
            "a text with a delimiter not quoted?"
        )
    return dict(zip(heading, cells, strict=False))


def _delimiter(first: str) -> str:
    """The one that gives a heading a column of paths; else the one that is there most often."""
    named = (mark for mark in DELIMITERS if PATH in _names(first, mark))
    return next(named, max(DELIMITERS, key=first.count))


def _names(first: str, delimiter: str) -> list[str]:
    """A heading's names, as the columns that are known are called."""
    return [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]


def _heading(cells: Sequence[str], name: str) -> list[str]:
    """The names of the columns; those that are known in lower case, and those without one by their number."""
    heading = []
    for number, cell in enumerate(map(str.strip, cells), 1):
        known = cell.lower() if cell.lower() in KNOWN else cell
        heading.append(known or f"column {number}")
    if PATH not in heading:
        raise _no_path(name, "column", heading)
    twice = next((column for place, column in enumerate(heading) if column in heading[:place]), None)
    if twice is not None:
        raise _refusal(f"{name} has the column {short(twice)!r} twice: rename one")
    return heading


def _no_path(where: str, kind: str, names: Sequence[str]) -> ArgumentError:
    """What is raised where nothing is called path: what there is, and what might be meant."""
    there = ", ".join(repr(name) for name in names) or "none"
    lower = {name.lower(): name for name in names}
    near = [lower[alias] for alias in ALIASES if alias in lower]
    near = near or [lower[name] for name in get_close_matches(PATH, lower, 1)]
    helps = f"call {near[0]!r} so" if near else "call the one with the pictures so"
    return _refusal(f"{where} has no {kind} 'path': it has {short(there)}; {helps}")


def _parquet(stream: BinaryIO, name: str, notes: list[str]) -> Iterator[tuple[int, Values]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise SiseError(
            f"{name} is Parquet, which pyarrow reads: pip install 'sise-rt[parquet]', or save it as CSV"
        ) from error
    try:
        file = parquet.ParquetFile(stream)
        schema = file.schema_arrow
        heading = _heading(schema.names, name)
        left_out = [field.name for field in schema if _is_binary(field.type)]
        if left_out:
            notes.append(f"{name}: left out columns of bytes ({', '.join(left_out)})")
        kept = [place for place, column in enumerate(schema.names) if column not in left_out]
        number = 0
        for batch in file.iter_batches(BATCH):
            columns = [_plain_column(batch.column(place)) for place in kept]
            for cells in zip(*columns, strict=True):
                number += 1
                yield number, {heading[place]: cell for place, cell in zip(kept, cells, strict=True)}
    except (pyarrow.ArrowException, ValueError) as error:
        if isinstance(error, SiseError):
            raise
        raise _refusal(f"{name} is no Parquet that can be read: {short(str(error))}") from error


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _plain_column(column: Any) -> list[Any]:
    """Values of a column of Parquet as JSON has them; dates and the like as text, NaN as nothing."""
    from pyarrow import types

    if types.is_temporal(column.type) or types.is_decimal(column.type):
        column = column.cast("string")
    return list(map(_plain, column.to_pylist()))


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return list(map(_plain, value))
    return str(value)
