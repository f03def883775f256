"""SISE (Sattarzadeh et al., AAAI 2021): phases 2 to 4 on the features of every block."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import inf

import numpy as np

from sise_rt.cautions import Caution
from sise_rt.phases.budget import PartialScoring
from sise_rt.phases.features import Features
from sise_rt.phases.fusion import REGIONS, fuse, import_otsu, normalise
from sise_rt.phases.masks import constant_maps, select, select_all
from sise_rt.phases.scoring import MaskedScoring, Scores, all_alike, usable_maps, visualization_map, zero_of

from .limits import EVERYTHING, Late, Limit, Tally
from .method import Method, Option, Range
from .query import (
    SCORES,
    Answer,
    BlockEvidence,
    Call,
    Clock,
    Finding,
    Nothing,
    Query,
    Stop,
    each_target,
)
from .unexplained import undecided, unseen

Selection = Callable[[np.ndarray], np.ndarray]
Region = Callable[[np.ndarray], np.ndarray]
Scored = list[Scores | None]


def sise(
    query: Query,
    call: Call,
    clock: Clock,
    *,
    mu: float,
    fusion: str,
    budget: float,
    max_passes: int,
    max_seconds: float,
    scores: str,
) -> list[Answer]:
    """Explain the targets; masks that they share are scored once.

    Where not all masks may be scored, the others' confidences are predicted, see `sise_rt.phases.budget`.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        mu: selection threshold (eq. 7), 0 <= mu < 1; higher scores fewer masks.
        fusion: `otsu` (the paper) or `otsu-soft` (the authors' code).
        budget: share of the masks to score, 0 < budget <= 1.
        max_passes: forward passes in all, 0 for any number.
        max_seconds: from the call to the last pass, 0 for any time; fusion comes on top.
        scores: what weighs a mask: the `probability` (the paper), or the `log-odds`, which still differ where
            probabilities are all but 1. They are counted from the smallest, see `zero_of`.

    Raises:
        ModelError: the model's numbers are not finite for masked copies of the picture.
        MethodError: `max_passes` leaves none for masks.
    """
    limit = Limit(budget, max_passes, max_seconds)
    selection, region = (lambda alpha: select(alpha, mu)), REGIONS[fusion]
    return perturb_and_fuse(query, call, clock, selection, region, limit=limit, scores=scores)


def perturb_and_fuse(
    query: Query,
    call: Call,
    clock: Clock,
    selection: Selection,
    region: Region,
    *,
    limit: Limit = EVERYTHING,
    scores: str | None = None,
) -> list[Answer]:
    """Phases 2 to 4 with any selection of feature maps.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        selection: from gradient scores alpha (K,) of a block to which maps are kept, bool (K,).
        region: as for `fuse`.
        limit: of what is scored.
        scores: of `SCORES`, what weighs a mask; None where the method has no choice.
    """
    scoring = call.scoring(scores or SCORES[0])
    with clock("masks"):
        kept, masks = _selected(query, call.features, selection)

    def fused(place: int, scored: Scored) -> tuple[list[BlockEvidence], np.ndarray | None, list[Caution]]:
        own = [keep[place] for keep in kept]
        blocks, usable, warnings = _evidence(query, call.features, place, own, scored, scoring.probabilities)
        return blocks, fuse(usable, region) if usable else None, warnings

    count = sum(map(len, masks))
    allowed = limit.masks(count, call.features.passes)
    tally = Tally(call.ticker(allowed), limit.seconds_left(clock))
    if not count or (allowed == count and not limit.max_seconds and call.preview is None):
        scored = score_all(query, call, clock, masks, tally, scoring=scoring)
    else:
        running = partial(score_some, fused=lambda *of: fused(*of)[1], scoring=scoring)
        scored = running(query, call, clock, masks, allowed, tally)
    with clock("loading"):
        import_otsu()

    def explain_one(place: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("fusion"):
            blocks, raw, warnings = fused(place, scored)
        alike = all_alike(_scored(scoring, masks, [keep[place] for keep in kept]), place)
        unmoved = None if alike is None else undecided(query, alike, scores)
        if raw is None:  # the other targets' work is not lost
            if not any(keep[place].any() for keep in kept):
                return unseen(query, target, why="; ".join(warnings))
            return unmoved or Nothing(why="; ".join(warnings))
        if unmoved:
            warnings.append(unmoved.warning())
        if tally.masks < allowed:
            warnings.append(_ended(tally, count))
        return Finding(
            raw=raw,
            passes=tally.masks + call.features.passes,
            masks=tally.masks,
            batch=scoring.largest,
            blocks=tuple(blocks),
            warnings=tuple(warnings),
            partial=tally.masks < allowed,
            guessed=count - tally.masks,
            graph=call.scored_by(scores or SCORES[0]),
        )

    return each_target(query, clock, explain_one)


def _ended(tally: Tally, count: int) -> Caution:
    """That not all of `count` masks were scored."""
    text = f"after {tally.masks} of {count} masks; the rest is predicted"
    if tally.stopped:
        return Caution("stopped", f"stopped {text}")
    return Caution("out-of-time", f"the time was over {text}")


def _selected(
    query: Query, features: Features, selection: Selection
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Of each block the maps that are kept for each target, bool (T, K), and the indices of the masks."""
    if query.engine.manifest.has_gradients:
        kept = [np.array([selection(alpha) for alpha in alphas]) for alphas in features.alphas]
    else:
        kept = [np.array([select_all(len(maps)) for _ in query.targets]) for maps in features.maps]
    masks = [
        np.flatnonzero(keep.any(axis=0) & ~constant_maps(maps))
        for keep, maps in zip(kept, features.maps, strict=True)
    ]
    return kept, masks


def _scored(scoring: MaskedScoring, masks: list[np.ndarray], kept: list[np.ndarray]) -> Scored:
    """What the model itself said of each block's maps that are kept for one target and not flat."""
    scored: Scored = []
    for b, (index, keep) in enumerate(zip(masks, kept, strict=True)):
        scores = scoring.so_far(b, index)
        own = np.flatnonzero(usable_maps(keep, scores))
        scored.append(scores.of(own) if scores is not None and len(own) else None)
    return scored


def score_all(
    query: Query,
    call: Call,
    clock: Clock,
    masks: list[np.ndarray],
    tally: Tally,
    *,
    scoring: MaskedScoring,
) -> Scored:
    """Phase 3, block by block; where the caller stops it, what was not scored is predicted."""
    try:
        return [scoring.scores(b, index, tally) if len(index) else None for b, index in enumerate(masks)]
    except Stop:
        tally.stopped = True
        some = _partial(query, call, masks, scoring)
        for b, index in enumerate(masks):
            some.take(b, index)
        return some.scores()
    finally:
        clock.add("scoring", scoring.seconds(tally.masks))


def score_some(
    query: Query,
    call: Call,
    clock: Clock,
    masks: list[np.ndarray],
    count: int,
    tally: Tally,
    *,
    fused: Callable[[int, Scored], np.ndarray | None],
    scoring: MaskedScoring,
) -> Scored:
    """Phase 3, the most telling masks first and `count` at most; the others are predicted.

    `fused` gives the map of a target, by its place, for the caller's preview.
    """
    before, spent, shown = time.perf_counter(), scoring.spent, 0.0
    some = _partial(query, call, masks, scoring)
    try:
        for _ in some.score(count, tally):
            if call.preview is not None:
                start, running = time.perf_counter(), some.scores()
                call.preview([_as_map(fused(place, running)) for place in range(len(query.targets))])
                shown += time.perf_counter() - start
    except Stop:
        tally.stopped = True
    except Late:
        pass
    scores = some.scores()
    clock.add("scoring", scoring.seconds(tally.masks))
    clock.add("surrogate", time.perf_counter() - before - (scoring.spent - spent) - shown)
    return scores


def _partial(query: Query, call: Call, masks: list[np.ndarray], scoring: MaskedScoring) -> PartialScoring:
    features = call.features
    return PartialScoring(scoring, features.maps, masks, features.alphas, query.size)


def _as_map(raw: np.ndarray | None) -> np.ndarray | None:
    """A fused map as an explanation shows it, (H, W) float32 in [0, 1]; None if there is none."""
    map_ = None if raw is None else normalise(raw)
    return None if map_ is None else map_.astype(np.float32)


def _evidence(
    query: Query,
    features: Features,
    place: int,
    kept: list[np.ndarray],
    scores: Scored,
    probabilities: bool,
) -> tuple[list[BlockEvidence], list[np.ndarray], list[Caution]]:
    """Each block's visualization map for one target, those that can be fused, and warnings."""
    manifest = query.engine.manifest
    blocks, usable, warnings = [], [], []
    own = [
        scored and scored.of(np.flatnonzero(shaped)) if shaped.any() else None
        for scored, shaped in zip(scores, map(usable_maps, kept, scores), strict=True)
    ]
    zero = zero_of(own, place, probabilities)
    if not manifest.has_gradients:
        text = "exported without gradients: no map is selected, all that are not flat are kept"
        warnings.append(Caution("no-gradients", text))
    for block, maps, keep, scored in zip(manifest.blocks, features.maps, kept, scores, strict=True):
        shaped = usable_maps(keep, scored)
        v = None
        if scored:
            v = visualization_map(maps, scored, place, shaped, query.size, zero=zero)
        u = None if v is None else normalise(v)
        count, flat = int(keep.sum()), int(keep.sum() - shaped.sum())
        if u is None:
            why = _why_skipped(len(keep), count, flat, probabilities)
            warnings.append(Caution("block-skipped", f"{block.name} is skipped: {why}"))
        else:
            usable.append(u)
        visual = None if u is None else u.astype(np.float32)
        blocks.append(BlockEvidence(block.name, block.channels, count, flat, visual))
    return blocks, usable, warnings


def _why_skipped(maps: int, kept: int, flat: int, probabilities: bool) -> str:
    if not kept:
        which = "its only map has no" if maps == 1 else f"none of its {maps} maps has a"
        return f"{which} positive gradient score"
    if flat == kept:
        which = "the only map" if kept == 1 else f"all {kept} maps"
        return f"{which} with a positive gradient score {'is' if kept == 1 else 'are'} flat"
    if probabilities:
        return "its visualization map is flat: the model gives no masked copy any confidence in the target"
    return "its visualization map is flat: no masked copy scores more than the least of all blocks' ones"


METHOD = Method(
    name="sise",
    run=sise,
    help="SISE (Sattarzadeh et al., AAAI 2021): phases 2 to 4 on the features of every block.",
    options=(
        Option(
            "mu",
            0.0,
            "Selection threshold: higher scores fewer masks, 0.3 about a quarter.",
            Range(0, 1, below=True),
            selects=True,
        ),
        Option(
            "fusion", "otsu", "The paper's region of a block, or the authors' code's.", choices=tuple(REGIONS)
        ),
        Option("budget", 1.0, "The share of the masks to score.", Range(0, 1, above=True)),
        Option("max_passes", 0, "Forward passes at most.", Range(low=0), off="no limit"),
        Option(
            "max_seconds",
            0.0,
            "Seconds that features and scoring may take at most; loading and fusion come on top.",
            Range(0, inf, below=True),
            off="no limit",
        ),
        Option(
            "scores",
            SCORES[0],
            "What weighs a mask; log-odds differ where probabilities are all but 1.",
            choices=SCORES,
        ),
    ),
    features=True,
    blocks=True,
)
