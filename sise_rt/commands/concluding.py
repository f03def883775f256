"""The end of a run of `sise-rt explain`: what became of all of it, in counts, in a table, and in pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sise_rt.bulk.claim import claimed
from sise_rt.bulk.items import DONE, FAILED, NO_EVIDENCE, SKIPPED, Item
from sise_rt.bulk.ledger import EXPLAINING, Ledger, Shard, lock_name, read_results, results_name
from sise_rt.bulk.overview.pages import FIRST, write_overview
from sise_rt.bulk.table import of_shard, write_table, write_table_with_maps
from sise_rt.errors import OutputError
from sise_rt.wording import counted

from .console import complain, say
from .writing_options import Writing

RESUME = "the same command, given again, goes on where this run ended"
AGAIN = "--retry-failed tries again"
NAMES = {DONE: "done", NO_EVIDENCE: "without evidence", SKIPPED: "skipped", FAILED: "failed"}


def conclude(
    ledger: Ledger, writing: Writing, shard: Shard | None, settings: Mapping[str, Any], items: Sequence[Item]
) -> bool:
    """Write what shows the whole run, and say what became of it; gives whether any of the items failed.

    Where no items are listed, as of a stream, all that the run has are meant.

    Each shard has a table of its own. The overview is of all of them: the one that ends last writes it.

    Raises:
        OutputError: a file cannot be written.
    """
    counts, written = ledger.counts(), []
    if writing.table is not None:
        written.append(_tabulate(writing, writing.table, shard))
    if writing.overview and (shard is None or _is_last(writing.out, shard)):
        write_overview(writing.out, read_results(writing.out), settings, resume=RESUME)
        written.append(writing.out / FIRST)
    if counts and not writing.silent:
        told = ", ".join(f"{counts[status]} {name}" for status, name in NAMES.items() if counts[status])
        say(f"{ledger.path}: {told}", *map(str, written))
    named = Counter(ledger.statuses.get(item.id) for item in items) if items else counts
    if named[FAILED]:
        complain(f"{named[FAILED]} of {counted(named.total(), 'image')} failed; {AGAIN}")
    return bool(named[FAILED])


def _tabulate(writing: Writing, table: Path, shard: Shard | None) -> Path:
    """Write the run, or the shard, as a table; gives its file."""
    path, lines = of_shard(table, shard), partial(read_results, writing.out, shard)
    if writing.maps == "table":
        write_table_with_maps(path, lines, writing.out)
    else:
        write_table(path, lines)
    return path


def _is_last(out: Path, shard: Shard) -> bool:
    """Whether all other shards of a run have begun, and none is under way."""
    number, count = shard
    others = [(other, count) for other in range(1, count + 1) if other != number]
    return all((out / results_name(other)).exists() and _is_free(out, other) for other in others)


def _is_free(out: Path, shard: Shard) -> bool:
    try:
        with claimed(out, lock_name(shard), words=EXPLAINING):
            return True
    except OutputError:
        return False
