"""What came of each item of a run: a line of results.jsonl for every explanation, which outlives a crash."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from sise_rt.errors import OutputError, Unwritable
from sise_rt.wording import reason

from . import journal, settings
from .claim import LOCK, Words, claimed
from .map_shards import is_there

RESULTS, SETTINGS = "results.jsonl", "run.json"
SCHEMA = "sise-rt/run/1"
"""What run.json is: the number changes where a line of results changes its meaning."""
EXPLAINING = Words("explains into it", "out")
PATIENCE = 30.0  # seconds that the shards of a run wait for each other's first steps

Status = Literal["failed", "skipped", "done", "no evidence"]
ORDER: tuple[str, ...] = get_args(Status)
"""An item of several parts has the first of these that one of them has."""

Shard = tuple[int, int]
"""Which part of a run, from 1, and of how many."""


class Ledger:
    """The results of a run, or of a shard of it. They belong to this process until `opened` ends.

    Attributes:
        folder: of the run.
        path: the file of the lines.
        statuses: what became of each finished item, by its id.
    """

    def __init__(self, folder: Path, path: Path, statuses: dict[str, str]):
        self.folder, self.path, self.statuses = folder, path, statuses
        self.redone: Counter[str] = Counter()  # items that have older lines, which go when the run ends

    def append(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Add all the lines of an item, on the disk before this returns: all of them or none.

        An item that is finished already is finished anew: its last lines count.

        Raises:
            Unwritable: they cannot be written.
        """
        journal.append(self.path, lines)
        identity = lines[0]["id"]
        if identity in self.statuses:
            self.redone[identity] += 1
        self.statuses[identity] = status_of(line["status"] for line in lines)

    def counts(self) -> Counter[str]:
        """How many items have which status, those of earlier runs included."""
        return Counter(self.statuses.values())


def status_of(statuses: Iterable[str]) -> str:
    """What an item is called whose parts have these."""
    return min(statuses, key=ORDER.index)


@contextmanager
def opened(
    folder: Path,
    of_run: Mapping[str, Any],
    *,
    shard: Shard | None = None,
    retry_failed: bool = False,
) -> Iterator[Ledger]:
    """Start a run in a folder, or go on with it; the folder is this process's until that ends.

    What a crash left goes: a torn line, an item some of whose parts are missing. An item is not finished
    any more, and its lines go, if a file that they name is gone.

    Args:
        folder: is made if missing.
        of_run: all that the results depend on, ready for JSON; see `sise_rt.bulk.settings`. Those of a run
            without any result are replaced.
        shard: which part of the run this is. Others may be under way in the same folder.
        retry_failed: whether items that failed are to be done again: their lines go.

    Raises:
        OutputError: the folder is in use, holds a run with other settings or something else, is damaged, or
            cannot be written.
        ArgumentError: a setting is not finite.
    """
    kept = {"schema": SCHEMA, **of_run, "shards": shard[1] if shard else None}
    path = folder / results_name(shard)
    with claimed(folder, lock_name(shard), words=EXPLAINING):
        if shard is None:
            _settle(folder, path, kept)
        else:  # whose settings are all the same, and are written by one of them
            with claimed(folder, words=EXPLAINING, patience=PATIENCE):
                _settle(folder, path, kept)
        try:
            ledger = Ledger(folder, path, _finished(folder, path, retry_failed=retry_failed))
            yield ledger
        finally:
            with suppress(OSError):
                if not path.stat().st_size:
                    path.unlink()  # a run that has not begun binds nobody to its settings
        if ledger.redone:
            _rewrite(path, ledger.redone, set())


def results_name(shard: Shard | None = None) -> str:
    """What the file of a run's lines is called: `results.jsonl`, `results-3-of-8.jsonl`."""
    return RESULTS if shard is None else f"results-{shard[0]}-of-{shard[1]}.jsonl"


def lock_name(shard: Shard | None = None) -> str:
    """What the lock of a run, or of a shard, is called."""
    return LOCK if shard is None else f"{LOCK.removesuffix('.lock')}.{shard[0]}-of-{shard[1]}.lock"


def result_files(folder: Path) -> list[Path]:
    """The files of lines that a folder has: one, or one a shard, in the order of the shards."""
    found = {}
    for path in folder.glob("results*.jsonl"):
        if match := re.fullmatch(r"results(?:-(\d+)-of-(\d+))?\.jsonl", path.name):
            found[path] = tuple(int(number or 0) for number in match.groups())
    return sorted(found, key=lambda path: found[path])


def has_run(folder: Path) -> bool:
    """Whether a folder holds a run; one that was refused before its first result is none."""
    return (folder / SETTINGS).is_file() and any(path.stat().st_size for path in result_files(folder))


def root_of_run(folder: Path) -> Path | None:
    """From where the run in a folder names its pictures; None where it has none, or nobody can tell.

    Raises:
        OutputError: the folder cannot be read.
    """
    before = settings.kept(folder / SETTINGS) if has_run(folder) else None
    try:
        root = json.loads(before or b"{}")["root"]
    except (
        ValueError,
        TypeError,
        KeyError,
        RecursionError,
    ):  # what is damaged is told when the run is opened
        return None
    return Path(root) if isinstance(root, str) else None


