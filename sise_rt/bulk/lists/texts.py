"""The rows of a list that is text: CSV, JSON lines, or a path in each line."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from sise_rt.wording import counted

from .columns import ALIASES, PATH, Values, heading_of, no_path, refusal

BOM = "\ufeff"
DELIMITERS = ",;\t"
UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")  # how it begins where it is taken for UTF-8


def read_text(stream: BinaryIO, ending: str, folder: Path, name: str) -> Iterator[tuple[int, Values]]:
    """The rows of a list that is text, by its lines; bytes that are no UTF-8 stay what they are in paths.

    Args:
        stream: of the list, at its beginning; is left open.
        ending: of its name, in lower case; empty where it has none.
        folder: that its paths are relative to.
        name: what messages call it.

    Raises:
        ArgumentError: it is none of the kinds of text, has no column of paths, or is torn.
    """
    lines = enumerate((line.decode("utf-8", "surrogateescape") for line in stream), 1)
    begin = next(((number, line) for number, line in lines if line.strip(f"{BOM} \t\r\n")), None)
    if begin is None:
        return
    number, first = begin
    first = first.removeprefix(BOM)
    if first.startswith(UTF_16) or "\0" in first or first.startswith("PAR1"):
        raise refusal(f"{name} is no text in UTF-8: save it as CSV UTF-8, or name Parquet .parquet")
    read = _reader(first, ending, folder)
    yield from read(chain([(number, first)], lines), name)


def _reader(first: str, ending: str, folder: Path) -> Callable[..., Iterator[tuple[int, Values]]]:
    """What reads a list, by its ending or its first line."""
    if ending in (".csv", ".tsv"):
        return _csv
    if ending in (".jsonl", ".ndjson") or first.lstrip().startswith("{"):
        return _jsonl
    if PATH in _names(first, _delimiter(first)):
        return _csv
    path = first.rstrip("\r\n")
    heading = any(delimiter in path for delimiter in DELIMITERS) or path.lower() in ALIASES
    return _csv if heading and not os.path.lexists(folder / path) else _paths


def _paths(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, Values]]:
    for number, line in lines:
        if "\0" in line:
            raise refusal(f"{name}, line {number}, has a null character: is it a list?")
        if path := line.rstrip("\r\n"):
            yield number, {PATH: path}


def _jsonl(lines: Iterable[tuple[int, str]], name: str) -> Iterator[tuple[int, Values]]:
    for number, line in lines:
        if not line.strip():
            continue
        where = f"{name}, line {number},"
        try:
            values = json.loads(line, parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise refusal(f"{where} is no JSON ({error}): is the list torn?") from error
        if not isinstance(values, dict):
            raise refusal(f"{where} is no object, as {{'path': 'cam1/0001.png'}} is one")
        if PATH not in values:
            raise no_path(where, "key", list(values))
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
        heading = heading_of(next(reader), name)
        number = begin + reader.line_num
        for cells in reader:
            if any(cells):
                yield number, _by_column(heading, cells, f"{name}, line {number},")
            number = begin + reader.line_num
    except csv.Error as error:
        raise refusal(f"{name}, line {number}, is no CSV: {error}: is the list torn?") from error


def _by_column(heading: Sequence[str], cells: Sequence[str], where: str) -> Values:
    if len(cells) < len(heading) or any(cells[len(heading) :]):
        raise refusal(
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
