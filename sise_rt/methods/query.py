"""What every method starts from, what the methods of a call share, and what every method gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from sise_rt.cautions import Caution
from sise_rt.errors import NoEvidence
from sise_rt.phases.features import Features
from sise_rt.phases.rounded_scoring import make_scorer
from sise_rt.phases.scoring import MaskedScoring
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.batches import Batches
from sise_rt.running.engine import Engine
from sise_rt.running.log_odds_scorer import LogOddsScorer
from sise_rt.running.logits import confidences

Progress = Callable[[int, int], None]
SCORES = ("probability", "log-odds")  # that a mask may be weighted by
Preview = Callable[[Sequence[np.ndarray | None]], None]


ABSENT = "The picture may be blank, or the class may not be in it"
NO_EFFECT = "The picture may be blank, or nothing in it may raise the output"


class Stop(Exception):
    """Raised by a caller's `progress` or `preview`: SISE and Ada-SISE explain by what they have."""


class Clock:
    """Seconds per phase."""

    def __init__(self, seconds: dict[str, float] | None = None):
        self.seconds = seconds or {}

    def copy(self) -> Clock:
        """A clock that goes on from here on its own."""
        return Clock(dict(self.seconds))

    def add(self, phase: str, seconds: float) -> None:
        """Add what was measured elsewhere."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Add the time that a block of code takes to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(phase, time.perf_counter() - start)


@dataclass(frozen=True)
class Query:
    """What is asked: why the model sees these targets in this picture.

    Attributes:
        engine: runs the bundle.
        picture: preprocessed.
        targets: (T,) int64 class indices.
        logits: (classes,) of the picture.
    """

    engine: Engine
    picture: Picture
    targets: np.ndarray
    logits: np.ndarray

    @property
    def image(self) -> np.ndarray:
        """(1, C, H, W) float32, the model's input."""
        return self.picture.tensor

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input."""
        return self.image.shape[2], self.image.shape[3]

    def confidence(self, target: int) -> float:
        """The model's in a class, in this picture."""
        return float(confidences(self.logits, self.engine.manifest.activation)[target])

    def one_hot(self, target: int, count: int = 1) -> np.ndarray:
        """Cotangents (count, classes) float32 that differentiate the target's logit."""
        chosen = np.zeros((count, self.engine.manifest.classes), np.float32)
        chosen[:, target] = 1
        return chosen

    def resized(self, map_: np.ndarray) -> np.ndarray:
        """A small map (h, w) at the input's resolution (H, W), bilinear with half-pixel centres."""
        return resize_map(map_, self.size)


class Call:
    """What the methods of one call share: the caller's wishes, and what was worked out so far.

    Args:
        query: what is asked.
        features: of the picture and the targets; None where no method of the call needs them.
        batch_size: images per forward pass; None finds the fastest.
        progress: called with (images run, images to run); an exception it raises ends the call.
        preview: called with the running map of each target, (H, W) or None, by methods that have one.
    """

    def __init__(
        self,
        query: Query,
        features: Features | None = None,
        *,
        batch_size: int | None = None,
        progress: Progress | None = None,
        preview: Preview | None = None,
    ):
        self.preview = preview
        self._query, self._features = query, features
        self._batch_size, self._progress = batch_size, progress
        self._scoring: dict[str, MaskedScoring] = {}
        self._batches: dict[str, Batches] = {}
        self._old_notes: dict[str, int] = {}  # how many each had before this call

    @property
    def features(self) -> Features:
        """Feature maps of every block, and their gradient scores for the targets (SISE, phase 1)."""
        assert self._features is not None, "the method's record says that it needs no features"
        return self._features

    def scoring(self, scores: str = SCORES[0]) -> MaskedScoring:
        """Masked scoring of the picture, which remembers what was scored.

        Args:
            scores: of `SCORES`; where the bundle explains the output itself, both are the output.
        """
        query, maps, graph = self._query, self.features.maps, self.scored_by(scores)
        if graph not in self._scoring:
            make = make_scorer if graph == "score" else LogOddsScorer
            scorer, batches = make(query.engine, query.image, query.targets), self.batches(graph)
            probable = graph == "score" and query.engine.manifest.activation != "none"
            self._scoring[graph] = MaskedScoring(scorer, maps, batches, probable)
        return self._scoring[graph]

    def scored_by(self, scores: str) -> str:
        """The graph that masked copies go through for the scores, as for `scoring`."""
        output = self._query.engine.manifest.activation == "none"
        return "score" if output or scores == SCORES[0] else "forward"

    def batches(self, graph: str) -> Batches:
        """How work for one of the bundle's graphs is split."""
        if graph not in self._batches:
            self._batches[graph] = self._query.engine.batches(graph, self._batch_size)
            self._old_notes[graph] = len(self._batches[graph].notes)
        return self._batches[graph]

    def most_at_once(self, images: int) -> int:
        """How many of some images a pass may take where its size must not be found by trying."""
        fixed = self._query.engine.manifest.input.batch
        return int(fixed) if fixed else min(self._batch_size or images, images)

    def notes(self) -> list[Caution]:
        """What the call found out about batches: where the device's memory was full."""
        return [
            note for graph, split in self._batches.items() for note in split.notes[self._old_notes[graph] :]
        ]

    def ticker(self, total: int) -> Callable[[int], None]:
        """A function to call with the number of images that were run, out of `total`."""
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            if self._progress is not None:
                self._progress(done, total)

        return tick


