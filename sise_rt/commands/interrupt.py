"""What Ctrl-C and SIGTERM do to an explanation that is being made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import sise_rt

from .console import say
from .progress import clear_line
from .signals import interrupt, on_interrupt, on_terminate, terminate


class Interrupt:
    """The first Ctrl-C ends the explanation by what it has, a second one the command.

    Attributes:
        asked: whether it was pressed.
    """

    def __init__(self) -> None:
        self.asked = False

    def taken(self) -> AbstractContextManager[None]:
        """A context that takes the signal."""
        return on_interrupt(self._press)

    def _press(self, *_: object) -> None:
        if self.asked:
            interrupt()
        self.asked = True
        clear_line()
        say("stopping after this pass; Ctrl-C again ends at once", err=True)

    def require_none(self) -> None:
        """Raise KeyboardInterrupt if it was pressed."""
        if self.asked:
            raise KeyboardInterrupt

    def progress(self, show: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
        """A progress callback that shows, and stops what was interrupted."""

        def tick(scored: int, total: int) -> None:
            if show is not None:
                show(scored, total)
            if self.asked:
                raise sise_rt.Stop

        return tick


class Termination:
    """The first SIGTERM lets the picture in hand be finished, a second one ends the command at once."""

    def __init__(self) -> None:
        self._asked = False

    def taken(self) -> AbstractContextManager[None]:
        """A context that takes the signal."""
        return on_terminate(self._take)

    def _take(self, *_: object) -> None:
        if self._asked:
            terminate()
        self._asked = True

    def require_none(self) -> None:
        """Raise SystemExit if it came."""
        if self._asked:
            terminate()
