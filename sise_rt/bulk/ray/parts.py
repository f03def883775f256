"""Parts of a run's results: files of Parquet in the output folder, each whole and written by one actor."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sise_rt.bulk.ledger import Ledger, read_results
from sise_rt.bulk.table_columns import escaped
from sise_rt.errors import OutputError, Unwritable
from sise_rt.wording import counted, reason

if TYPE_CHECKING:
    import pyarrow

PARTS = "parts"
LISTED = 3  # parts that are named


def part_name(ids: Sequence[str]) -> str:
    """What the part of these items is called, below the output folder.

    The same items make the same name: a batch that is done again, as its actor died, replaces what is there.
    """
    text = "\0".join(ids).encode("utf-8", "surrogatepass")
    return f"{PARTS}/{hashlib.sha256(text).hexdigest()[:20]}.parquet"


def note_of(name: str) -> str:
    """What the note is called that is beside a part while it is worked at, see `with_care`."""
    return name.replace(f"{PARTS}/", f"{PARTS}/.").replace(".parquet", ".attempt")


def write_part(folder: Path, name: str, table: pyarrow.Table) -> None:
    """Write a part; it is either there and whole, or as it was before.

    Raises:
        Unwritable: it cannot be written: the next one could not either.
    """
    from pyarrow import ArrowException, parquet

    path = folder / name
    beside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, ArrowException) as error:
        raise Unwritable(
            f"{str(path)!r} cannot be written: {reason(error)}; what was finished is kept"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()  # gone already, where all went well


def mend(ledger: Ledger) -> list[str]:
    """See to it that ledger and parts tell the same: what is done is there once, in the part its line names.

    The ledger says what is done. Parts and rows that it does not know go: its process was killed before it
    had their lines. Items of a part that is torn are not finished any more.

    Args:
        ledger: of the run, whose parts lie in its folder.

    Returns:
        What was removed, a line for each kind.

    Raises:
        OutputError: a part cannot be read or replaced.
    """
    folder = ledger.folder / PARTS
    for path in (*folder.glob(".*.tmp"), *folder.glob(".*.attempt")):
        path.unlink(missing_ok=True)  # of actors that were killed
    named = _named(ledger.folder)
    torn: list[str] = []
    unknown: list[str] = []
    for path in sorted(folder.glob("*.parquet")):
        ids = named[f"{PARTS}/{path.name}"]
        rows = _rows(path)
        if rows is not None and rows == len(ids):
            continue
        (torn if rows is None else unknown).append(path.name)
        if rows is None or not ids:
            path.unlink()
        else:
            _leave(path, {escaped(name) for name in ids})
        if rows is None:
            for name in ids:
                ledger.statuses.pop(name, None)
    return [
        *_told(torn, "torn part"),
        *_told(unknown, "part", "whose items, all or some, a killed run had not noted"),
    ]


def _told(names: Sequence[str], noun: str, more: str = "") -> list[str]:
    if not names:
        return []
    listed = ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
    return [f"removed {counted(len(names), noun)} {more and more + ' '}({listed})"]


def _named(folder: Path) -> defaultdict[str, list[str]]:
    """By the name of each part, the ids of the lines that name it."""
    named: defaultdict[str, list[str]] = defaultdict(list)
    for line in read_results(folder):
        for name in line["files"]:
            named[name].append(line["id"])
    return named


def _rows(path: Path) -> int | None:
    """How many rows a part has; None where it is torn."""
    from pyarrow import ArrowException, parquet

    try:
        return parquet.read_metadata(path).num_rows
    except ArrowException:
        return None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {reason(error)}") from error


def _leave(path: Path, ids: Collection[str]) -> None:
    """Leave the rows of some items in a part."""
    from pyarrow import array, bool_, parquet

    table = parquet.read_table(path)
    stay = [name in ids for name in table["id"].to_pylist()]
    write_part(path.parents[1], f"{PARTS}/{path.name}", table.filter(array(stay, bool_())))
