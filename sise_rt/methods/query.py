"""What every method starts from, and what every method gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from sise_rt.errors import NoEvidence
from sise_rt.phases.features import Features
from sise_rt.phases.scoring import MaskedScoring
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.batches import Batches
from sise_rt.running.engine import Engine

Progress = Callable[[int, int], None]
Preview = Callable[[Sequence[np.ndarray | None]], None]


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


@dataclass(frozen=True)
class Query:
    """One picture and its targets, preprocessed and with its features.

    Attributes:
        engine: runs the bundle.
        image: (1, C, H, W) float32, the model's input.
        targets: (T,) int64 class indices.
        name: of the picture, for messages.
        batch_size: images per forward pass; None finds the fastest.
        progress: called with (images run, images to run); an exception it raises ends the call.
        preview: called with the running map of each target, (H, W) or None, by methods that have one.
        clock: seconds per phase so far.
        phase_1: the features of the image and the targets, where a method of the call needs them.
        shared: what methods of one call have scored so far.
        splits: how methods of one call split their work, by graph.
        noted: how many notes each of them had before.
    """

    engine: Engine
    image: np.ndarray
    targets: np.ndarray
    name: str
    batch_size: int | None = None
    progress: Progress | None = None
    preview: Preview | None = None
    clock: Clock = field(default_factory=Clock)
    phase_1: Features | None = None
    shared: dict[str, MaskedScoring] = field(default_factory=dict)
    splits: dict[str, Batches] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)

    @property
    def features(self) -> Features:
        """Feature maps of every block, and their gradient scores for the targets (SISE, phase 1)."""
        if self.phase_1 is None:
            raise ValueError("this query has no features: name the method among USE_FEATURES")
        return self.phase_1

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input."""
        return self.image.shape[2], self.image.shape[3]

    def batches(self, graph: str) -> Batches:
        """How to split work for one of the bundle's graphs."""
        if graph not in self.splits:
            self.splits[graph] = self.engine.batches(graph, self.batch_size)
            self.noted[graph] = len(self.splits[graph].notes)
        return self.splits[graph]

    def notes(self) -> list[str]:
        """What the call found out about batches: where the device's memory was full."""
        return [note for graph, split in self.splits.items() for note in split.notes[self.noted[graph] :]]

    def on_own_clock(self) -> Query:
        """The same query for one more method, whose time is its own."""
        return replace(self, clock=self.clock.copy())

    def scoring(self) -> MaskedScoring:
        """Masked scoring of this picture, which remembers what was scored."""
        if "maps" not in self.shared:
            scorer = self.engine.scorer(self.image, self.targets)
            self.shared["maps"] = MaskedScoring(scorer, self.features.maps, self.batches("score"))
        return self.shared["maps"]

    def ticker(self, total: int) -> Callable[[int], None]:
        """A function to call with the number of images that were run, out of `total`."""
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            if self.progress is not None:
                self.progress(done, total)

        return tick

    def one_hot(self, target: int, count: int = 1) -> np.ndarray:
        """Cotangents (count, classes) float32 that differentiate the target's logit."""
        chosen = np.zeros((count, self.engine.manifest.classes), np.float32)
        chosen[:, target] = 1
        return chosen

    def resized(self, map_: np.ndarray) -> np.ndarray:
        """A small map (h, w) at the input's resolution (H, W), bilinear with half-pixel centres."""
        return resize_map(map_, self.size)

    def no_evidence(self, target: int, what: str = "no feature map speaks", why: str = "") -> NoEvidence:
        """The error that says so for one target."""
        label = self.engine.manifest.label(int(target))
        return NoEvidence(
            f"{self.name}: {what} for target {target} ({label}){': ' if why else ''}{why}. The picture may "
            "be blank, or the class may not be in it"
        )


@dataclass(frozen=True)
class Finding:
    """What a method found for one target.

    Attributes:
        raw: (H, W) float64, not normalised.
        passes: images that went through the network forward for it.
        masks: masked copies among them.
        batch: images per forward pass.
        seconds: per phase, shared phases included.
        blocks: the evidence of each block; empty for a method of one layer, or of none.
        warnings: what the user should know.
        partial: whether the caller, or the time, ended it before it was done.
        guessed: masks whose confidence was predicted instead.
    """

    raw: np.ndarray
    passes: int
    masks: int
    batch: int
    seconds: dict[str, float]
    blocks: tuple[BlockEvidence, ...] = ()
    warnings: tuple[str, ...] = ()
    partial: bool = False
    guessed: int = 0


Found = Finding | NoEvidence
