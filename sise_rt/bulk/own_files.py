"""The names that a run has taken where it keeps no records, by which results are known otherwise.

Killed while it writes, such a run leaves files that nothing tells of; it knows them by their names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sise_rt.errors import OutputError
from sise_rt.files import append_whole
from sise_rt.foreign import refuse_foreign
from sise_rt.wording import reason

NAMES = ".sise-rt.names"


class OwnFiles:
    """The base names that a run has taken, a line of JSON each.

    Args:
        folder: of the run, which exists.
        part: the number of this run and how many share the work.

    Raises:
        OutputError: the names of an earlier run cannot be read.
    """

    def __init__(self, folder: Path, part: tuple[int, int] = (1, 1)):
        self._path = folder / (NAMES if part[1] == 1 else f"{NAMES}-{part[0]}-of-{part[1]}")
        try:
            content = self._path.read_bytes() if self._path.exists() else b""
            whole = content.rfind(b"\n") + 1
            if whole < len(content):  # torn: its files were not begun
                os.truncate(self._path, whole)
            self._names: set[str] = set(map(json.loads, content[:whole].splitlines()))
        except (OSError, ValueError, TypeError) as error:
            raise OutputError(f"{str(self._path)!r} cannot be read: {reason(error)}: delete it") from error

    def __contains__(self, base: object) -> bool:
        """Whether the run has taken a base name."""
        return base in self._names

    def protect(self, folder: Path, base: str, record: Mapping[str, Any]) -> None:
        """As `refuse_foreign`, but that a name stays the run's once it has taken it.

        Raises:
            OutputError: there are other files of that name; or the name cannot be kept.
        """
        refuse_foreign(folder, base, record, ours=self)
        if base in self._names:
            return
        append_whole(self._path, json.dumps(base).encode() + b"\n")
        self._names.add(base)
