"""The columns of a list: those that mean something here, and what is said where they are missing."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from sise_rt.errors import ArgumentError
from sise_rt.wording import short

PATH, ID, TARGET, TRUTH = KNOWN = ("path", "id", "target", "truth")
ALIASES = ("image", "file", "filename", "file_name", "filepath", "file_path", "image_path", "img", "picture")
"""What others call the column of paths."""

Values = dict[str, Any]
"""A row by its columns."""


def refusal(message: str) -> ArgumentError:
    """What is raised of a list that cannot be used."""
    return ArgumentError(message, settings=("listing",))


def heading_of(cells: Sequence[str], name: str) -> list[str]:
    """The names of the columns; those that are known in lower case, and those without one by their number.

    Raises:
        ArgumentError: none is called path, or two have one name.
    """
    heading = []
    for number, cell in enumerate(map(str.strip, cells), 1):
        known = cell.lower() if cell.lower() in KNOWN else cell
        heading.append(known or f"column {number}")
    if PATH not in heading:
        raise no_path(name, "column", heading)
    twice = next((column for place, column in enumerate(heading) if column in heading[:place]), None)
    if twice is not None:
        raise refusal(f"{name} has the column {short(twice)!r} twice: rename one")
    return heading


def no_path(where: str, kind: str, names: Sequence[str]) -> ArgumentError:
    """What is raised where nothing is called path: what there is, and what might be meant."""
    there = ", ".join(repr(name) for name in names) or "none"
    lower = {name.lower(): name for name in names}
    near = [lower[alias] for alias in ALIASES if alias in lower]
    near = near or [lower[name] for name in get_close_matches(PATH, lower, 1)]
    helps = f"call {near[0]!r} so" if near else "call the one with the pictures so"
    return refusal(f"{where} has no {kind} 'path': it has {short(there)}; {helps}")