@dataclass(frozen=True)
class BlockEvidence:
    """What one block contributes to an explanation.

    Attributes:
        name: of the block.
        maps: how many feature maps it has.
        kept: how many were selected by their gradient score.
        constant: how many of those are flat and were dropped.
        visualization: U_b (H, W) float32 in [0, 1], V_b min-max normalised; None if no map was usable.
    """

    name: str
    maps: int
    kept: int
    constant: int
    visualization: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a method found for one target.

    Attributes:
        raw: (H, W) float64, not normalised.
        passes: images that went through the network forward for it.
        masks: masked copies among them.
        batch: images per forward pass.
        seconds: per phase, shared phases included.
        shared_seconds: of those the ones that the targets of the call share.
        blocks: the evidence of each block; empty for a method of one layer, or of none.
        warnings: what the user should know.
        partial: whether the caller, or the time, ended it before it was done.
        guessed: masks whose confidence was predicted instead.
        graph: that the masked copies went through.
    """

    raw: np.ndarray
    passes: int
    masks: int = 0
    batch: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    shared_seconds: dict[str, float] = field(default_factory=dict)
    blocks: tuple[BlockEvidence, ...] = ()
    warnings: tuple[Caution, ...] = ()
    partial: bool = False
    guessed: int = 0
    graph: str = "forward"


@dataclass(frozen=True)
class Nothing:
    """That a method found nothing for a target.

    Attributes:
        what: does not speak for it.
        why: if that is known.
        advice: what that may mean, or would help; by default that of a picture without the class.
        settings: of the method, that would help.
    """

    what: str = "no feature map speaks"
    why: str = ""
    advice: str = ""
    settings: tuple[str, ...] = ()

    def warning(self) -> Caution:
        """The same of a map that there is all the same."""
        text = f"{self.what} in the target ({self.why}): the map shows the masks alone. {self.advice}"
        return Caution("masks-alike", text)


Answer = Finding | NoEvidence


def each_target(
    query: Query, clock: Clock, explain_one: Callable[[int, int, Clock], Finding | Nothing]
) -> list[Answer]:
    """What a method finds for every target, each with a time of its own.

    Args:
        query: what is asked.
        clock: of the method so far; what it counted is shared by the targets.
        explain_one: from a target's place among the targets, its class index and its own clock.
    """
    answers: list[Answer] = []
    for place, target in enumerate(query.targets.tolist()):
        own = clock.copy()
        answer = explain_one(place, target, own)
        if isinstance(answer, Nothing):
            answers.append(_no_evidence(query, target, answer))
        else:
            answers.append(replace(answer, seconds=own.seconds, shared_seconds=dict(clock.seconds)))
    return answers


def _no_evidence(query: Query, target: int, nothing: Nothing) -> NoEvidence:
    manifest = query.engine.manifest
    advice = nothing.advice or (NO_EFFECT if manifest.activation == "none" else ABSENT)
    error = NoEvidence(
        f"{query.picture.name}: {nothing.what} for target {target} ({manifest.label(target)})"
        f"{': ' if nothing.why else ''}{nothing.why}. {advice}",
        settings=nothing.settings,
    )
    best = int(np.argmax(query.logits))
    error.target, error.predicted = (
        (index, manifest.label(index), query.confidence(index)) for index in (target, best)
    )
    return error
