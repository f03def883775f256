"""A run whose items are explained by actors of Ray, and whose ledger is kept here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.ledger import Ledger
from sise_rt.bulk.lines import lines_of
from sise_rt.errors import ArgumentError
from sise_rt.files import make_folder
from sise_rt.wording import counted

from .attempts import with_care
from .cluster import connected, reported, require_shared
from .given import item_row, items_of
from .parts import LINE, PARTS, Mended, by_item, mend, note_of, part_name, write_part
from .reading import Finished, Stream, as_items, dataset_of, ids_of
from .results import results
from .shipping import ship
from .stage import Explain, Found

if TYPE_CHECKING:
    import pyarrow

Tell = Callable[[list[dict[str, Any]]], None]
"""Takes the lines of an item that is finished, once they are in the ledger."""

MOST_THREADS = 4  # of an actor, where nobody says: more gain little, and a model each costs memory
IN_PARTS, LARGEST_PART = 1000, 256  # parts of a run, about, and rows of one


@dataclass(frozen=True)
class Plan:
    """How the work is dealt out.

    Attributes:
        address: of the cluster, see `connected`.
        workers: actors; None takes as many as the cluster has room for.
        threads: of each; None takes up to four, as many as the smallest node has.
        gpus: of each, as 1 or 0.25.
        ship_bundle: whether the bundle goes to the nodes by way of Ray; else its folder is one of theirs too.
        part_rows: rows of a part, which a killed run loses at most of each actor; None chooses by the run.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    gpus: float = 0
    ship_bundle: bool = False
    part_rows: int | None = None


