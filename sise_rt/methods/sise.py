"""SISE (Sattarzadeh et al., AAAI 2021): phases 2 to 4 on the features of every block."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np

from sise_rt.errors import BundleError, MethodError
from sise_rt.phases.budget import PartialScoring
from sise_rt.phases.fusion import REGIONS, fuse, import_otsu, normalise
from sise_rt.phases.masks import constant_maps, select, select_all
from sise_rt.phases.scoring import Scores, usable_maps, visualization_map

from .query import BlockEvidence, Clock, Finding, Found, Query, Stop

Selection = Callable[[np.ndarray], np.ndarray]
Scored = list[Scores | None]


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

    def check(self) -> None:
        """Raise MethodError for a limit that is none."""
        if not 0 < self.budget <= 1:
            raise MethodError(f"budget is {self.budget}, where 0 < budget <= 1 is needed")
        if self.max_passes < 0 or not 0 <= self.max_seconds < np.inf:
            raise MethodError(
                f"max_passes {self.max_passes}, max_seconds {self.max_seconds}: neither may be negative, "
                "and 0 means without limit"
            )

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
                f"max_passes {self.max_passes} leaves none for masks: the features alone take {passes}"
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


def sise(
    query: Query,
    *,
    mu: float = 0.0,
    fusion: str = "otsu",
    budget: float = 1.0,
    max_passes: int = 0,
    max_seconds: float = 0.0,
) -> list[Found]:
    """Explain the targets; masks that they share are scored once.

    Where not all masks may be scored, the others' confidences are predicted, see `sise_rt.budget`.

    Args:
        query: the picture.
        mu: selection threshold (eq. 7), 0 <= mu < 1; higher scores fewer masks.
        fusion: `otsu` (the paper) or `otsu-soft` (the authors' code).
        budget: share of the masks to score, 0 < budget <= 1.
        max_passes: forward passes in all, 0 for any number.
        max_seconds: from the call to the last pass, 0 for any time; fusion comes on top.

    Raises:
        BundleError: the bundle has no gradient scores for `mu` to select by.
        ModelError: the model's numbers are not finite for masked copies of the picture.
        MethodError: an option is out of its range.
    """
    if not 0 <= mu < 1:
        raise MethodError(f"mu is {mu}, where 0 <= mu < 1 is needed")
    manifest = query.engine.manifest
    if mu and not manifest.has_gradients:
        raise BundleError(f"{manifest.name} has no gradient scores, so mu has nothing to select by")
    limit = Limit(budget, max_passes, max_seconds)
    return perturb_and_fuse(query, lambda alpha: select(alpha, mu), fusion, limit)


def perturb_and_fuse(
    query: Query, selection: Selection, fusion: str, limit: Limit = EVERYTHING
) -> list[Found]:
    """Phases 2 to 4 with any selection of feature maps.

    Args:
        query: the picture.
        selection: from gradient scores alpha (K,) of a block to which maps are kept, bool (K,).
        fusion: as for `sise`.
        limit: of what is scored.
    """
    if fusion not in REGIONS:
        raise MethodError(f"fusion is {fusion!r}; known are {', '.join(REGIONS)}")
    limit.check()
    features, clock = query.features, query.clock
    with clock("masks"):
        if query.engine.manifest.has_gradients:
            kept = [np.array([selection(alpha) for alpha in alphas]) for alphas in features.alphas]
        else:
            kept = [np.array([select_all(len(maps)) for _ in query.targets]) for maps in features.maps]
        flat = [constant_maps(maps) for maps in features.maps]
        chosen = [
            np.flatnonzero(keep.any(axis=0) & ~constant) for keep, constant in zip(kept, flat, strict=True)
        ]

    def fused(i: int, scores: Scored) -> tuple[list[BlockEvidence], np.ndarray | None, list[str]]:
        blocks, usable, warnings = _evidence(query, i, [keep[i] for keep in kept], scores)
        return blocks, fuse(usable, REGIONS[fusion]) if usable else None, warnings

    count = sum(map(len, chosen))
    allowed = limit.masks(count, features.passes)
    tally = Tally(query.ticker(allowed), limit.seconds_left(clock))
    if not count or (allowed == count and not limit.max_seconds and query.preview is None):
        scores = score_all(query, chosen, tally)
    else:
        scores = score_some(query, chosen, allowed, tally, lambda i, scores: fused(i, scores)[1])
    stopped = tally.stopped and tally.masks < allowed
    with clock("loading"):
        import_otsu()
    found: list[Found] = []
    for i, target in enumerate(query.targets):
        own = query.on_own_clock()
        with own.clock("fusion"):
            blocks, raw, warnings = fused(i, scores)
        if raw is None:  # the other targets' work is not lost
            found.append(query.no_evidence(target, why="; ".join(warnings)))
            continue
        if tally.masks < allowed:
            ended = "stopped" if stopped else "the time was over"
            warnings.append(f"{ended} after {tally.masks} of {count} masks; the rest is predicted")
        found.append(
            Finding(
                raw,
                tally.masks + features.passes,
                tally.masks,
                query.scoring().largest,
                own.clock.seconds,
                tuple(blocks),
                tuple(warnings),
                tally.masks < allowed,
                count - tally.masks,
            )
        )
    return found


def score_all(query: Query, chosen: list[np.ndarray], tally: Tally) -> Scored:
    """Phase 3, block by block; where the caller stops it, what was not scored is predicted."""
    scoring = query.scoring()
    try:
        return [scoring.scores(b, index, tally) if len(index) else None for b, index in enumerate(chosen)]
    except Stop:
        tally.stopped = True
        partial = _partial(query, chosen)
        for b, index in enumerate(chosen):
            partial.take(b, index)
        return partial.scores()
    finally:
        query.clock.add("scoring", scoring.seconds(tally.masks))


def score_some(
    query: Query,
    chosen: list[np.ndarray],
    count: int,
    tally: Tally,
    fused: Callable[[int, Scored], np.ndarray | None],
) -> Scored:
    """Phase 3, the most telling masks first and `count` at most; the others are predicted.

    `fused` gives the map of a target, by its place, for the caller's preview.
    """
    scoring = query.scoring()
    before, spent, shown = time.perf_counter(), scoring.spent, 0.0
    partial = _partial(query, chosen)
    try:
        for _ in partial.score(count, tally):
            if query.preview is not None:
                start, running = time.perf_counter(), partial.scores()
                query.preview([_as_map(fused(i, running)) for i in range(len(query.targets))])
                shown += time.perf_counter() - start
    except Stop:
        tally.stopped = True
    except Late:
        pass
    scores = partial.scores()
    query.clock.add("scoring", scoring.seconds(tally.masks))
    query.clock.add("surrogate", time.perf_counter() - before - (scoring.spent - spent) - shown)
    return scores


def _partial(query: Query, chosen: list[np.ndarray]) -> PartialScoring:
    features = query.features
    return PartialScoring(query.scoring(), features.maps, chosen, features.alphas, query.size)


def _as_map(raw: np.ndarray | None) -> np.ndarray | None:
    """A fused map as an explanation shows it, (H, W) float32 in [0, 1]; None if there is none."""
    found = None if raw is None else normalise(raw)
    return None if found is None else found.astype(np.float32)


def _evidence(
    query: Query, position: int, kept: list[np.ndarray], scores: list[Scores | None]
) -> tuple[list[BlockEvidence], list[np.ndarray], list[str]]:
    """Each block's visualization map for one target, those that can be fused, and warnings."""
    manifest = query.engine.manifest
    blocks, usable, warnings = [], [], []
    if not manifest.has_gradients:
        warnings.append("exported without gradients: no map is selected, all that are not flat are kept")
    for block, maps, keep, scored in zip(manifest.blocks, query.features.maps, kept, scores, strict=True):
        shaped = usable_maps(keep, scored)
        v = visualization_map(maps, scored, position, shaped, query.size) if scored else None
        u = None if v is None else normalise(v)
        count, flat = int(keep.sum()), int(keep.sum() - shaped.sum())
        if u is None:
            warnings.append(f"{block.name} is skipped: {_why_skipped(len(keep), count, flat)}")
        else:
            usable.append(u)
        visual = None if u is None else u.astype(np.float32)
        blocks.append(BlockEvidence(block.name, block.channels, count, flat, visual))
    return blocks, usable, warnings


def _why_skipped(maps: int, kept: int, flat: int) -> str:
    if not kept:
        which = "its only map has no" if maps == 1 else f"none of its {maps} maps has a"
        return f"{which} positive gradient score"
    if flat == kept:
        which = "the only map" if kept == 1 else f"all {kept} maps"
        return f"{which} with a positive gradient score {'is' if kept == 1 else 'are'} flat"
    return "its visualization map is flat: the model gives no masked copy any confidence in the target"
