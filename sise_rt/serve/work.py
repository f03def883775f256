"""The work: requests wait in a bounded queue for the threads that use the device."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sise_rt.methods import Stop

from .refusals import RETRY, Refused

T = TypeVar("T")

LONGEST_RETRY = 600.0  # seconds
SMOOTH = 0.2  # the weight of the last request in what one usually takes


class Abandoned(Exception):
    """Nobody waits for the work any more; raised inside of it."""


class Late(Exception):
    """The time is over, and the method has nothing to show for what it did; raised inside of it."""


class Turn:
    """A request's turn on the device, from its admission to its end.

    What the client does is told on the event loop, and seen by the thread that works after every pass.

    Attributes:
        waited: seconds before its work began; None before that.
        stopped: whether the client ended it, and wants what was found so far.
        moved: called, on the event loop, when its place in the queue changes.
    """

    def __init__(self) -> None:
        self._admitted = time.monotonic()
        self._deadline = math.inf
        self._abandoned = False
        self.waited: float | None = None
        self.stopped = False
        self.moved: Callable[[], object] = _nothing
        self.unqueue: Callable[[], object] = _nothing

    def limit(self, max_seconds: float) -> None:
        """Bound what all of it may take, counted from its admission."""
        self._deadline = self._admitted + max_seconds

    def left(self) -> float:
        """Seconds to its deadline."""
        return self._deadline - time.monotonic()

    def begin(self) -> None:
        """Take note that its work begins."""
        if self.waited is None:
            self.waited = time.monotonic() - self._admitted

    def stop(self) -> None:
        """End it after this pass, by what there is."""
        self.stopped = True
        self.unqueue()

    def forget(self) -> None:
        """Let go of those that are told of it."""
        self.moved = self.unqueue = _nothing

    def abandon(self) -> None:
        """End it after this pass, by nothing."""
        self._abandoned = True

    def look(self) -> None:
        """Raise what the client did to it, if anything."""
        if self._abandoned:
            raise Abandoned
        if self.stopped:
            raise Stop


def _nothing() -> None:
    pass


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *values: Any) -> None:
    """Have an event loop call a function, from any thread; one that has ended calls nothing any more."""
    with contextlib.suppress(RuntimeError):  # which it raises where it is closed, and one may close meanwhile
        loop.call_soon_threadsafe(function, *values)


class Work:
    """Threads that use the device, and the requests that wait for them. Used from the event loop.

    Args:
        workers: threads.
        queue: requests that may wait besides.

    Attributes:
        draining: whether nothing is admitted any more, as the server ends.
        waiting: turns whose work has not begun, the next one first.
        turns: of the requests that were admitted and are not answered yet.
        pieces: of work, that the threads have or will have.
    """

    def __init__(self, workers: int, queue: int):
        self._threads = ThreadPoolExecutor(workers, "device")
        self._workers, self._places = workers, workers + queue
        self._usual: float | None = None  # seconds that a piece of work takes
        self.draining = False
        self.waiting: list[Turn] = []
        self.turns: set[Turn] = set()
        self.pieces: set[Future[Any]] = set()

    @contextlib.contextmanager
    def admitted(self) -> Iterator[Turn]:
        """A turn, and a place for it as long as the context lasts.

        Raises:
            Refused: as `take` does.
        """
        turn = self.take()
        try:
            yield turn
        finally:
            self.leave(turn)

    def take(self) -> Turn:
        """A turn, and a place for it until `leave` is called.

        Raises:
            Refused: all places are taken, or the server ends.
        """
        if self.draining:
            raise Refused(503, "the server is about to end: ask another one", retry_after=RETRY)
        if len(self.turns) >= self._places:
            text = f"the queue is full, with {self._places} requests: ask again later"
            raise Refused(429, text, retry_after=self.retry_after())
        turn = Turn()
        self.turns.add(turn)
        return turn

    def leave(self, turn: Turn) -> None:
        """Give a turn's place back."""
        self.turns.discard(turn)

    def retry_after(self) -> float:
        """Seconds in which a place should come free, by what requests took so far."""
        return RETRY if self._usual is None else min(LONGEST_RETRY, self._usual / self._workers)

    def place(self, turn: Turn) -> int:
        """Where a turn stands in the queue: 1 is the next one, 0 has begun."""
        return self.waiting.index(turn) + 1 if turn in self.waiting else 0

    async def run(self, turn: Turn, function: Callable[[], T]) -> T:
        """What a function gives that uses the device, once its turn has come.

        Args:
            turn: of the request; several runs may be of one.
            function: run in a thread; looks at the turn after every pass.

        Raises:
            Refused: its time was over before its turn came.
            Stop: it was stopped before that.
            BaseException: what the function raised. Where the caller is cancelled, the function ends soon.
        """
        loop = asyncio.get_running_loop()
        began: float | None = None
        held = [function]  # let go of at the end: the executor keeps what is cancelled until a thread is free
        del function

        def work() -> T:
            nonlocal began
            began = time.monotonic()
            call_on(loop, self._unqueued, turn)
            turn.begin()
            turn.look()
            return held.pop()()

        self.waiting.append(turn)
        turn.moved()
        inner = self._threads.submit(work)
        self.pieces.add(inner)
        inner.add_done_callback(self.pieces.discard)
        turn.unqueue = inner.cancel
        overdue = None if turn.left() == math.inf else loop.call_later(max(0.0, turn.left()), inner.cancel)
        try:
            return await asyncio.wrap_future(inner)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                turn.abandon()
                raise
            if turn.stopped:
                raise Stop from None
            raise self._overdue() from None
        finally:
            turn.unqueue = _nothing
            held.clear()
            if overdue is not None:
                overdue.cancel()
            self._unqueued(turn)
            if began is not None:
                self._took(time.monotonic() - began)
            del inner  # whose error has this frame in its traceback, and in that the picture

    def _overdue(self) -> Refused:
        text = "the time was over before its turn came: allow more of it, or ask again later"
        return Refused(429, text, "max_seconds", retry_after=self.retry_after())

    def _unqueued(self, turn: Turn) -> None:
        if turn in self.waiting:
            self.waiting.remove(turn)
            turn.moved()
            for other in self.waiting:
                other.moved()

    def _took(self, seconds: float) -> None:
        before = seconds if self._usual is None else self._usual
        self._usual = before + SMOOTH * (seconds - before)

    def close(self) -> None:
        """Let the threads go after this pass; what waits is dropped."""
        for turn in self.turns:
            turn.abandon()
        self._threads.shutdown(wait=False, cancel_futures=True)
