"""A file of JSON lines that only grows: whole lines outlive whatever ends the process that writes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from sise_rt.errors import OutputError
from sise_rt.files import append_whole
from sise_rt.wording import reason

Value = TypeVar("Value")


def append(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Add lines, on the disk before this returns: all of them or, where it fails, none.

    Args:
        path: of the file, which belongs to this process alone.
        values: one a line, ready for JSON. It is written in ASCII, whatever names of files hold.

    Raises:
        Unwritable: they cannot be written.
    """
    data = b"".join(json.dumps(value, allow_nan=False).encode() + b"\n" for value in values)
    append_whole(path, data)


def read(path: Path, parse: Callable[[bytes], Value]) -> Iterator[tuple[int, Value]]:
    """The whole lines of a file, one after the other; a torn last one is passed over.

    Args:
        path: of the file; one that is missing has no lines.
        parse: gives the value of a line, or raises ValueError, RecursionError or an error of msgspec.

    Yields:
        Where the line ends, in bytes from the file's beginning, and its value.

    Raises:
        OutputError: it cannot be read, or a line before the last one is damaged.
    """
    try:
        with path.open("rb") as stream:
            yield from _values(path, stream, parse)
    except FileNotFoundError:
        return
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path} cannot be read: {reason(error)}") from error


def _values(
    path: Path, stream: Iterable[bytes], parse: Callable[[bytes], Value]
) -> Iterator[tuple[int, Value]]:
    end, wrong = 0, None
    for number, line in enumerate(stream, 1):
        if not line.endswith(b"\n"):
            return
        if wrong is not None:
            raise OutputError(
                f"{path}, line {number - 1}, is damaged ({wrong}): remove the line to redo it"
            ) from wrong
        end += len(line)
        try:
            value = parse(line)
        except (ValueError, RecursionError, msgspec.MsgspecError) as error:
            wrong = error
        else:
            yield end, value


def cut(path: Path, end: int) -> None:
    """Leave the first `end` bytes of a file, if it has more.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if path.exists() and path.stat().st_size > end:
            with path.open("r+b") as stream:
                stream.truncate(end)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}") from error
