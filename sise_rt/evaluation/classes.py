"""The data set's classes become the model's."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sise_rt.bundle import Manifest
from sise_rt.errors import TargetError
from sise_rt.targets import resolve_target

from .samples import MAX_ANNOTATION, DataError, read_limited

RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")


def read_class_map(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a table without header: the data set's class, then labels, indices or ranges `151-268`.

    Raises:
        DataError: it is no such table, or a class is in it twice.
    """
    table: dict[str, tuple[str, ...]] = {}
    try:
        text = read_limited(path, MAX_ANNOTATION).decode("utf-8-sig")
        for line in csv.reader(io.StringIO(text, newline="")):
            name, *targets = (cell.strip() for cell in line) if line else ("",)
            if not name and not any(targets):
                continue
            if name in table:
                raise DataError(f"{path}: {name!r} is there twice: put all its targets on one line")
            if not name or not any(targets):
                raise DataError(
                    f"{path}: a line needs a class and at least one target: {','.join(line)[:100]!r}"
                )
            table[name] = tuple(filter(None, targets))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no text in UTF-8 at byte {error.start + 1}") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no table in CSV: {error}") from error
    return table


def match_classes(
    names: Iterable[str], manifest: Manifest, class_map: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The model's classes for each of the data set's.

    Args:
        names: the data set's classes.
        manifest: of the bundle.
        class_map: what the user says of some of them; the others are matched as `resolve_target` does.

    Returns:
        Class indices, sorted, for each class that the model has; and for each that it lacks, why.

    Raises:
        TargetError: the class map names a target that is no class of the model.
    """
    matched: dict[str, tuple[int, ...]] = {}
    missing: dict[str, str] = {}
    for name in names:
        if name in class_map:
            indices = {index for text in class_map[name] for index in _indices(text, manifest)}
            matched[name] = tuple(sorted(indices))
            continue
        try:
            matched[name] = (resolve_target(name, manifest),)
        except TargetError as error:
            missing[name] = str(error)
    return matched, missing


def _indices(text: str, manifest: Manifest) -> Iterable[int]:
    match = RANGE.fullmatch(text)
    if match is None or text in manifest.labels:
        return (resolve_target(text, manifest),)
    first, last = (resolve_target(f"index:{end}", manifest) for end in match.groups())
    if first > last:
        raise TargetError(f"target range {text!r} ends before it starts")
    return range(first, last + 1)
