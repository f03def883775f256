"""Which files that lie among pictures are results of earlier explanations."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from sise_rt.foreign import read_result
from sise_rt.naming import COMPARE_SUFFIX, ENDINGS, METHODS_SUFFIX

from . import journal
from .ledger import SETTINGS, has_run, result_files

LARGEST_RECORD = 1 << 20  # bytes; annotations beside pictures may hold whole pictures


def holds_run(names: Collection[str]) -> bool:
    """Whether a folder of such names holds a run: results, and what they depend on."""
    return SETTINGS in names and any(n.startswith("results") and n.endswith(".jsonl") for n in names)


class _Files(msgspec.Struct):
    """What of a line of a run tells its files."""

    files: list[str]


def unrecorded(folder: Path) -> set[str]:
    """The files below a folder that runs in it, or above it, have written without a record beside them.

    Returns:
        Paths from the folder, with forward slashes.

    Raises:
        OutputError: the results of such a run cannot be read, or are damaged.
    """
    decoder = msgspec.json.Decoder(_Files)
    home = Path(os.path.abspath(folder))
    found: set[str] = set()
    for run in filter(has_run, (home, *home.parents)):
        below = "".join(f"{part}/" for part in home.relative_to(run).parts)
        for path in result_files(run):
            for _, line in journal.read(path, decoder.decode):
                if not any(file.endswith(".json") for file in line.files):
                    found.update(file[len(below) :] for file in line.files if file.startswith(below))
    return found


def results_among(folder: Path, names: Collection[str]) -> set[str]:
    """The names in a folder that are results, by the records beside them."""
    records = _Records(folder, names)
    return {name for name in names if name.endswith(ENDINGS) and records.tell(name)}


class _Records:
    """The files of a folder that may be records, each looked into once."""

    def __init__(self, folder: Path, names: Collection[str]):
        self._folder = folder
        self._candidates = sorted(name for name in names if name.endswith(".json"))
        self._known: dict[str, bool] = {}

    def tell(self, name: str) -> bool:
        """Whether a file is a result."""
        ending = next(ending for ending in ENDINGS if name.endswith(ending))
        base = name.removesuffix(ending)
        if ending in (METHODS_SUFFIX, COMPARE_SUFFIX):  # which have the records of what is in them
            return any(map(self._is_record, self._beginning(base)))
        return self._is_record(f"{base}.json")

    def _beginning(self, base: str) -> Iterator[str]:
        """Candidates that begin with the stem and the target of a name, wherever its stem ends."""
        while "." in base:
            at = bisect_left(self._candidates, f"{base}.")
            while at < len(self._candidates) and self._candidates[at].startswith(f"{base}."):
                yield self._candidates[at]
                at += 1
            base = base.rpartition(".")[0]

    def _is_record(self, name: str) -> bool:
        at = bisect_left(self._candidates, name)
        if self._candidates[at : at + 1] != [name]:
            return False
        if name not in self._known:
            path = self._folder / name
            try:
                small = path.stat().st_size <= LARGEST_RECORD
            except OSError:
                small = False
            self._known[name] = small and read_result(path) is not None
        return self._known[name]
