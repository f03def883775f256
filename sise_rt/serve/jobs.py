"""Jobs: explanations that a client starts, watches, stops and fetches by an address."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from .asked import Asked
from .explaining import Answer
from .models import Model
from .refusals import Refused
from .work import Turn

ALIVE = 15.0  # seconds after which a silent stream says that it is still there
MOST_KEPT = 1000  # jobs that are over
ENDS = ("done", "failed", "stopped")


@dataclass(frozen=True)
class Event:
    """What happened to a job: a number that rises, a name, and JSON."""

    number: int
    name: str
    data: str

    def written(self) -> bytes:
        """As a stream of server-sent events has it."""
        return f"id: {self.number}\nevent: {self.name}\ndata: {self.data}\n\n".encode()


class Job:
    """An explanation in the making. Used from the event loop.

    Of the events of a name only the last one is kept, as it tells all that the others told.

    Attributes:
        id: that nobody guesses.
        model: that is explained.
        asked: how.
        turn: on the device.
        status: `queued`, `running`, or of `ENDS`.
        scored: masks.
        total: masks to score; 0 until it is known.
        best: the classes with the highest confidence, each with `index`, `label` and `confidence`.
        error: that ended it, ready for JSON.
        answer: that was found; None before its end, and where nothing was.
        ended: when it was over, by the monotonic clock.
        listeners: streams of its events.
    """

    def __init__(self, model: Model, asked: Asked, turn: Turn):
        self.id = secrets.token_urlsafe(16)
        self.model, self.asked, self.turn = model, asked, turn
        self.status = "queued"
        self.scored = self.total = self.position = 0
        self.best: list[dict[str, Any]] = []
        self.error: dict[str, str | None] | None = None
        self.answer: Answer | None = None
        self.ended = 0.0
        self.listeners = 0
        self._number = 0
        self._events: dict[str, Event] = {}
        self._wake = asyncio.Event()
        self._deserted: asyncio.TimerHandle | None = None

    @property
    def over(self) -> bool:
        """Whether nothing happens to it any more."""
        return self.status in ENDS

    def described(self) -> dict[str, Any]:
        """Where it stands, ready for JSON."""
        return {
            "id": self.id,
            "model": self.model.name,
            "status": self.status,
            "position": self.position,
            "scored": self.scored,
            "total": self.total,
            "error": self.error,
            "record": self.answer.record() if self.answer else None,
            "best": self.best,
        }

    def queued(self, position: int) -> None:
        """Its place in the queue; 0 once it runs."""
        if self.over:
            return
        self.position = position
        if position:
            self._tell("queued", {"position": position})
        else:
            self.status = "running"

    def predicted(self, best: list[dict[str, Any]]) -> None:
        """What the model sees in the picture."""
        self.best = best
        self._tell("prediction", {"best": best})

    def progressed(self, scored: int, total: int, seconds_left: float | None) -> None:
        """How far it is."""
        self.scored, self.total = scored, total
        self._tell("progress", {"scored": scored, "total": total, "seconds_left": seconds_left})

    def mapped(self, png: str) -> None:
        """The running map, a transparent PNG in base64."""
        self._tell("map", {"png": png})

    def done(self, answer: Answer) -> None:
        """It has an answer, whole or partial."""
        self.answer = answer
        self._end("stopped" if answer.explanation.partial and self.turn.stopped else "done")

    def stopped(self) -> None:
        """It was ended before there was anything to show."""
        self._end("stopped")

    def failed(self, refused: Refused) -> None:
        """It has no answer, and this is why."""
        self.error = refused.told()
        self._end("failed")

    def _end(self, status: str) -> None:
        self.status, self.ended, self.position = status, time.monotonic(), 0
        for name in ("queued", "map"):
            self._events.pop(name, None)
        if status == "failed":
            self._tell(status, dict(self.error or {}))
        else:
            self._tell(status, {"record": self.answer.record() if self.answer else None})

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        self._number += 1
        self._events[name] = Event(self._number, name, json.dumps(data, allow_nan=False))
        self._wake.set()
        self._wake = asyncio.Event()

    def since(self, number: int) -> list[Event]:
        """The events after one, in their order."""
        return sorted(
            (event for event in self._events.values() if event.number > number), key=lambda e: e.number
        )

    async def stream(self, after: int, return_seconds: float) -> AsyncIterator[bytes]:
        """Its events as they come, from the one after `after` to its end.

        A client that leaves may come back within `return_seconds`; then the job is stopped.
        """
        self.listeners += 1
        self.seen()
        try:
            while True:
                wake = self._wake
                for event in self.since(after):
                    after = event.number
                    yield event.written()
                if self.over:
                    return
                try:
                    await asyncio.wait_for(wake.wait(), ALIVE)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.listeners -= 1
            if not self.listeners and not self.over:
                self._deserted = asyncio.get_running_loop().call_later(return_seconds, self.turn.stop)

    def seen(self) -> None:
        """Take note that its client is still there."""
        if self._deserted is not None:
            self._deserted.cancel()
            self._deserted = None


class Jobs:
    """The jobs of a server, which it forgets some time after their end. Used from the event loop.

    Args:
        keep: seconds that a result is kept.
        kept_bytes: of all results; the oldest go first.
    """

    def __init__(self, keep: float, kept_bytes: int):
        self._keep, self._kept_bytes = keep, kept_bytes
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Let it be found."""
        self._jobs[job.id] = job

    def named(self, id_: str) -> Job:
        """The job of that name, whose client is there.

        Raises:
            Refused: there is none, or not any more.
        """
        if id_ not in self._jobs:
            text = f"no such job: results are kept {self._keep:g} seconds, and fewer where there are many"
            raise Refused(404, text, "id")
        self._jobs[id_].seen()
        return self._jobs[id_]

    def unfinished(self) -> list[Job]:
        """Those that are not over."""
        return [job for job in self._jobs.values() if not job.over]

    def forget(self, id_: str) -> None:
        """Let go of a job, and of its picture and results."""
        self._jobs.pop(id_, None)

    def kept(self, job: Job) -> None:
        """Take note that a job is over: it is forgotten in time, and others now where there is no room."""
        asyncio.get_running_loop().call_later(self._keep, self.forget, job.id)
        over = sorted((one for one in self._jobs.values() if one.over), key=lambda one: one.ended)
        sizes = [_size(one) for one in over]
        for place, old in enumerate(over[:-1]):
            if sum(sizes[place:]) <= self._kept_bytes and len(over) - place <= MOST_KEPT:
                break
            self.forget(old.id)


def _size(job: Job) -> int:
    """Bytes that a job's result takes, most of them its picture's."""
    if job.answer is None:
        return 0
    explanation = job.answer.explanation
    arrays = [explanation.map, explanation.raw, *(block.visualization for block in explanation.blocks)]
    if explanation.picture is not None:
        arrays += [explanation.picture.pixels, explanation.picture.tensor]
    return sum(array.nbytes for array in arrays if array is not None)
