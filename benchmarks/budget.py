"""SISE with a budget against exact SISE: which masks to score, and how many.

    python -m benchmarks.budget BUNDLE -o REPORT [--limit 100] [--data FOLDER --format voc --only LIST]
    python -m benchmarks.evidence REPORT

Every mask of a photo is scored once, and every policy is given what it asks for: the paper's thresholds mu,
the highest gradient scores of each block with and without predicting the other masks, masks far from each
other, masks at random, and the product's own choice. Only pictures whose class is predicted right count.
REPORT gets one line a picture; run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.variants import Variant, measure, parse
from sise_rt.methods import Call, Clock, Finding, Query, request
from sise_rt.phases.budget import PartialScoring
from sise_rt.phases.features import Features, extract
from sise_rt.phases.fusion import fuse, normalise, otsu
from sise_rt.phases.masks import constant_maps, select
from sise_rt.phases.scoring import MaskedScoring, Scores, usable_maps, visualization_map
from sise_rt.phases.surrogate import pooled_masks
from sise_rt.pictures.picture import Picture
from sise_rt.running.engine import Engine

BUDGETS = (0.2, 0.1, 0.05)
THRESHOLDS = (0.3, 0.5, 0.75)
SHARE = 0.1  # of the masks, where policies are compared

Chosen = list[np.ndarray]
"""Indices of maps, ascending, one array a block."""


def quiet(_: int) -> None:
    """No progress."""


def variants(engine: Engine, picture: Picture, target: int, seed: int) -> Iterator[Variant]:
    """Each policy that comes to a map."""
    features = extract(engine, picture.tensor, np.array([target]))
    query = Query(engine, picture, np.array([target]), features.logits)
    call = Call(query, features)
    scoring = call.scoring()
    chosen = [
        np.flatnonzero(select(alpha[0], 0.0) & ~constant_maps(maps))
        for maps, alpha in zip(features.maps, features.alphas, strict=True)
    ]
    for b, index in enumerate(chosen):
        if len(index):
            scoring.scores(b, index, quiet)

    def product(name: str, **options: float) -> Iterator[Variant]:
        asked = request("sise", **options)
        (answer,) = asked.method.run(query, call, Clock(), **asked.settings)
        if isinstance(answer, Finding):
            yield Variant(name, answer.raw, answer.passes)

    yield from product("exact")
    for budget in BUDGETS:
        yield from product(f"budget {budget:g}", budget=budget)
    for mu in THRESHOLDS:
        yield from product(f"mu {mu:g}", mu=mu)
    count = round(SHARE * sum(map(len, chosen)))
    best, far, drawn = by_alpha(features, chosen), spread(features, chosen), at_random(chosen, seed)
    for name, order, predicted in (
        ("highest alpha", best, False),
        ("highest alpha, rest predicted", best, True),
        ("farthest apart, rest predicted", far, True),
        ("random, rest predicted", drawn, True),
    ):
        some = parts(order[: max(2, count)], chosen)
        map_ = fused(features, scoring, chosen, some, query.size, predicted)
        if map_ is not None:
            yield Variant(f"{name} {SHARE:g}", map_, features.passes + sum(map(len, some)))


def by_alpha(features: Features, chosen: Chosen) -> np.ndarray:
    """An order of all masks: by the share of their block's masks that have a higher gradient score."""
    places = []
    for alpha, index in zip(features.alphas, chosen, strict=True):
        place = np.empty(len(index))
        place[np.argsort(-alpha[0, index], kind="stable")] = np.arange(len(index)) + 0.5
        places.append(place / max(1, len(index)))
    return np.argsort(np.concatenate(places), kind="stable")


def spread(features: Features, chosen: Chosen) -> np.ndarray:
    """An order of all masks: farthest first (Gonzalez 1985), from the one with the highest gradient score."""
    pooled = [pooled_masks(maps[i]) for maps, i in zip(features.maps, chosen, strict=True) if len(i)]
    points = np.concatenate(pooled)
    order = [int(by_alpha(features, chosen)[0])]
    away = ((points - points[order[0]]) ** 2).sum(axis=1)
    while len(order) < len(points):
        order.append(int(away.argmax()))
        away = np.minimum(away, ((points - points[order[-1]]) ** 2).sum(axis=1))
        away[order] = -1
    return np.array(order)


def at_random(chosen: Chosen, seed: int) -> np.ndarray:
    """A random order of all masks."""
    return np.random.default_rng(seed).permutation(sum(map(len, chosen)))


def parts(order: np.ndarray, chosen: Chosen) -> Chosen:
    """The masks of an order, block by block.

    Args:
        order: places in the concatenation of `chosen`.
        chosen: the maps of each block that there are to score.
    """
    ends = np.cumsum([0, *map(len, chosen)])
    return [
        index[np.sort(order[(order >= start) & (order < end)] - start)]
        for index, start, end in zip(chosen, ends, ends[1:], strict=False)
    ]


def fused(
    features: Features,
    scoring: MaskedScoring,
    chosen: Chosen,
    some: Chosen,
    size: tuple[int, int],
    predicted: bool,
) -> np.ndarray | None:
    """The map (H, W) of some of the chosen masks, and with `predicted` of what is predicted of the others."""
    scores: list[Scores | None]
    if predicted:
        partial = PartialScoring(scoring, features.maps, chosen, features.alphas, size)
        for b, index in enumerate(some):
            partial.take(b, index)
        scores = partial.scores()
    else:
        scores = [scoring.so_far(b, index) for b, index in enumerate(some)]
    return fused_scores(features, scores, size)


def fused_scores(
    features: Features, scores: Sequence[Scores | None], size: tuple[int, int]
) -> np.ndarray | None:
    """The map (H, W) of each block's scores; None if nothing can be fused."""
    maps = []
    for block, scored in zip(features.maps, scores, strict=True):
        if scored is None:
            continue
        keep = np.zeros(len(block), bool)
        keep[scored.index] = True
        v = visualization_map(block, scored, 0, usable_maps(keep, scored), size)
        u = None if v is None else normalise(v)
        maps += [] if u is None else [u]
    return fuse(maps, otsu) if maps else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every picture that is not in the report yet."""
    measure("budget", parse(__doc__, 100, arguments), variants)


if __name__ == "__main__":
    main()
