"""A run whose items are explained by actors of Ray, and whose ledger is kept here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sise_rt import errors
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.ledger import Ledger
from sise_rt.bulk.lines import lines_of
from sise_rt.bulk.overview import side_file
from sise_rt.bulk.overview.thumbnails import Thumbnail, thumbnails
from sise_rt.errors import ArgumentError, SiseError
from sise_rt.files import make_folder
from sise_rt.running.sessions import available_threads

from .attempts import with_care
from .cluster import connected, reported, require_shared
from .dealing import Dealt, Plan
from .given import item_row, items_of
from .parts import PARTS, mend, note_of, part_name, write_part
from .reading import FinishedIds, Stream, as_items, dataset_of, ids_of
from .results import results
from .shipping import ship
from .stage import Explain, Found

if TYPE_CHECKING:
    import pyarrow

LINES, SHOWN, ERROR, UNCHECKED, FATAL = "lines", "shown", "error", "unchecked", "fatal"


class Finished(NamedTuple):
    """An item that is finished.

    Attributes:
        lines: of it, as of results.jsonl.
        shown: what the side file of an overview has of it; empty where there is none.
        error: why it failed.
        unchecked: why the model could not be asked about a map.
    """

    lines: list[dict[str, Any]]
    shown: Sequence[dict[str, Any]] = ()
    error: SiseError | None = None
    unchecked: Sequence[SiseError] = ()


Tell = Callable[[Finished], None]
"""Takes an item that is finished, once its lines are in the ledger."""


class Kept(NamedTuple):
    """What an actor keeps of an item.

    Attributes:
        found: of its explanations.
        shown: what the overview shows of them; empty where there is none.
        error: why it failed.
        unchecked: why the model could not be asked about a map.
    """

    found: list[Found]
    shown: list[Thumbnail]
    error: SiseError | None
    unchecked: Sequence[SiseError]


class IntoParts:
    """An actor's work in a run: explains a batch, writes its part, and gives the lines.

    Args:
        folder: of the run, which every node reaches.
        explain: arguments of `Explain`.
        overview: whether there is one, for which something is kept of each picture.
        done: what is left out of a stream.
    """

    def __init__(self, folder: Path, explain: Mapping[str, Any], *, overview: bool, done: FinishedIds | None):
        self._folder, self._overview, self._done = folder, overview, done
        self._explain: Explain | SiseError
        try:
            self._explain = Explain(**explain)
        except SiseError as error:  # told with the first batch: what is raised here kills the actor
            self._explain = error

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        """Takes a table of items, or rows of a stream; gives a row an item: its lines, and what is shown."""
        try:
            kept = self._explained(batch)
        except SiseError as error:  # raised here it would come back as a page of text, on standard error too
            return _replies([], [_told(error)])
        return _replies(kept, [])

    def _explained(self, batch: pyarrow.Table) -> list[Kept]:
        """Explain a batch and write its part.

        Raises:
            SiseError: the next batch would fail too.
        """
        explain = self._explain
        if isinstance(explain, SiseError):
            raise explain
        batch = as_items(batch)
        if self._done is not None:
            batch = self._done.left(batch)
        name = part_name(ids_of(batch))
        note, keep = self._folder / note_of(name), partial(self._kept, explain)
        kept = with_care(note, items_of(batch), lambda items: explain.each(items, keep))
        explained = [one.found for one in kept if one.found[0].line["asked"] is not None]
        for one in chain.from_iterable(explained):
            one.line["files"].append(name)
        if explained:
            write_part(self._folder, name, results(explained))
        return kept

    def _kept(self, explain: Explain, outcome: Outcome) -> Kept:
        found = explain.kept(outcome)
        shown: list[Thumbnail] = []
        if self._overview and outcome.picture is not None:
            shown = thumbnails(outcome.picture, [part for _, part in outcome.parts])
        return Kept(found, shown, outcome.error, outcome.unchecked)


def _replies(kept: Sequence[Kept], fatal: list[str]) -> pyarrow.Table:
    """What an actor gives back: a row an item, or one that says what ends the run."""
    import pyarrow

    lines = [json.dumps([one.line for one in each.found], allow_nan=False) for each in kept]
    shown = [json.dumps(list(side_file.lines(each.found[0].line["id"], each.shown))) for each in kept]
    errors = ["" if each.error is None else _told(each.error) for each in kept]
    unchecked = [json.dumps(list(map(_told, each.unchecked))) for each in kept]
    of_items = {LINES: lines, SHOWN: shown, ERROR: errors, UNCHECKED: unchecked}
    columns = {name: texts + [""] * len(fatal) for name, texts in of_items.items()}
    columns[FATAL] = [""] * len(kept) + fatal
    return pyarrow.table({name: pyarrow.array(texts, pyarrow.string()) for name, texts in columns.items()})


def _told(error: SiseError) -> str:
    """An error as text, see `_raised`."""
    return json.dumps([type(error).__name__, error.message, error.settings])


def _raised(text: str) -> SiseError:
    """The error of an actor."""
    name, message, settings = json.loads(text)
    kind = getattr(errors, name, SiseError)
    return kind(message, settings=tuple(settings))


class Finishing:
    """Where the lines of items go, here in the process that keeps the run.

    Args:
        ledger: of the run.
        thumbnails: the side file of what an overview shows; None keeps none.
        tell: called with each item.
    """

    def __init__(self, ledger: Ledger, thumbnails: Path | None, tell: Tell):
        self._ledger, self._thumbnails, self._tell = ledger, thumbnails, tell
        self._seen: set[str] = set()

    def enter(self, item: Finished) -> None:
        """Put an item into the ledger, and tell of it.

        Raises:
            ArgumentError: it is the second one of its id.
            OutputError: it cannot be written.
        """
        name = item.lines[0]["id"]
        if name in self._seen:
            raise ArgumentError(
                f"two rows have the id {name!r}: give each its own, in the column 'id'", settings=("images",)
            )
        self._seen.add(name)
        if self._thumbnails is not None and item.shown:
            side_file.append(self._thumbnails, item.shown)
        self._ledger.append(item.lines)
        self._tell(item)


def run(
    source: Sequence[Item] | Stream,
    ledger: Ledger,
    explain: Mapping[str, Any],
    plan: Plan,
    *,
    thumbnails: Path | None,
    tell: Tell,
    note: Callable[[str], None],
) -> None:
    """Explain items on Ray, into parts below the ledger's folder and lines in the ledger.

    Of a stream what the ledger has finished is left out.

    Args:
        source: the items that are to be explained, whose pictures are paths that every node reaches; or what
            Ray reads.
        ledger: open.
        explain: arguments of `Explain`, but the threads.
        plan: how the work is dealt out.
        thumbnails: the side file of what an overview shows, which was begun; None keeps none.
        tell: called with each item, in the order of finishing.
        note: called with what the user should know, a line each.

    Raises:
        ProviderError: there is no Ray, or its actors die again and again.
        OutputError: the nodes do not share the folder.
        SiseError: what `Explain` raises.
    """
    parts = ledger.folder / PARTS
    make_folder(parts, settings=("out",))
    for text in mend(ledger):
        note(text)
    finishing = Finishing(ledger, thumbnails, tell)
    rows: list[str] = []
    if not isinstance(source, Stream):
        for item in source:
            if item.problem is None:
                rows.append(item_row(item))
            else:
                finishing.enter(Finished(lines_of(Outcome(item, error=item.problem)), error=item.problem))
        if not rows:
            return
    cores = available_threads() + isinstance(source, Stream)  # one more, as reading is mostly waiting
    with connected(plan.address, cores) as ray:
        dealt = Dealt.of(ray, plan, len(rows) or None)
        note(f"on Ray: {dealt}")
        require_shared(ray, parts)
        stream = isinstance(source, Stream)
        dataset = (
            source.dataset(ray) if isinstance(source, Stream) else dataset_of(ray, rows, dealt.part_rows)
        )
        bundle = Path(explain["bundle"]).absolute()
        arguments = {
            "folder": ledger.folder.absolute(),
            "explain": {**explain, "bundle": ship(bundle) if plan.ship_bundle else bundle},
            "overview": thumbnails is not None,
            "done": FinishedIds(ray, ledger.statuses) if stream else None,
        }
        for finished in _results(dataset, arguments, dealt):
            finishing.enter(finished)
    for text in mend(ledger):
        note(text)


def _results(dataset: Any, arguments: Mapping[str, Any], dealt: Dealt) -> Iterator[Finished]:
    """The items, as actors finish their batches."""
    import ray.data

    context = dataset.context
    context.enable_progress_bars = False
    context.max_errored_blocks = 0  # a block that is left out is pictures that are lost without a word
    dataset = dataset.map_batches(
        IntoParts,
        fn_constructor_kwargs=arguments,
        compute=ray.data.ActorPoolStrategy(size=dealt.workers),
        batch_format="pyarrow",
        batch_size=dealt.part_rows,
        num_cpus=dealt.threads,
        num_gpus=dealt.gpus or None,
    )
    with reported():
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                if row[FATAL]:
                    raise _raised(row[FATAL])
                yield Finished(
                    json.loads(row[LINES]),
                    json.loads(row[SHOWN]),
                    _raised(row[ERROR]) if row[ERROR] else None,
                    list(map(_raised, json.loads(row[UNCHECKED]))),
                )
