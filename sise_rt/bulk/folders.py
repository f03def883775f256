"""The pictures below a folder: all of them, or those that match a pattern; results of ours are none."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from sise_rt.errors import ArgumentError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import counted, reason

from .earlier_results import holds_run, results_among, unrecorded

ALL: tuple[str, ...] = ("**",)
FEW = 5  # endings that are told


@dataclass
class Found:
    """What lies below a folder.

    Attributes:
        pictures: by their endings; paths from the folder, with forward slashes, sorted.
        unreadable: folders whose content the system does not show, and why.
        others: how many files have which other ending.
        results: how many files and folders are results of ours.
        links: how many links lead to folders, which are not followed: they may lead round in circles.
        hidden: how many names begin with a dot.
    """

    pictures: list[str] = field(default_factory=list)
    unreadable: dict[str, OSError] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    results: int = 0
    links: int = 0
    hidden: int = 0

    def left_out(self) -> list[str]:
        """What was found besides, in words; hidden files are nobody's pictures."""
        endings = ", ".join(f"{ending} {count}" for ending, count in self.others.most_common(FEW))
        more = ", ..." if len(self.others) > FEW else ""
        told = {
            f"{counted(self.others.total(), 'file')} of other endings ({endings}{more})": self.others,
            f"{counted(self.results, 'result')} of sise-rt": self.results,
            f"{counted(self.links, 'link')} to folders, which are not followed": self.links,
        }
        return [text for text, there in told.items() if there]


def search(folder: Path, pattern: Sequence[str] = ALL, *, out: Path | None = None) -> Found:
    """Look for pictures below a folder.

    Args:
        folder: with its subfolders; a link to one is followed here, and nowhere below.
        pattern: of names from the folder on; `*`, `?` and `[...]` stand for parts of a name, `**` for any
            number of folders. One that matches a subfolder stands for all below that.
        out: a folder of results; where it lies below, it is left out.

    Raises:
        ArgumentError: the folder is missing or cannot be read.
    """
    found, listed = Found(), unrecorded(folder)
    waiting = [("", _after({0}, pattern))]
    while waiting:
        below, reached = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                here = {entry.name: entry for entry in entries}
        except (OSError, ValueError) as error:  # ValueError: a null character
            if not below or not isinstance(error, OSError):
                raise ArgumentError(
                    f"{str(folder)!r} cannot be read: {reason(error)}: check the path and its rights",
                    settings=("images",),
                ) from error
            found.unreadable[below] = error
            continue
        if below and holds_run(here):
            found.results += 1
            continue
        results = results_among(folder / below, here)
        for name, entry in here.items():
            if name.startswith("."):
                found.hidden += 1
                continue
            if not (matched := _step(reached, name, pattern)):
                continue
            path = f"{below}/{name}" if below else name
            if entry.is_dir(follow_symlinks=False):
                if out is not None and _same(entry.path, out):
                    found.results += 1
                else:
                    waiting.append((path, matched))
            elif entry.is_symlink() and os.path.isdir(entry.path):
                found.links += 1
            elif len(pattern) not in matched:
                continue
            elif name in results or path in listed:
                found.results += 1
            elif (ending := os.path.splitext(name)[1].lower()) in PICTURES:
                found.pictures.append(path)
            else:
                found.others[ending or "none"] += 1
    found.pictures.sort()
    return found


def _same(folder: str, other: Path) -> bool:
    try:
        return os.path.samefile(folder, other)
    except (OSError, ValueError):  # it is not made yet
        return False


def _step(reached: Collection[int], name: str, pattern: Sequence[str]) -> frozenset[int]:
    """How much of a pattern is matched with one name more; all of it stays so, as it stands for a folder."""
    following = {at for at in reached if at == len(pattern) or pattern[at] == "**"}
    following |= {at + 1 for at in reached if at < len(pattern) and fnmatch(name, pattern[at])}
    return _after(following, pattern)


def _after(reached: set[int], pattern: Sequence[str]) -> frozenset[int]:
    """The same where `**` stands for no folder."""
    for at, part in enumerate(pattern):
        if at in reached and part == "**":
            reached.add(at + 1)
    return frozenset(reached)
