"""That a result replaces nothing but an earlier result of the same thing."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .errors import OutputError
from .naming import COMPARE_SUFFIX, ENDINGS, METHODS_SUFFIX, SUFFIXES, short_names
from .wording import reason


class Result(NamedTuple):
    """What a record is the record of. All but the settings tell whose result it is.

    Attributes:
        picture: its name.
        model: the bundle's name.
        target: `index` and `label`.
        method: its name.
        settings: of the method.
    """

    picture: Any
    model: Any
    target: Any
    method: Any
    settings: Mapping[str, Any]


SAME = Result._fields[:-1]
TOGETHER = {METHODS_SUFFIX, COMPARE_SUFFIX}  # endings of what has no record of its own


def refuse_foreign(
    folder: Path, base: str, record: Mapping[str, Any], *, ours: Container[str] = frozenset()
) -> None:
    """See to it that saving a result replaces nothing but an earlier one of the same picture and target.

    Args:
        folder: where it is saved.
        base: from `base_name`.
        record: of the result that is to be saved.
        ours: base names whose files may be replaced, whatever they are.

    Raises:
        OutputError: a file of that name is no result, or one of another picture, model, target or method.
    """
    names = [f"{base}{suffix}" for suffix in SUFFIXES]
    present = [folder / name for name in names if os.path.lexists(folder / name)]
    if not present or base in ours:
        return
    before, now = read_result(folder / f"{base}.json"), result_of(record)
    if before is None or now is None:
        raise OutputError(
            f"{str(present[0])!r} exists already and is no result of this kind, or one that nothing "
            "is recorded of, so it stays as it is: choose another folder, or delete it"
        )
    for key in SAME:
        there = getattr(before, key)
        if _plain(key, there) != _plain(key, getattr(now, key)):
            raise OutputError(
                f"{str(present[0])!r} is a result of another {key} ({_told(there)}), so it stays "
                "as it is: choose another folder, or delete it"
            )


def refuse_foreign_files(
    folder: Path, pictures: Iterable[tuple[str, str]], targets: Iterable[int], *, ours: Container[str] = ()
) -> None:
    """Find out before the work whether results of these pictures would replace something else.

    Each folder below `folder` is listed once, however many pictures have their results in it.

    Args:
        folder: where they will be saved.
        pictures: of each the stem of its results and its name, as records have it.
        targets: class indices that may be explained.
        ours: as for `refuse_foreign`.

    Raises:
        OutputError: a file that a result may be called like is none, or one of another picture.
    """
    wanted, listed = {str(target) for target in targets}, {}
    for stem, picture in pictures:
        for name in dict.fromkeys(short_names(stem)):
            above = name.rpartition("/")[0]
            if above not in listed:
                listed[above] = _listed(folder, above, wanted)
            bases = listed[above].get(name, {})
            for base, endings in bases.items():
                if base not in ours and not _is_of(folder, name, base, bases, picture):
                    raise OutputError(
                        f"{str(folder / base) + endings[0]!r} exists already and is no result of {picture}, "
                        "which could replace it: choose another folder",
                        settings=("out",),
                    )


def _listed(folder: Path, above: str, targets: Collection[str]) -> dict[str, dict[str, list[str]]]:
    """The files of a folder that may be results: by stem, and by base name; of each the endings."""
    found: dict[str, dict[str, list[str]]] = {}
    try:
        names = sorted(os.listdir(folder / above))
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        raise OutputError(
            f"folder {str(folder / above)!r} cannot be read: {reason(error)}: choose another one",
            settings=("out",),
        ) from error
    for name in names:
        ending = next((end for end in ENDINGS if name.endswith(end)), None)
        if ending is not None:
            base = "/".join(filter(None, (above, name[: -len(ending)])))
            for stem in _stems(base, targets):
                found.setdefault(stem, {}).setdefault(base, []).append(ending)
    return found


def _stems(base: str, targets: Collection[str]) -> Iterator[str]:
    """What may be the stem in a base name: what stands before a target."""
    at = base.find(".")
    while at >= 0:
        following = base.find(".", at + 1)
        if base[at + 1 : following if following >= 0 else None] in targets:
            yield base[:at]
        at = following


def _is_of(folder: Path, stem: str, base: str, bases: Mapping[str, Collection[str]], picture: str) -> bool:
    """Whether the files of a base name, one of those of a stem, are results of a picture."""
    endings, recorded = {*bases[base]}, []
    if endings - TOGETHER:
        recorded.append([base])
    if endings & TOGETHER:
        target = ".".join((stem, base[len(stem) + 1 :].split(".")[0]))
        recorded.append([name for name in bases if name == target or name.startswith(f"{target}.")])
    return all(
        _plain("picture", picture)
        in {_plain("picture", result.picture) for result in map(partial(_result, folder), names) if result}
        for names in recorded
    )


def _result(folder: Path, base: str) -> Result | None:
    return read_result(folder / f"{base}.json")


def other_settings(folder: Path, base: str, settings: Mapping[str, Any]) -> list[str]:
    """What settings an earlier result of that name had, where they differ from these: `mu 0.3`."""
    before = read_result(folder / f"{base}.json")
    if before is None:
        return []
    there = before.settings
    return [f"{name} {there[name]}" for name in settings if name in there and there[name] != settings[name]]


def read_result(path: Path) -> Result | None:
    """What an earlier result is of, by its record; None for a file that is none."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # ValueError: no JSON, or no UTF-8
        return None
    return result_of(record)


def result_of(record: Any) -> Result | None:
    """What a record is of, also one of an earlier release; None of anything else."""
    match record:
        case {
            "schema": str(),
            "picture": {"name": picture},
            "bundle": {"name": model},
            "target": target,
            "method": method,
            "settings": dict() as settings,
        }:
            return Result(picture, model, target, method, settings)
        case {"image": picture, "model": model, "target": target, "method": method}:
            return Result(picture, model, target, method, record)  # in which settings lay flat
    return None


def _plain(key: str, value: Any) -> Any:
    """A picture by where it lies, as far as its name tells that."""
    return os.path.abspath(value) if key == "picture" and isinstance(value, str) else value


def _told(value: Any) -> str:
    return str(value.get("label", value) if isinstance(value, dict) else value)
