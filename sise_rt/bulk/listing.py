"""From what a user names to items: files, folders, patterns, standard input, and lists."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

from sise_rt.errors import ArgumentError, ImageError, SiseError
from sise_rt.wording import counted, reason

from .folders import ALL, search
from .items import Item
from .lists.rows import Row, called, folder_of, read_rows, unit
from .stems import stems_of_files, stems_of_ids

STANDARD_INPUT = "-"
MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Listing:
    """What was named.

    Attributes:
        items: in the order in which they were named, each folder's sorted.
        root: what the ids of pictures are relative to; None where they have ids of their own.
        notes: what was left out, a line each.
    """

    items: list[Item]
    root: Path | None
    notes: tuple[str, ...] = ()


class _Named(NamedTuple):
    """A picture, or a folder that cannot be read.

    Attributes:
        path: from the working directory, as it was named.
        place: the whole path; two of one place are the same picture.
        argument: that named it.
        problem: of the folder.
    """

    path: str
    place: str
    argument: str
    problem: SiseError | None = None


def is_run(arguments: Sequence[str]) -> bool:
    """Whether arguments name anything but one picture."""
    return len(arguments) != 1 or arguments[0] == STANDARD_INPUT or not _is_one_picture(arguments[0])


def _is_one_picture(argument: str) -> bool:
    return not os.path.isdir(argument) and not _is_pattern(argument)


def _is_pattern(argument: str) -> bool:
    return MAGIC.search(argument) is not None and not os.path.lexists(argument)


def from_arguments(
    arguments: Sequence[str],
    *,
    out: Path | None = None,
    standard_input: BinaryIO | None = None,
    root: Path | None = None,
) -> Listing:
    """The items that arguments of a command name.

    Where no root is given it is what the folders that are named and those of the pictures that are named have
    in common; of a pattern it is the part before the first name with a wildcard.

    Args:
        arguments: pictures; folders, which are searched; patterns that no shell has expanded; and `-`.
        out: the folder of results, left out where it lies in one that is searched.
        standard_input: read for `-`: names of pictures and folders, each in a line or, as of `find -print0`,
            before a null character.
        root: of a run that is gone on with.

    Raises:
        ArgumentError: a picture lies elsewhere than below the root, or is named twice; a folder is missing,
            cannot be read or has no pictures, or nothing matches a pattern.
    """
    named: list[_Named] = []
    roots: set[str] = set()
    notes: list[str] = []
    for argument, told in _expanded(arguments, standard_input):
        if os.path.isdir(argument):
            roots.add(os.path.abspath(argument))
            named += _found(argument, ALL, told, out, notes)
        elif told == repr(argument) and _is_pattern(argument):
            folder, pattern = _split_pattern(argument)
            roots.add(os.path.abspath(folder))
            named += _found(folder, pattern, told, out, notes)
        else:
            place = os.path.abspath(argument)
            roots.add(os.path.dirname(place))
            named.append(_Named(argument, place, told))
    _refuse_twice(named)
    root = Path(_common(roots)) if root is None else root
    ids = [_relative(each, root) for each in named]
    items = [
        Item(id=name, picture=Path(each.path), stem=stem, problem=each.problem)
        for name, each, stem in zip(ids, named, stems_of_files(ids), strict=True)
    ]
    return Listing(items, root, tuple(notes))


def _expanded(arguments: Iterable[str], standard_input: BinaryIO | None) -> Iterator[tuple[str, str]]:
    """Arguments, those on standard input too, and what messages call each."""
    read = False
    for argument in arguments:
        if argument != STANDARD_INPUT:
            yield argument, repr(argument)
            continue
        if standard_input is None or read:
            raise ArgumentError("standard input can be read once: name - once", settings=("images",))
        read = True
        lines = _lines(standard_input.read())
        if not lines:
            raise ArgumentError(
                "standard input names no picture: a path in each line is needed", settings=("images",)
            )
        yield from ((path, f"line {line} of standard input") for line, path in lines)


def _lines(data: bytes) -> list[tuple[int, str]]:
    """The lines of standard input that are not empty, by their numbers."""
    parts = data.split(b"\0") if b"\0" in data else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [(number, os.fsdecode(part)) for number, part in enumerate(parts, 1) if part]


def _split_pattern(argument: str) -> tuple[str, tuple[str, ...]]:
    """The folder before the first name with a wildcard, and the names from there on."""
    parts = argument.replace(os.sep, "/").split("/")
    first = next(place for place, part in enumerate(parts) if MAGIC.search(part))
    folder = "/".join(parts[:first]) or ("/" if first else ".")
    return folder, tuple(part for part in parts[first:] if part)


def _found(
    folder: str, pattern: tuple[str, ...], told: str, out: Path | None, notes: list[str]
) -> Iterator[_Named]:
    """The pictures below a folder, and what cannot be read there."""
    found = search(Path(folder), pattern, out=out)
    left_out = found.left_out()
    if not (found.pictures or found.unreadable):
        hidden = [counted(found.hidden, "hidden name")] if found.hidden else []
        there = f", only {', '.join([*left_out, *hidden])}" if left_out or hidden else ", nor anything else"
        problem = "has no pictures" if pattern == ALL else "matches no picture"
        raise ArgumentError(f"{told} {problem}{there}", settings=("images",))
    if left_out:
        notes.append(f"{told}: left out {', '.join(left_out)}")
    home = os.path.abspath(folder)
    start = "" if folder == "." else folder
    for path in found.pictures:
        yield _Named(os.path.join(start, path), os.path.join(home, path), told)
    for path, error in found.unreadable.items():
        whole = os.path.join(start, path)
        why = ImageError(f"folder {whole!r} cannot be read: {reason(error)}: check its rights")
        yield _Named(whole, os.path.join(home, path), told, why)


def _refuse_twice(named: Iterable[_Named]) -> None:
    by_place: dict[str, _Named] = {}
    for each in named:
        first = by_place.setdefault(each.place, each)
        if first is not each:
            both = (
                first.argument if first.argument == each.argument else f"{first.argument} and {each.argument}"
            )
            raise ArgumentError(
                f"{each.path!r} is named twice, by {both}: name it once", settings=("images",)
            )


def _common(folders: Iterable[str]) -> str:
    try:
        return os.path.commonpath(folders)
    except ValueError:  # of several drives
        return ""


def _relative(named: _Named, root: Path) -> str:
    try:
        return PurePath(named.place).relative_to(root).as_posix()
    except ValueError:
        raise ArgumentError(
            f"{named.path!r} does not lie in {str(root)!r}, from where the run in the output folder names "
            "its pictures: give another output folder",
            settings=("out",),
        ) from None


def from_list(source: Path | BinaryIO) -> Listing:
    """The items of a list: a table with a row for each picture.

    Its columns: `path`, relative to the list's folder, or for a stream to the working one; and as far as they
    are there `id` (else the path is), `target` (index or label, several behind semicolons or as a list;
    empty for those of the run) and `truth`. All others are carried through.

    Args:
        source: a file of CSV, JSON lines or Parquet, by its ending; of any other one, and of a stream, its
            first line tells whether it is CSV with a heading, JSON lines, or a path in each line.

    Raises:
        ArgumentError: the list cannot be read, has no column of paths or no rows, or is torn or damaged; or
            two rows have the same id. The message tells the lines.
        SiseError: it is Parquet, and pyarrow is not installed.
    """
    notes: list[str] = []
    rows = list(read_rows(source, notes))
    if not rows:
        raise ArgumentError(f"{called(source)} has no rows: name a picture in each", settings=("listing",))
    _refuse_same_ids(rows, source)
    folder = folder_of(source)
    stems = _stems_of_rows(rows, folder)
    items = [
        Item(
            id=row.id,
            picture=_picture(folder, row.path),
            stem=stem,
            targets=row.targets,
            truth=row.truth,
            columns=row.columns,
            problem=row.problem,
        )
        for row, stem in zip(rows, stems, strict=True)
    ]
    alone = all(row.id != row.path for row in rows)
    return Listing(items, None if alone else Path(os.path.abspath(folder)), tuple(notes))


def _refuse_same_ids(rows: Iterable[Row], source: Path | BinaryIO) -> None:
    lines: dict[str, int] = {}
    for row in rows:
        first = lines.setdefault(row.id, row.line)
        if first == row.line:
            continue
        same = row.id == row.path
        what = f"are of the same picture, {row.path!r}" if same else f"have the same id, {row.id!r}"
        helps = "give each an id in a column of that name" if same else "give each one of its own"
        raise ArgumentError(
            f"{called(source)}: {unit(source)}s {first} and {row.line} {what}: {helps}", settings=("listing",)
        )


def _picture(folder: Path, path: str) -> Path:
    """Where a picture lies; a list that was made on Windows has other slashes."""
    if "\\" in path and not os.path.lexists(folder / path):
        path = path.replace("\\", "/")
    return folder / path


def _stems_of_rows(rows: Sequence[Row], folder: Path) -> list[str]:
    """By the ids; of pictures without one by their paths, below the list's folder where they lie there."""
    home = f"{os.path.abspath(folder)}{os.sep}"
    names = (row.path.removeprefix(home).replace("\\", "/") if row.id == row.path else row.id for row in rows)
    return stems_of_ids(list(names))
