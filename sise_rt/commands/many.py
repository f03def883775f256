"""A run of `sise-rt explain`: what is left of it, where it goes, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sise_rt import Explainer
from sise_rt.bulk.explaining import Asked
from sise_rt.bulk.forecast import forecast, free_bytes, refuse_too_large
from sise_rt.bulk.items import FAILED, Item
from sise_rt.bulk.keeping import Keep
from sise_rt.bulk.ledger import Ledger, has_run, opened
from sise_rt.bulk.map_shards import MapShards
from sise_rt.bulk.overview import side_file
from sise_rt.bulk.overview.pages import refuse_foreign_pages
from sise_rt.bulk.own_files import OwnFiles
from sise_rt.bulk.run import Run, settings_of_run
from sise_rt.bulk.table import of_shard, prepare_table
from sise_rt.wording import counted

from .concluding import AGAIN, RESUME, conclude
from .console import say
from .explaining import explain_run
from .many_options import Many
from .on_ray import OnRay
from .results import name_of, prepare_folder
from .signals import TERMINATED
from .writing_options import Writing

MANY = 100  # pictures, from which on it is told what they take on the disk


def explain_many(
    explainer: Explainer,
    items: Sequence[Item],
    root: Path | None,
    asked: Asked,
    keep: Keep,
    *,
    writing: Writing,
    many: Many,
    drawing: dict[str, Any],
    hint: str = "",
    on_ray: OnRay | None = None,
) -> bool:
    """Explain what a run does not have yet; gives whether any of the items failed, now or before.

    `root` is from where the items' ids lead to their pictures; `hint` is at what takes less time; `on_ray`
    explains in place of this process.

    Raises:
        SiseError: what is no picture's fault; what was finished is kept.
        click.Abort: a Ctrl-C asked for it; likewise.
        SystemExit: likewise.
    """
    out = writing.out
    settings = settings_of_run(explainer, root, asked, keep, drawing, writing.maps)
    if on_ray is not None:
        settings |= on_ray.settings
    if writing.table is not None:
        prepare_table(of_shard(writing.table, many.shard))
    if writing.overview:
        refuse_foreign_pages(out)
    if not has_run(out):
        pictures = [(item.stem, name_of(item)) for item in items]
        prepare_folder(out, pictures, range(explainer.manifest.classes))
    with _told_how_to_go_on(out), ExitStack() as stack:
        ledger = stack.enter_context(opened(out, settings, shard=many.shard, retry_failed=many.retry_failed))
        left = _left(items, ledger, writing, skip=many.skip_existing)
        _foretell(explainer, left, asked, writing)
        if on_ray is not None:
            sound = on_ray.explain(left, ledger, asked, keep, writing, _thumbnails(writing, many))
        else:
            run = _run(ledger, keep, writing, many, stack)
            sound = explain_run(explainer, left, asked, run, writing, hint)
    failed = conclude(ledger, writing, many.shard, settings, items)
    return failed or not sound


def _left(items: Sequence[Item], ledger: Ledger, writing: Writing, *, skip: bool) -> list[Item]:
    """The items that are to be explained."""
    left = [item for item in items if item.id not in ledger.statuses] if skip else list(items)
    if (there := len(items) - len(left)) and not writing.silent:
        are = "is" if there == 1 else "are"
        failed = sum(ledger.statuses.get(item.id) == FAILED for item in items)
        again = f", {failed} of them failed: {AGAIN}" if failed else ""
        say(f"note: {there} of {counted(len(items), 'picture')} {are} in this run already{again}", err=True)
    return left


def _foretell(explainer: Explainer, left: Sequence[Item], asked: Asked, writing: Writing) -> None:
    """Say what the run takes on the disk, where it is more than a moment's, and refuse what has no room."""
    image = explainer.manifest.input
    targets = asked.top_k if asked.targets is None else len(asked.targets)
    foreseen = forecast(
        len(left),
        targets * len(asked.requests),
        outputs=writing.outputs,
        map_shape=(image.height, image.width) if image.height and image.width else None,
        maps=writing.maps,
        map_size=writing.map_size,
    )
    free = free_bytes(writing.out)
    refuse_too_large(foreseen, free, writing.out)
    if len(left) >= MANY and not writing.silent:
        say(f"note: {foreseen.told(free)}", err=True)


def _run(ledger: Ledger, keep: Keep, writing: Writing, many: Many, stack: ExitStack) -> Run:
    """Where outcomes go."""
    part = many.shard or (1, 1)
    if keep.outputs and "record" not in keep.outputs:
        keep = replace(keep, protect=OwnFiles(keep.folder, part).protect)
    shards = None
    if writing.maps != "files":  # those of a table as well, which is written at the end
        done = ledger.statuses.__contains__
        shards = stack.enter_context(MapShards(keep.folder, done, part=part, map_size=writing.map_size))
    return Run(ledger, keep, shards=shards, thumbnails=_thumbnails(writing, many))


def _thumbnails(writing: Writing, many: Many) -> Path | None:
    """The side file of what an overview shows, ready to be added to."""
    if not writing.overview:
        return None
    path = side_file.side_file(writing.out, many.shard)
    side_file.begin(path)
    return path


@contextmanager
def _told_how_to_go_on(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say(f"note: {out}: {RESUME}", err=True)
        raise click.Abort from None  # of a KeyboardInterrupt click makes one as well, behind an empty line
    except SystemExit as end:
        if end.code == TERMINATED:
            say(f"note: {out}: ended by SIGTERM, what was finished is kept; {RESUME}", err=True)
        raise
