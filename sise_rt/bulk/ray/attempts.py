"""Batches that processes died of: what was at work then, so that one picture does not end a run.

Ray does the batch of a dead actor again, for ever. A file beside the batch's part tells the next one what the
last one was at. From then on items are read one by one, as otherwise it might have been the one that was read
ahead, and one that was at work in two deaths is not tried a third time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sise_rt.bulk.items import Item
from sise_rt.errors import ImageError
from sise_rt.files import write_whole

DEATHS = 2  # of the processes that an item was alone at work in, before it is not tried again

Result = TypeVar("Result")


def with_care(
    note: Path, items: Iterable[Item], work: Callable[[Iterable[Item]], list[Result]]
) -> list[Result]:
    """Take a batch through the work; where processes died of it before, one item after the other.

    Args:
        note: the file that tells the next process; it goes when this ends and the process goes on.
        items: of the batch.
        work: gives a result for each of the items that it is given.
    """
    with _noted(note) as deaths:
        if deaths is None:
            return work(items)
        results: list[Result] = []
        for item in items:
            write_whole(note, json.dumps([item.id, deaths]).encode())
            results += work([_refused(item) if deaths.get(item.id, 0) >= DEATHS else item])
        return results


@contextmanager
def _noted(note: Path) -> Iterator[dict[str, int] | None]:
    """A context in which a death leaves the note; gives how many an item had, None before the first."""
    deaths = _deaths(note)
    if deaths is None:
        write_whole(note, json.dumps([None, {}]).encode())
    try:
        yield deaths
    finally:
        note.unlink(missing_ok=True)


def _deaths(note: Path) -> dict[str, int] | None:
    with suppress(OSError, ValueError):
        at, deaths = json.loads(note.read_bytes())
        return deaths | ({at: deaths.get(at, 0) + 1} if at is not None else {})
    return None


def _refused(item: Item) -> Item:
    """The same item, failed."""
    return replace(
        item,
        problem=ImageError(
            f"{item.id}: the process ended {DEATHS} times while it was explained: it may need more memory "
            "than a node has, or be made to crash a decoder"
        ),
    )
