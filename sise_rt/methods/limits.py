"""How much of the masks may be scored, and what ends the scoring in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from sise_rt.errors import MethodError

from .query import Clock


@dataclass(frozen=True)
class Limit:
    """How much may be scored.

    Attributes:
        budget: share of the masks, 0 < budget <= 1.
        max_passes: forward passes in all, 0 for any number.
        max_seconds: from the call to the last pass, 0 for any time; fusion comes on top.
    """

    budget: float = 1.0
    max_passes: int = 0
    max_seconds: float = 0.0

    def seconds_left(self, clock: Clock) -> float:
        """How long scoring may take, after what the clock counted."""
        return self.max_seconds - sum(clock.seconds.values()) if self.max_seconds else np.inf

    def masks(self, count: int, passes: int) -> int:
        """How many of `count` masks may be scored, after so many passes; at least one if there is any."""
        allowed = min(count, max(1, ceil(self.budget * count - 1e-9)))  # 0.1 of 30 is 3, whatever floats say
        if not self.max_passes:
            return allowed
        if count and self.max_passes <= passes:
            raise MethodError(
                f"max_passes {self.max_passes} leaves none for masks: the features alone take {passes}",
                settings=("max_passes",),
            )
        return min(allowed, self.max_passes - passes)


EVERYTHING = Limit()


class Late(Exception):
    """The time for scoring is over."""


class Tally:
    """Counts the masks that were scored, and ends the scoring in time.

    Args:
        tick: called with the number of masks after every batch.
        seconds: that scoring may take from now on.

    Attributes:
        masks: how many were scored.
        stopped: whether the caller ended it.
    """

    def __init__(self, tick: Callable[[int], None], seconds: float):
        self.masks, self.stopped = 0, False
        self._tick, self._deadline = tick, time.perf_counter() + seconds

    def __call__(self, masks: int) -> None:
        """Take note of a batch; raises Late where it was the last in time."""
        self.masks += masks
        self._tick(masks)
        if time.perf_counter() > self._deadline:
            raise Late
