"""What `sise-rt evaluate` prints while it works, and of what it measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sise_rt.errors import ImageError
from sise_rt.evaluation.run import Outcome
from sise_rt.evaluation.samples import NO_PICTURE
from sise_rt.evaluation.store import PAGE
from sise_rt.wording import counted

from .command import spelt
from .console import FAILED_IMAGES, complain, say, warn
from .progress import NOW_AND_THEN, at_terminal, clear_line, draw_line, progress_words, seconds_left

FEW = 20  # pictures


def tell(summary: dict[str, Any], outcome: Outcome, report: Path, *, quiet: bool) -> None:
    """Print the means and what failed; that anything failed, or has no value at all, is the exit code."""
    if not quiet:
        for line in summary_lines(summary):
            say(line)
        say(f"{report / PAGE}")
    for warning in summary["warnings"]:
        warn(warning)
    for image, error in outcome.failed.items():
        complain(spelt(error) if isinstance(error, ImageError) else f"{image}: {spelt(error)}")
    empty = [
        metric
        for metric in summary["settings"]["metrics"]
        if all(figures["metrics"][metric]["mean"] is None for figures in summary["methods"].values())
    ]
    if empty:
        complain(
            f"no picture has a value of {', '.join(empty)}; what was left out is listed in {report / PAGE}"
        )
    if outcome.failed:
        total = len(outcome.records) + len(outcome.failed)
        complain(f"{len(outcome.failed)} of {counted(total, 'image')} failed")
    if outcome.failed or empty:
        raise SystemExit(FAILED_IMAGES)


def summary_lines(summary: dict[str, Any]) -> Iterator[str]:
    """The means, one line a method, and what was left out."""
    counts = summary["counts"]
    yield (
        f"{counted(counts['evaluated'], 'picture')}, {counted(counts['pairs'], 'pair')} "
        f"({counts['annotated']} annotated, {counts['predicted']} predicted)"
    )
    if counts["classified"]:
        right = f"{counts['right']} of {counts['classified']}"
        share = 100 * counts["right"] / counts["classified"]
        yield f"  the model predicts an annotated class on {right} pictures ({share:.1f} %)"
    if counts["changed"]:
        yield f"  measured again, as they or their annotations have changed: {counts['changed']}"
    for method, figures in summary["methods"].items():
        values = (
            f"{name} {'-' if entry['mean'] is None else format(100 * entry['mean'], '.1f')}"
            for name, entry in figures["metrics"].items()
        )
        yield f"  {method}: {', '.join(values)} (%)"
    if 0 < counts["evaluated"] < FEW:
        yield f"  with fewer than {FEW} pictures the intervals are too narrow to be believed"
    left = {_kind(kind, entry): entry["count"] for kind, entry in summary["problems"].items()}
    if missing := summary["missing_classes"]:
        names = few(list(missing))
        left[f"pairs of classes that are no class of the model ({names})"] = counts[
            "pairs_of_missing_classes"
        ]
    if left:
        yield "left out or changed: " + ", ".join(f"{kind} {count}" for kind, count in left.items())


def _kind(kind: str, entry: dict[str, Any]) -> str:
    """A kind of problems; of files that are no pictures with their suffixes."""
    if kind != NO_PICTURE:
        return kind
    return f"{kind} ({few(sorted({suffix for _, suffix in entry['listed']}))})"


def few(names: Sequence[str]) -> str:
    """Some names in words, the first five of more."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


@contextmanager
def progress_of_images(quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """On standard error: a line that changes on a terminal, one now and then elsewhere."""
    if quiet:
        yield None
    elif at_terminal():
        start, before = time.monotonic(), -1

        def redraw(done: int, total: int, image: str) -> None:
            nonlocal before
            before = done if before < 0 else before  # of an earlier run
            share = (done - before) / max(total - before, 1)
            left = seconds_left(time.monotonic() - start, share)
            draw_line(progress_words(image, done + 1, total, None, left) if image else "")

        try:
            yield redraw
        finally:
            clear_line()
    else:
        last = [time.monotonic() - NOW_AND_THEN]

        def line(done: int, total: int, image: str) -> None:
            if image and time.monotonic() - last[0] < NOW_AND_THEN:
                return
            last[0] = time.monotonic()
            say(f"{done} of {total} images", err=True)

        yield line
