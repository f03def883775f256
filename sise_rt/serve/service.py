"""What all routes share: models, limits, the queue, jobs and numbers."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from starlette.requests import Request

from sise_rt.drawing.painting import transparent
from sise_rt.drawing.png import encode_png
from sise_rt.methods import Preview, Stop
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import Placement, to_original

from .asked import Asked
from .explaining import Answer, Told, explain_one, read_picture
from .jobs import Job, Jobs
from .metrics import Metrics
from .models import Model
from .refusals import refusal_of
from .settings import Settings
from .work import Turn, Work

T = TypeVar("T")

BESIDE = 2  # threads that decode and draw
BEST = 10  # classes that a job tells of
BETWEEN = 0.25  # seconds at least between two running maps
BETWEEN_PROGRESS = 0.1
STOPPING = 2.0  # seconds that it takes at most to stop what runs, and to answer
LINGER = 0.5  # seconds in which clients fetch what was found last
LARGEST = 512  # pixels of a side of the running map

log = logging.getLogger(__name__)


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
        self._running: set[asyncio.Task[None]] = set()

    async def beside(self, function: Callable[[], T]) -> T:
        """What a function gives that takes a while and does not use the device: decoding, drawing."""
        return await asyncio.get_running_loop().run_in_executor(self._beside, function)

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
            refused = refusal_of(error)
            if refused.status >= 500:
                log.exception("a job failed", extra={"model": job.model.name})
            job.failed(refused)
        finally:
            self.work.leave(job.turn)
            self.jobs.kept(job)

    async def drain(self, grace: float) -> None:
        """Admit nothing more, and wait until all that was admitted is answered.

        What is not done after `grace` seconds is stopped, which takes a pass more.
        """
        self.work.draining = True
        working = bool(self.work.turns)
        await self._answered(grace)
        for turn in list(self.work.turns):
            turn.stop()
        await self._answered(STOPPING)
        if working:
            await asyncio.sleep(LINGER)  # in which the last results are fetched

    async def _answered(self, seconds: float) -> None:
        """Wait for the answers to all that was admitted, so many seconds at most."""
        end = time.monotonic() + seconds
        while self.work.turns and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def close(self) -> None:
        """Let the threads go."""
        self.work.close()
        self._beside.shutdown(wait=False, cancel_futures=True)


class Reporter:
    """Tells a job's events from the thread that works on it; often enough, and no more often.

    Args:
        job: to tell them of.
        placement: of the picture that is explained.
    """

    def __init__(self, job: Job, placement: Placement):
        self._job, self._loop = job, asyncio.get_running_loop()
        height, width = placement.original
        scale = min(1.0, LARGEST / max(height, width))
        small = max(1, round(scale * height)), max(1, round(scale * width))
        self._placement = replace(placement, original=small)
        self._began = self._mapped = self._progressed = 0.0

    def _tell(self, event: Callable[..., None], *values: Any) -> None:
        self._loop.call_soon_threadsafe(event, *values)

    def predict(self, picture: Picture) -> None:
        """Tell the best classes."""
        explainer = self._job.model.explainer
        confidences, manifest = explainer.confidences(picture), explainer.manifest
        best = [
            {"index": int(i), "label": manifest.label(int(i)), "confidence": float(confidences[i])}
            for i in np.argsort(-confidences, kind="stable")[:BEST]
        ]
        self._tell(self._job.predicted, best)
        self._began = time.monotonic()

    def progress(self, scored: int, total: int) -> None:
        """Tell how many masks are scored, and by that how long the others take."""
        now = time.monotonic()
        if scored < total and now - self._progressed < BETWEEN_PROGRESS:
            return
        self._progressed = now
        left = (now - self._began) / scored * (total - scored) if scored else None
        if left is not None:
            left = round(min(left, self._job.turn.left()), 1)
        self._tell(self._job.progressed, scored, total, left)

    def preview(self, maps: Sequence[np.ndarray | None]) -> None:
        """Tell the running map, where somebody listens."""
        now = time.monotonic()
        (map_,) = maps
        if map_ is None or not self._job.listeners or now - self._mapped < BETWEEN:
            return
        self._mapped = now
        shown = np.clip(to_original(map_, self._placement)[0], 0, 1)
        png = encode_png(transparent(shown, self._job.asked.palette))
        self._tell(self._job.mapped, base64.b64encode(png).decode("ascii"))


def service_of(request: Request) -> Service:
    """The state of the server that a request came to."""
    return request.app.state.service