class IntoParts:
    """An actor's work in a run: explains a batch, writes its part, and gives the lines.

    Args:
        folder: of the run, which every node reaches.
        explain: arguments of `Explain`.
        done: what is left out of a stream.
    """

    def __init__(self, folder: Path, explain: Mapping[str, Any], done: Finished | None = None):
        self._folder, self._explain, self._done = folder, Explain(**explain), done

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Takes a table with the column `item`, and perhaps `bytes`; gives one with the column `line`."""
        import pyarrow

        batch = as_items(batch)
        if self._done is not None:
            batch = self._done.left(batch)
        name = part_name(ids_of(batch))
        found = with_care(self._folder / note_of(name), items_of(batch), self._explain.found)
        kept = [of_item for of_item in found if of_item[0].line["asked"] is not None]
        for one in chain.from_iterable(kept):
            one.line["files"].append(name)
        if kept:
            write_part(self._folder, name, results(kept).append_column(LINE, _in_json(kept)))
        return pyarrow.table({LINE: _in_json(found)})


def _in_json(found: Sequence[Sequence[Found]]) -> pyarrow.Array:
    """The lines, ready for the ledger."""
    import pyarrow

    lines = [json.dumps(one.line, allow_nan=False) for of_item in found for one in of_item]
    return pyarrow.array(lines, pyarrow.string())


def run(
    source: Sequence[Item] | Stream,
    ledger: Ledger,
    bundle: Path,
    explain: Mapping[str, Any],
    plan: Plan,
    tell: Tell,
    note: Callable[[str], None],
) -> None:
    """Explain items on Ray, into parts below the ledger's folder and lines in the ledger.

    What the ledger has finished is left out, also what lies in parts that it did not know yet.

    Args:
        source: all items of the run, whose pictures are paths or URIs that every node reaches; or what Ray
            reads.
        ledger: open.
        bundle: its folder.
        explain: arguments of `Explain`, but the bundle and the threads.
        plan: how the work is dealt out.
        tell: called with the lines of each item, in the order of finishing.
        note: called with what the user should know, a line each.

    Raises:
        ProviderError: there is no Ray, or its actors die again and again.
        OutputError: the nodes do not share the folder.
        SiseError: what `Explain` raises.
    """
    make_folder(ledger.folder / PARTS, settings=("out",))
    for text in told(mend(ledger)):
        note(text)
    rows: list[str] = []
    if not isinstance(source, Stream):
        for item in source:
            if item.id in ledger.statuses:
                continue
            if item.problem is not None:
                _finish(lines_of(Outcome(item, error=item.problem)), ledger, tell)
            else:
                rows.append(item_row(item))
        if not rows:
            return
    with connected(plan.address) as ray:
        dealt = _Dealt.of(ray, plan, len(rows))
        note(f"on Ray: {dealt}")
        require_shared(ray, ledger.folder / PARTS)
        dataset = (
            source.dataset(ray) if isinstance(source, Stream) else dataset_of(ray, rows, dealt.part_rows)
        )
        done = Finished(ray, ledger.statuses) if isinstance(source, Stream) else None
        arguments = {"bundle": ship(bundle) if plan.ship_bundle else bundle.absolute(), **explain}
        seen: set[str] = set()
        for lines in _results(dataset, arguments, ledger.folder.absolute(), dealt, done):
            if lines[0]["id"] in seen:
                raise ArgumentError(
                    f"two rows have the id {lines[0]['id']!r}: give each its own in the column 'id'",
                    settings=("images",),
                )
            seen.add(lines[0]["id"])
            _finish(lines, ledger, tell)
    for text in told(mend(ledger)):
        note(text)


def _finish(lines: list[dict[str, Any]], ledger: Ledger, tell: Tell) -> None:
    ledger.append(lines)
    tell(lines)


def told(mended: Mended) -> list[str]:
    """What is said of parts that a killed run left."""
    notes = []
    if mended.taken_up:
        notes.append(f"{counted(mended.taken_up, 'item')} taken up from parts that a killed run had written")
    if mended.torn:
        notes.append(f"removed {counted(len(mended.torn), 'torn part')}: {', '.join(mended.torn)}")
    return notes


@dataclass(frozen=True)
class _Dealt:
    """How the work is dealt out on the nodes that there are; attributes are those of `Plan`."""

    workers: int
    threads: int
    gpus: float
    part_rows: int

    @classmethod
    def of(cls, ray: Any, plan: Plan, rows: int) -> _Dealt:
        """By a plan, for so many rows; 0 where nobody knows.

        Raises:
            ArgumentError: no node has room for an actor.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max(int(node.get("CPU", 0)) for node in nodes)
        threads = plan.threads or max(1, min(MOST_THREADS, most))
        room = sum(_room(node, threads, plan.gpus) for node in nodes)
        if not room:
            what = f"{counted(threads, 'core')}" + (f" and {plan.gpus:g} GPU" if plan.gpus else "")
            raise ArgumentError(
                f"no node of the Ray cluster has {what} for an actor: its largest has {counted(most, 'core')}",
                settings=("threads",),
            )
        workers = plan.workers or room
        spread = (
            -(-rows // (workers * 4)) if rows else LARGEST_PART // 4
        )  # that all actors end about together
        chosen = max(1, min(spread, max(LARGEST_PART // 8, -(-rows // IN_PARTS)), LARGEST_PART))
        return cls(min(workers, rows or workers), threads, plan.gpus, plan.part_rows or chosen)

    def __str__(self) -> str:
        """In words."""
        gpu = f" and {self.gpus:g} GPU" if self.gpus else ""
        return (
            f"{counted(self.workers, 'actor')} with {counted(self.threads, 'thread')}{gpu} each, parts of "
            f"{counted(self.part_rows, 'picture')}"
        )


def _room(node: Mapping[str, float], threads: int, gpus: float) -> int:
    """How many actors a node has room for."""
    room = int(node.get("CPU", 0) // threads)
    return min(room, int(node.get("GPU", 0) // gpus)) if gpus else room


def _results(
    dataset: Any, arguments: Mapping[str, Any], folder: Path, dealt: _Dealt, done: Any
) -> Iterator[list[dict[str, Any]]]:
    """The lines of each item, as actors finish their batches."""
    import ray.data

    context = dataset.context
    context.enable_progress_bars = False
    context.max_errored_blocks = 0  # a block that is left out is pictures that are lost without a word
    dataset = dataset.map_batches(
        IntoParts,
        fn_constructor_kwargs={"folder": folder, "explain": arguments, "done": done},
        compute=ray.data.ActorPoolStrategy(size=dealt.workers),
        batch_format="pyarrow",
        batch_size=dealt.part_rows,
        num_cpus=dealt.threads,
        num_gpus=dealt.gpus or None,
    )
    with reported():
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from by_item(json.loads(line) for line in batch[LINE].to_pylist())
