"""What a job tells of itself while it runs: the classes, how far it is, and the map so far."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sise_rt.drawing.painting import transparent
from sise_rt.drawing.png import encode_png
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import Placement, to_original

from .jobs import Job
from .work import call_on

BEST = 10  # classes
BETWEEN = 0.25  # seconds at least between two maps
BETWEEN_PROGRESS = 0.1
LARGEST = 512  # pixels of a side of a map


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
        call_on(self._loop, event, *values)

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
