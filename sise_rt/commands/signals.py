"""What signals do to the command, from its first line to its last; light, as it is imported first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143  # exit codes of a Ctrl-C and of SIGTERM

Handler = Callable[[int, FrameType | None], object]

_at_start: Handler = signal.default_int_handler
_raised = False


def take_signals() -> None:
    """From now on a Ctrl-C ends the process at once, and SIGTERM raises, so that half-made files are removed.

    An exception is no way to end an import: extension modules make an ImportError of it, or lose it.
    """
    global _at_start
    signal.signal(signal.SIGTERM, terminate)
    _at_start = _end
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(*_: object) -> None:
    os._exit(INTERRUPTED)


def interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, and remember it: what it passes through may make another error of it."""
    global _raised
    _raised = True
    raise KeyboardInterrupt


def terminate(*_: object) -> None:
    """Raise SystemExit with the exit code of SIGTERM."""
    sys.exit(TERMINATED)


def interrupted() -> bool:
    """Whether `interrupt` was called since this was last asked."""
    global _raised
    raised, _raised = _raised, False
    return raised


@contextmanager
def on_interrupt(handler: Handler) -> Iterator[None]:
    """A Ctrl-C calls the handler, unless it is to be ignored, as in what a script runs in the background.

    Only the main thread has signals; elsewhere nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    with _handled(signal.SIGINT, handler):
        yield


@contextmanager
def on_terminate(handler: Handler) -> Iterator[None]:
    """A SIGTERM calls the handler; elsewhere than in the main thread nothing changes."""
    with _handled(signal.SIGTERM, handler):
        yield


@contextmanager
def _handled(number: int, handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def starting() -> Iterator[None]:
    """Imports and reading: a Ctrl-C ends the command's process at once, as nothing has to be removed yet."""
    with on_interrupt(_at_start):
        yield
