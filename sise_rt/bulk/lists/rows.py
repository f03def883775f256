"""The rows of a list of pictures, whatever it is written in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
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
    try:
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
            if _ending(source) == PARQUET:
                values = read_parquet(stream, name, notes)
            else:
                values = read_text(stream, _ending(source), folder_of(source), name)
            for line, row in values:
                yield _row(line, row, f"{name}, {unit(source)} {line}")
    except FileNotFoundError as error:
        raise refusal(f"{name}: no such file: check the path") from error
    except OSError as error:
        raise refusal(f"{name} cannot be read: {reason(error)}: check the path and its rights") from error


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
    name = _id(values.pop(ID, None), where) or path or where.rpartition(", ")[2]
    return Row(line, path, name, targets, truth, values, problem)


def _id(value: Any, where: str) -> str:
    match value:
        case None | str():
            return value or ""
        case int() | float() if not isinstance(value, bool):
            return str(int(value)) if value == int(value) else str(value)
    raise refusal(f"{where}: the id is {short(repr(value))}, where a text or a number is needed")


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