def read_results(folder: Path, shard: Shard | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a run, one after the other, whether it is finished or under way; see `result.schema.json`.

    Lines of items whose parts are not all there are passed over, and those of items that were done anew.

    Args:
        folder: of the run.
        shard: the one whose lines are read; None reads all of them.

    Raises:
        OutputError: a file cannot be read, or is damaged.
    """
    for path in result_files(folder) if shard is None else [folder / results_name(shard)]:
        times = Counter(group.id for group in _groups(path) if group.whole)
        older = Counter({identity: count - 1 for identity, count in times.items() if count > 1})
        for group in _current(path, older):
            for line in group.lines:
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise OutputError(f"{path}: the line of {group.id!r} is damaged ({error})") from error


def _settle(folder: Path, path: Path, of_run: Mapping[str, Any]) -> None:
    """See to it that the settings of a run are those of the folder, and that its file is there."""
    file = folder / SETTINGS
    content, before = settings.in_json(of_run), settings.kept(file)
    present = result_files(folder)
    if before is None and present:
        raise OutputError(
            f"{folder} has {present[0].name} and no {SETTINGS}: give another folder", settings=("out",)
        )
    started = any(other != path or other.stat().st_size for other in present)
    settings.keep(file, content, before, started=started, what="a run", setting="out")
    try:
        path.touch()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}", settings=("out",)) from error


class _Head(msgspec.Struct):
    """What of a line tells whether its item is finished."""

    id: str
    status: Status
    part: tuple[int, int]
    files: list[str]


class _Group(NamedTuple):
    """The lines that were written of an item at once.

    Attributes:
        id: of the item.
        heads: of the lines.
        lines: as they stand in the file.
        end: of the last one, in bytes from the beginning of the file.
    """

    id: str
    heads: list[_Head]
    lines: list[bytes]
    end: int

    @property
    def whole(self) -> bool:
        """Whether all the parts of the item are there."""
        parts = [head.part for head in self.heads]
        return parts == [(number, len(parts)) for number in range(1, len(parts) + 1)]


def _head(line: bytes) -> tuple[_Head, bytes]:
    try:
        return _HEADS.decode(line), line
    except msgspec.DecodeError:  # msgspec refuses names that are no UTF-8
        return msgspec.convert(json.loads(line), _Head), line


_HEADS = msgspec.json.Decoder(_Head)


def _groups(path: Path) -> Iterator[_Group]:
    group: _Group | None = None
    for end, (head, line) in journal.read(path, _head):
        if group is not None and group.id == head.id and head.part[0] != 1:
            group.heads.append(head)
            group.lines.append(line)
            group = group._replace(end=end)
            continue
        if group is not None:
            yield group
        group = _Group(head.id, [head], [line], end)
    if group is not None:
        yield group


def _current(path: Path, older: Counter[str], dropped: Container[str] = ()) -> Iterator[_Group]:
    """The groups that count: `older` tells how many of an item's do not, which are its first ones."""
    left = Counter(older)
    for group in _groups(path):
        if not group.whole or group.id in dropped:
            continue
        if left[group.id]:
            left[group.id] -= 1
        else:
            yield group


def _finished(folder: Path, path: Path, *, retry_failed: bool) -> dict[str, str]:
    """What became of each item that needs not be done again; the lines of all others go."""
    statuses: dict[str, str] = {}
    older: Counter[str] = Counter()
    dropped: set[str] = set()
    end, torn, inside = 0, False, False
    for group in _groups(path):
        if not group.whole:
            torn = True
            continue
        end, inside = group.end, torn
        if group.id in statuses or group.id in dropped:
            older[group.id] += 1
        status = status_of(head.status for head in group.heads)
        if (retry_failed and status == "failed") or not _all_there(folder, group):
            statuses.pop(group.id, None)
            dropped.add(group.id)
        else:
            dropped.discard(group.id)
            statuses[group.id] = status
    if inside or older or dropped:
        _rewrite(path, older, dropped)
    else:
        journal.cut(path, end)
    return statuses


def _all_there(folder: Path, group: _Group) -> bool:
    return all(is_there(os.path.join(folder, name)) for head in group.heads for name in head.files)


def _rewrite(path: Path, older: Counter[str], dropped: Container[str]) -> None:
    """Leave the lines that count, and no others; the file is as it was until all of them are written."""
    beside = path.with_name(f".{path.name}.tmp")  # the same after a crash, so that it does not stay
    try:
        with beside.open("wb") as file:
            for group in _current(path, older, dropped):
                file.writelines(group.lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise Unwritable(f"{path} cannot be written: {reason(error)}; what was finished is kept") from error
    finally:
        with suppress(OSError):
            beside.unlink()  # gone already, where all went well
