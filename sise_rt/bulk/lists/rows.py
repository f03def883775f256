"""The rows of a list of pictures, whatever it is written in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from sise_rt.errors import ImageError, SiseError, TargetError
from sise_rt.wording import reason, short

from .columns import ID, PATH, TARGET, TRUTH, Values, refusal
from .parquet import read_parquet
from .texts import read_text

WHOLE = re.compile(r"([0-9]{1,9})\.0+")  # as pandas writes whole numbers in a column with empty cells
PARQUET = ".parquet"


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
    return "row" if _ending(source) == PARQUET else "line"


def folder_of(source: Path | BinaryIO) -> Path:
    """What its paths are relative to: its folder, and for a stream the working one."""
    return source.parent if isinstance(source, Path) else Path()


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
    place = f"{name}, {unit(source)}"
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
            if _ending(source) == PARQUET:
                values = read_parquet(stream, name, notes)
            else:
                values = read_text(stream, _ending(source), folder_of(source), name)
            for line, row in values:
                yield _row(line, row, place)
    except FileNotFoundError as error:
        raise refusal(f"{name}: no such file: check the path") from error
    except OSError as error:
        raise refusal(f"{name} cannot be read: {reason(error)}: check the path and its rights") from error


def _row(line: int, values: Values, place: str) -> Row:
    """A row by its values, by column; what is wrong with it alone is its problem."""
    problem: SiseError | None = None
    path, targets, truth = values.pop(PATH), None, None
    if not isinstance(path, str) or not path:
        problem = ImageError(f"{place} {line}, names no picture")
        path = ""
    try:
        targets, truth = _targets(values.pop(TARGET, None)), _class(values.pop(TRUTH, None))
    except ValueError as error:
        problem = problem or TargetError(f"{place} {line}: {error}")
    name = _id(values.pop(ID, None), place, line) or path or f"{place.rpartition(', ')[2]} {line}"
    return Row(line, path, name, targets, truth, dict(values), problem)  # in no more room than it takes


def _id(value: Any, place: str, line: int) -> str:
    match value:
        case None | str():
            return value or ""
        case int() | float() if not isinstance(value, bool):
            return str(int(value)) if value == int(value) else str(value)
    raise refusal(f"{place} {line}: the id is {short(repr(value))}, where a text or a number is needed")


def _targets(value: Any) -> tuple[int | str, ...] | None:
    """Several classes: a list, or a text with semicolons between them.

    Raises:
        ValueError: one is neither an index nor a label.
    """
    if isinstance(value, str):
        return _targets_in(value)
    return _classes(value if isinstance(value, list) else [value])


@lru_cache(4096)  # rows share them, and their memory
def _targets_in(text: str) -> tuple[int | str, ...] | None:
    return _classes(text.split(";"))


def _classes(values: Iterable[Any]) -> tuple[int | str, ...] | None:
    return tuple(named for named in map(_class, values) if named is not None) or None


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
