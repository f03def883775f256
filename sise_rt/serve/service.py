"""What all routes share: models, limits, the queue, jobs and numbers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from sise_rt.methods import Preview, Stop
from sise_rt.pictures.picture import Picture

from .asked import Asked
from .explaining import Answer, Told, explain_one, read_picture
from .jobs import Job, Jobs
from .metrics import Metrics
from .models import Model
from .refusals import told
from .reporting import Reporter
from .settings import Settings
from .work import Turn, Work

T = TypeVar("T")

BESIDE = 2  # threads that decode and draw
STOPPING = 2.0  # seconds that it takes at most to stop what runs, and to answer
LINGER = 0.5  # seconds in which clients fetch what was found last


class Service:
    """A server's state. Its methods are called on the event loop.

    Args:
        models: by name.
        settings: of the operator.
        example: whether the picture that ships is served.
    """

    def __init__(self, models: Mapping[str, Model], settings: Settings, *, example: bool = False):
        self.models, self.settings, self.example = models, settings, example
        self.work = Work(settings.workers, settings.queue)
        self.jobs = Jobs(settings.keep, settings.kept_bytes)
        self.metrics = Metrics(
            lambda: len(self.work.waiting), lambda: len(self.work.turns), lambda: len(self.jobs)
        )
        self._beside = ThreadPoolExecutor(BESIDE, "beside")
        self._pieces: set[Future[Any]] = set()  # of work, that its threads have or will have
        self._running: set[asyncio.Task[None]] = set()

    async def beside(self, function: Callable[[], T]) -> T:
        """What a function gives that takes a while and does not use the device: decoding, drawing."""
        piece = self._beside.submit(function)
        self._pieces.add(piece)
        piece.add_done_callback(self._pieces.discard)
        try:
            return await asyncio.wrap_future(piece)
        finally:
            del piece  # whose error has this frame in its traceback, and in that the picture

    async def read(self, model: Model, source: Any, asked: Asked) -> Picture:
        """A picture, prepared; see `read_picture`."""
        return await self.beside(partial(read_picture, model, source, asked, self.settings.max_pixels))

    async def explain(
        self,
        turn: Turn,
        model: Model,
        picture: Picture,
        asked: Asked,
        *,
        first: Callable[[], object] | None = None,
        progress: Told | None = None,
        preview: Preview | None = None,
    ) -> Answer:
        """Explain a picture when its turn comes; see `explain_one`, whose errors are its own.

        `first` is run before, in the thread that uses the device.
        """
        turn.limit(asked.max_seconds)

        def work() -> Answer:
            if first is not None:
                first()
            return explain_one(model, picture, asked, turn, progress=progress, preview=preview)

        answer = await self.work.run(turn, work)
        self.metrics.explained(model.name, answer.explanation, turn.waited or 0.0)
        return answer

    def start(self, model: Model, picture: Picture, asked: Asked, turn: Turn) -> Job:
        """Make a job of a picture; its turn's place is given back when it is over."""
        job = Job(model, asked, turn)
        turn.moved = lambda: job.queued(self.work.place(turn))
        self.jobs.add(job)
        task = asyncio.get_running_loop().create_task(self._run(job, picture))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return job

    async def _run(self, job: Job, picture: Picture) -> None:
        reporter = Reporter(job, picture.placement)
        try:
            job.done(
                await self.explain(
                    job.turn,
                    job.model,
                    picture,
                    job.asked,
                    first=partial(reporter.predict, picture),
                    progress=reporter.progress,
                    preview=reporter.preview,
                )
            )
        except Stop:
            job.stopped()
        except Exception as error:
            job.failed(told(error, model=job.model.name))
        finally:
            self.work.leave(job.turn)
            self.jobs.kept(job)
            job.turn.forget()  # its circle with the job, which would keep the picture for a while

    async def drain(self, end: float) -> None:
        """Admit nothing more, and wait until all that was admitted is answered, but not after `end`.

        What is not done shortly before that is stopped, which takes a pass more.

        Args:
            end: by the monotonic clock.
        """
        self.work.draining = True
        working = bool(self.work.turns)
        await self._answered(end - LINGER - STOPPING)
        for turn in list(self.work.turns):
            turn.stop()
        await self._answered(end - LINGER)
        if working:  # the last results are fetched
            await asyncio.sleep(max(0.0, min(LINGER, end - time.monotonic())))

    async def _answered(self, end: float) -> None:
        """Wait for the answers to all that was admitted, but not after `end`."""
        while self.work.turns and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Let the threads go."""
        self.work.close()
        self._beside.shutdown(wait=False, cancel_futures=True)

    def ended(self, seconds: float) -> bool:
        """Whether no thread works any more, after so many seconds at most."""
        return not wait({*self.work.pieces, *self._pieces}, seconds).not_done


def service_of(request: Request) -> Service:
    """The state of the server that a request came to."""
    return request.app.state.service
