"""What Ctrl-C does to an explanation that is being made."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import sise_rt

from .console import say


class Interrupt:
    """The first Ctrl-C ends the explanation by what it has, a second one the command.

    A context, which takes the signal where it may: only the main thread has it.

    Attributes:
        asked: whether it was pressed.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def __enter__(self) -> Interrupt:
        """Take the signal."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signal back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _press(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        say("stopping after this pass; Ctrl-C again ends at once", err=True)

    def progress(self, show: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
        """A progress callback that shows, and stops what was interrupted."""

        def tick(scored: int, total: int) -> None:
            if show is not None:
                show(scored, total)
            if self.asked:
                raise sise_rt.Stop

        return tick
