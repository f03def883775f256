"""Parts of a run's results: files of Parquet in the output folder, each whole and written by one actor."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sise_rt.bulk.ledger import read_results
from sise_rt.errors import OutputError, Unwritable
from sise_rt.wording import reason

if TYPE_CHECKING:
    import pyarrow

    from sise_rt.bulk.ledger import Ledger

PARTS = "parts"
LINE = "line"  # the column with the line of results.jsonl


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


class Mended(NamedTuple):
    """What was to be done to the parts of a run that somebody killed.

    Attributes:
        taken_up: how many items they had that the ledger did not know.
        torn: parts that were not whole, and are removed.
    """

    taken_up: int
    torn: list[str]


def mend(ledger: Ledger) -> Mended:
    """See to it that ledger and parts tell the same: every item that is done once, in the part its line names.

    Parts that the ledger does not know are taken up: the process that keeps it was killed while an actor
    wrote on. What is torn goes, and so do rows of items that are done in another part, or were done anew.

    Args:
        ledger: of the run, whose parts lie in its folder.

    Raises:
        OutputError: a part cannot be read or replaced.
    """
    folder, torn, taken_up = ledger.folder / PARTS, [], 0
    for path in (*folder.glob(".*.tmp"), *folder.glob(".*.attempt")):
        path.unlink(missing_ok=True)  # of actors that were killed
    paths = sorted(folder.glob("*.parquet"))
    kept = _named(ledger.folder)
    for path in paths:
        name = f"{PARTS}/{path.name}"
        rows = _rows(path)
        if rows is None:
            torn.append(name)
            path.unlink()
            continue
        if rows == len(kept[name]):
            continue
        groups = by_item(_lines(path))
        for group in groups:
            if group[0]["id"] not in ledger.statuses:
                ledger.append(group)
                kept[name] += [line["id"] for line in group]
                taken_up += 1
        if rows != len(kept[name]):
            _leave(path, kept[name])
    return Mended(taken_up, torn)


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


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a part, in their order."""
    from pyarrow import ArrowException, parquet

    try:
        return [json.loads(line) for line in parquet.read_table(path, columns=[LINE])[LINE].to_pylist()]
    except (ArrowException, OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read ({reason(error)}): remove it to redo its items") from error


def _leave(path: Path, ids: Collection[str]) -> None:
    """Leave the rows of some items in a part; one without any goes."""
    from pyarrow import array, parquet

    if not ids:
        path.unlink()
        return
    table = parquet.read_table(path)
    stay = [json.loads(line)["id"] in ids for line in table[LINE].to_pylist()]
    write_part(path.parents[1], f"{PARTS}/{path.name}", table.filter(array(stay)))


def by_item(lines: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Lines, in their order, by the item that they belong to."""
    groups: list[list[dict[str, Any]]] = []
    for line in lines:
        if line["part"][0] == 1:
            groups.append([])
        groups[-1].append(line)
    return groups
