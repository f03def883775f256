"""One picture, or a run of many: explained, written, and told of."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from sise_rt import Explainer, Stop
from sise_rt.bulk.explaining import Asked, explain_items
from sise_rt.bulk.items import DONE, Item, Outcome
from sise_rt.bulk.keeping import Keep, Written, write_files
from sise_rt.bulk.run import Entry, Run
from sise_rt.errors import MethodError
from sise_rt.methods import Progress as Tick
from sise_rt.wording import counted

from .command import spelt
from .console import complain, rate, say, say_json, warn
from .interrupt import Interrupt, Termination
from .progress import NOW_AND_THEN, Progress, clear_line, duration
from .results import name_of, prepare_folder, problems_of, records, replaced, say_outcome, without_evidence
from .writing_options import Writing


def explain_one(
    explainer: Explainer, item: Item, asked: Asked, keep: Keep, shown: Writing, hint: str
) -> bool:
    """Explain one picture, and write and print what was found; gives whether something is missing.

    `hint` is at what takes less time, for where it takes long.

    Raises:
        KeyboardInterrupt: somebody asked for it; what was explained until then is written.
        SiseError: not the picture's fault.
    """
    item = replace(item, stem=Path(name_of(item)).stem)
    classes = asked.targets or range(explainer.manifest.classes)
    prepare_folder(keep.folder, [(item.stem, name_of(item))], classes)
    interrupt, missing = Interrupt(), []
    progress = Progress(hidden=shown.silent, foretell=partial(foretold, hint))

    def kept(outcome: Outcome) -> tuple[Outcome, Written, list[str]]:
        if outcome.error is not None:
            return outcome, Written(), []
        notes = [] if shown.quiet else list(replaced(outcome, keep))
        return outcome, write_files(outcome, keep), notes

    def tell(_: Item, result: tuple[Outcome, Written, list[str]]) -> None:
        outcome, written, notes = result
        say(*notes, err=True)
        if shown.as_json:
            for record in records(outcome, written):
                say_json(record)
        elif not shown.quiet:
            say_outcome(outcome, written)
        missing.extend([*without_evidence(outcome), *problems_of(outcome, shown.check_option)])
        for line in missing:
            complain(line)

    @contextmanager
    def watch(item: Item) -> Iterator[Tick]:
        with interrupt.taken(), progress.of(Path(name_of(item)).name) as show:
            yield interrupt.progress(show)

    with _told_of_methods():
        explain_items(explainer, [item], asked, kept, tell, watch)
    interrupt.require_none()
    if missing:
        complain("1 of 1 image failed")
    return bool(missing)


def explain_run(
    explainer: Explainer, items: Sequence[Item], asked: Asked, run: Run, shown: Writing, hint: str
) -> bool:
    """Explain what a run does not have yet, and print what was found; gives whether all could be asked.

    SIGTERM lets the picture in hand be finished. `hint` is at what takes less time, for where it takes long.

    Raises:
        KeyboardInterrupt: somebody asked for it; what was explained until then is written.
        SystemExit: likewise.
        SiseError: not a picture's fault: the next one would fail too.
    """
    interrupt, termination = Interrupt(), Termination()
    progress = Progress(len(items), hidden=shown.silent, foretell=partial(foretold, hint), every=NOW_AND_THEN)
    start, explained, sound = time.perf_counter(), 0, True

    def tell(_: Item, entry: Entry) -> None:
        nonlocal explained, sound
        outcome = entry.outcome
        explained += outcome.status == DONE
        clear_line()
        if shown.as_json:
            for line in entry.lines:
                say_json(line)
        elif not shown.quiet:
            say_outcome(outcome, entry.written)
        for missing in without_evidence(outcome):
            warn(missing)
        sound = sound and not outcome.unchecked
        for problem in problems_of(outcome, shown.check_option):
            complain(problem)

    @contextmanager
    def watch(item: Item) -> Iterator[Tick]:
        interrupt.require_none()
        termination.require_none()
        with interrupt.taken(), progress.of(item.id) as show:
            yield interrupt.progress(show)

    with _told_of_methods(), termination.taken():
        explain_items(explainer, items, asked, run.enter, tell, watch)
    interrupt.require_none()
    termination.require_none()
    if explained > 1 and not shown.silent:
        say(rate(explained, time.perf_counter() - start))
    return sound


@contextmanager
def _told_of_methods() -> Iterator[None]:
    """What methods cannot do is wrong use; one that cannot stop half-way is interrupted."""
    try:
        yield
    except MethodError as error:
        raise click.UsageError(spelt(error)) from error
    except Stop:
        raise KeyboardInterrupt from None


def foretold(hint: str, masks: int, pictures: int, seconds: float) -> str:
    """What is said where many masks are to be scored, and nobody sees how far it is."""
    each = f"{counted(pictures, 'picture')}, each with" if pictures > 1 else ""
    what = " ".join(filter(None, (each, counted(masks, "masked copy", "masked copies"), "to be scored")))
    return f"note: {what}, about {duration(seconds)} left{hint and f'; {hint}'}"
