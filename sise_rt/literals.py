"""Values out of files from anywhere: JSON and Python literals, of bounded size. Nothing is executed."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from sise_rt.errors import ModelError
from sise_rt.wording import in_bytes, reason

LARGEST_FILE = 16 << 20  # bytes of a file of settings or labels
LONGEST_LITERAL = 1 << 20  # characters; Python's parser takes many times that in memory


def read_text(path: Path) -> str:
    """The text of a small file.

    Raises:
        ModelError: it is no UTF-8, absurdly large, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) <= LARGEST_FILE:
            return data.decode("utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path with a null character
        raise ModelError(f"{path} cannot be read: {reason(error)}") from error
    raise ModelError(f"{path} is larger than {in_bytes(LARGEST_FILE)}, more than a file of settings has")


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, None where there is no such file.

    Raises:
        ModelError: it is no JSON object, or absurdly large.
    """
    if not path.is_file():
        return None
    text = read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} holds no JSON object")
    return value


def parsed(text: str) -> Any:
    """JSON, or a Python literal as Ultralytics writes it, or the text itself."""
    readers = (json.loads, _literal) if len(text) <= LONGEST_LITERAL else (json.loads,)
    for read in readers:
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue  # hostile nesting, too, is no more than text
    return text


def _literal(text: str) -> Any:
    """A Python literal.

    Raises:
        ValueError: it is none, or has a number of more digits than Python writes, or any message tells.
    """
    value = ast.literal_eval(text)
    repr(value)
    return value


def parsed_property(text: str) -> Any:
    """The same of a property of a model, whose text may be of any length: an absurd one stays text."""
    return parsed(text) if len(text) <= LARGEST_FILE else text
