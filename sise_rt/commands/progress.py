"""How far a command is: one line on a terminal's standard error, which goes when the work is done."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from sise_rt.wording import printable

EVERY = 0.1  # seconds between two drawings
NOW_AND_THEN = 20.0  # seconds between two lines of a long run where none can be drawn
LONG = 30.0  # seconds, of which one is told where no progress can be drawn
SOON = 1.0  # seconds, before which the time that is left is a guess
BEFORE_LINE = "\r\x1b[K"  # to the line's beginning, and away with what stands there

Foretell = Callable[[int, int, float], str]


class Progress:
    """Pieces of work, one after the other.

    Args:
        pieces: how many there are.
        hidden: whether nothing is to be shown.
        foretell: what is said once where standard error is no terminal, on which nothing is drawn: gives a
            line for how many steps the piece has, how many pieces there are, and how long all of it takes.
        every: seconds between lines that are said there; None says none.
    """

    def __init__(
        self,
        pieces: int = 1,
        *,
        hidden: bool = False,
        foretell: Foretell | None = None,
        every: float | None = None,
    ):
        self._pieces, self._number = pieces, 0
        self._shown = at_terminal() and not hidden
        self._foretell = None if hidden or at_terminal() else foretell
        self._every = None if hidden or at_terminal() else every
        self._start = self._said = time.monotonic()
        self._drawn = 0.0

    @contextmanager
    def of(self, name: str) -> Iterator[Callable[[int, int], None] | None]:
        """A context in which the next piece is done; gives what is told of its steps: done, of how many.

        None where nothing is shown.
        """
        self._number += 1
        if self._every is not None and time.monotonic() - self._said >= self._every:
            self._said = time.monotonic()
            click.echo(self._so_far(self._number - 1), err=True)
        if self._foretell is not None:
            yield self._timed(self._foretell)
            return
        if not self._shown:
            yield None
            return
        try:
            yield lambda done, steps: self._show(name, done / max(steps, 1))
        finally:
            clear_line()

    def _timed(self, foretell: Foretell) -> Callable[[int, int], None]:
        """What times the steps behind the first, which also loads what is needed; long work is told once."""
        first: list[tuple[float, int]] = []

        def tick(done: int, steps: int) -> None:
            now = time.monotonic()
            if not first:
                first.append((now, done))
            elif self._foretell is not None and done > first[0][1]:
                self._foretell = None
                a_step = (now - first[0][0]) / (done - first[0][1])
                left = a_step * (steps - done + steps * (self._pieces - self._number))
                if left > LONG:
                    click.echo(printable(foretell(steps, self._pieces, left)), err=True)

        return tick

    def _show(self, name: str, share: float) -> None:
        now = time.monotonic()
        if now - self._drawn >= EVERY:
            self._drawn = now
            seconds, done = now - self._start, self._number - 1 + share
            left = seconds_left(seconds, done / self._pieces)
            draw_line(progress_words(name, self._number, self._pieces, share, left, pace(done, seconds)))

    def _so_far(self, done: int) -> str:
        """As `512 of 2000 pictures, 3.1 a second, 8 min 0 s left`."""
        seconds = time.monotonic() - self._start
        left = seconds_left(seconds, done / self._pieces)
        parts = [f"{done} of {self._pieces} pictures", pace(done, seconds)]
        return ", ".join(filter(None, [*parts, "" if left is None else f"{duration(left)} left"]))


def at_terminal() -> bool:
    """Whether standard error, which may be closed, is a terminal on which a line can be drawn again."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def draw_line(text: str) -> None:
    """Put a line where the last one stands."""
    click.echo(BEFORE_LINE + text, nl=False, err=True)


def clear_line() -> None:
    """Make room for another line where progress may stand; its next step draws it again."""
    if at_terminal():
        draw_line("")


def seconds_left(seconds: float, share: float) -> float | None:
    """How long the rest takes where a share of all took so long, None where that is too early to tell."""
    return seconds * (1 - share) / share if share > 0 and seconds >= SOON else None


def pace(done: float, seconds: float) -> str:
    """How fast pieces are done; nothing where it is too early to tell."""
    return speed(done, seconds) if done >= 1 and seconds >= SOON else ""


def speed(pieces: float, seconds: float) -> str:
    """Pieces a second, or seconds each where that is the number a person can picture."""
    seconds = max(seconds, 1e-6)  # a clock may be coarser than the work
    if (a_second := pieces / seconds) >= 1:
        return f"{a_second:,.{0 if a_second >= 10 else 1}f} a second"
    return f"{seconds / pieces:.1f} s each"


def progress_words(
    name: str, number: int, pieces: int, share: float | None, left: float | None, pace: str = ""
) -> str:
    """As `3 of 20, cat.jpg, 41 %, 2.1 a second, 12 s left`, on one line of the terminal.

    Args:
        name: of the piece; its beginning is left out where the line is too long.
        number: of the piece, from 1.
        pieces: how many there are; a single one is not numbered.
        share: of the piece, that is done.
        left: seconds for all that is left.
        pace: how fast it goes, in words.
    """
    before = [f"{number} of {pieces}"] if pieces > 1 else []
    after = [] if share is None else [f"{100 * share:.0f} %"]
    after += [pace] if pace else []
    after += [] if left is None else [f"{duration(left)} left"]
    name = printable(name)
    room = shutil.get_terminal_size().columns - 1 - len(", ".join([*before, "", *after]))
    if len(name) > room:
        name = f"...{name[len(name) - max(room - 3, 0) :]}"
    return ", ".join([*before, name, *after])


def duration(seconds: float) -> str:
    """A time in the two units that a person would say."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
