"""How many images a forward pass takes: found while the work is done, and less where memory is short."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from sise_rt.cautions import Caution
from sise_rt.errors import OutOfMemory

RUNS = 5  # of a size before it is judged; the first allocates and tunes
GAIN = 0.98  # a larger batch costs memory, so it must pay

T = TypeVar("T")


class Batches:
    """Splits work into batches; tries the sizes in turn on the work itself and then keeps the fastest.

    Thread-safe: calls at the same time share what they find out.

    Args:
        sizes: to try, ascending; a single one is kept.

    Attributes:
        size: the one in use.
        notes: what the user should know: where the device's memory was full.
    """

    def __init__(self, sizes: Sequence[int]):
        self._left, self.size, self._settled = list(sizes[1:]), sizes[0], len(sizes) == 1
        self._best, self._fastest = sizes[0], float("inf")
        self._runs: list[float] = []  # seconds an image, of the size on trial
        self._lock = threading.Lock()
        self.notes: list[Caution] = []

    def each(self, count: int, run: Callable[[slice], T], done: Callable[[int], None]) -> list[T]:
        """What `run` gives for every part of `count` images.

        Args:
            count: images.
            run: takes a part; is called again with a smaller one where the device's memory was full.
            done: called with the number of images after every batch.

        Raises:
            OutOfMemory: not even one image fits.
        """
        results, at = [], 0
        while at < count:
            size = self.size
            part = slice(at, min(at + size, count))
            start = time.perf_counter()
            try:
                results.append(run(part))
            except OutOfMemory:
                if part.stop - at == 1:
                    raise
                self._halve(size)
                continue
            images = part.stop - at
            if images == size:
                self._judge(size, (time.perf_counter() - start) / images)
            at = part.stop
            done(images)
        return results

    def _judge(self, size: int, seconds: float) -> None:
        """Take note of the seconds an image took; after some runs of a size, go on to the next."""
        with self._lock:
            if self._settled or size != self.size:
                return
            self._runs.append(seconds)
            if len(self._runs) < RUNS:
                return
            if min(self._runs[1:]) < GAIN * self._fastest:
                self._fastest, self._best = min(self._runs[1:]), size
            self._runs.clear()
            self._settled = not self._left
            self.size = self._best if self._settled else self._left.pop(0)

    def _halve(self, size: int) -> None:
        with self._lock:
            if size != self.size:  # another call has seen to it
                return
            smaller = self._best if self._best < size else size // 2
            text = f"the device's memory was full at {size} images a pass: went on with {smaller}"
            self.notes.append(Caution("memory-full", text))
            self._settled, self.size = True, smaller
