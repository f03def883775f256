"""Maps that can be made of the same masked passes: what weighs a mask, ties, smoothing, fusion, blocks.

    python -m benchmarks.best_map BUNDLE -o REPORT [--limit 152] [--data FOLDER --format voc --only LIST]
    python -m benchmarks.evidence REPORT --part even
    python -m benchmarks.evidence REPORT --part odd

Every mask of a picture is scored once, by its log-odds; each rule then weighs the same scores, and nothing
goes through the network again but the copies that a metric asks about. The first rule is exact SISE. What is
chosen by the even pictures is told of the odd ones. `edge` is whether the map's peak lies within 5 pixels of
the input's edge. REPORT gets one line a picture; run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from benchmarks.variants import Variant, measure, parse
from sise_rt.methods import Call, Query
from sise_rt.phases.features import Features, extract
from sise_rt.phases.fusion import fuse, normalise, otsu, otsu_soft
from sise_rt.phases.masks import constant_maps, select
from sise_rt.phases.scoring import Scores, usable_maps, visualization_map
from sise_rt.pictures.picture import Picture
from sise_rt.running.engine import Engine

EDGE = 5  # pixels
TIES = 0.001

Scored = list[Scores | None]


def confidence(odds: np.ndarray) -> np.ndarray:
    """The paper's weights, of log-odds (M,): the confidence itself."""
    return 1 / (1 + np.exp(-odds))


def tempered(temperature: float) -> Callable[[np.ndarray], np.ndarray]:
    """sigmoid((L - max L) / T): between 0 and a half, however sure the model is of every copy."""
    return lambda odds: confidence((odds - odds.max()) / temperature)


def odds_themselves(odds: np.ndarray) -> np.ndarray:
    """exp(L - max L): psi / (1 - psi), as a share of the highest."""
    return np.exp(odds - odds.max())


def ranks(odds: np.ndarray) -> np.ndarray:
    """The place of each mask among all, from 0 to 1."""
    return np.argsort(np.argsort(odds)) / max(1, len(odds) - 1)


def half_otsu(map_: np.ndarray) -> np.ndarray:
    """What is above half of Otsu's threshold."""
    inside = otsu(map_) > 0
    threshold = map_[inside].min() if inside.any() else 1.0
    return np.asarray(map_ > 0.5 * threshold, np.float64)


@dataclass(frozen=True)
class Rule:
    """How the scores of all blocks' masks become a map.

    Attributes:
        weigh: from the log-odds (M,) of the masks of all blocks to their weights.
        region: of a block, in the fusion.
        smooth: standard deviation of a Gaussian over the map, as a share of the shorter side.
        ties: share of the last block's map that is added, where the fusion leaves one value in many places.
        blocks: how many of the first ones are left out.
    """

    weigh: Callable[[np.ndarray], np.ndarray] = confidence
    region: Callable[[np.ndarray], np.ndarray] = otsu
    smooth: float = 0.0
    ties: float = 0.0
    blocks: int = 0


RULES = {
    "exact": Rule(),
    "ties": Rule(ties=TIES),
    "smooth 1/64": Rule(smooth=1 / 64),
    "soft Otsu": Rule(region=otsu_soft),
    "half Otsu": Rule(region=half_otsu),
    "blocks 3 to last": Rule(blocks=2),
    "odds, ties": Rule(odds_themselves, ties=TIES),
    "T = 1, smooth": Rule(tempered(1), smooth=1 / 64),
    "T = 2, smooth": Rule(tempered(2), smooth=1 / 64),
    "T = 4, smooth": Rule(tempered(4), smooth=1 / 64),
    "T = 2, ties": Rule(tempered(2), ties=TIES),
    "ranks, smooth": Rule(ranks, smooth=1 / 64),
}


def variants(engine: Engine, picture: Picture, target: int, _seed: int) -> Iterator[Variant]:
    """Each rule that comes to a map."""
    features = extract(engine, picture.tensor, np.array([target]))
    query = Query(engine, picture, np.array([target]), features.logits)
    scoring = Call(query, features).scoring("log-odds")
    scored: Scored = []
    for b, (maps, alpha) in enumerate(zip(features.maps, features.alphas, strict=True)):
        index = np.flatnonzero(select(alpha[0], 0.0) & ~constant_maps(maps))
        scored.append(scoring.scores(b, index, lambda _: None) if len(index) else None)
    passes = features.passes + sum(len(block.index) for block in scored if block is not None)
    for name, rule in RULES.items():
        map_ = ruled(rule, features, scored, query.size)
        if map_ is not None:
            yield Variant(name, map_, passes, {"edge": float(peak_at_edge(map_))})


def ruled(rule: Rule, features: Features, scored: Scored, size: tuple[int, int]) -> np.ndarray | None:
    """The map (H, W) of a rule; None where no block has a map."""
    every = np.concatenate(
        [block.confidences[:, 0] for block in scored if block is not None] or [np.empty(0)]
    )
    if not len(every):
        return None
    weights, blocks = rule.weigh(every.astype(np.float64)), []
    for block, maps in zip(scored, features.maps, strict=True):
        if block is None:
            continue
        own, weights = np.split(weights, [len(block.index)])
        kept = np.zeros(len(maps), bool)
        kept[block.index] = True
        weighed = replace(block, confidences=own[:, None])
        v = visualization_map(maps, weighed, 0, usable_maps(kept, weighed), size)
        u = None if v is None else normalise(v)
        blocks += [] if u is None else [u]
    blocks = blocks[min(rule.blocks, max(0, len(blocks) - 1)) :]
    if not blocks:
        return None
    map_ = fuse(blocks, rule.region) + rule.ties * blocks[-1]
    return cv2.GaussianBlur(map_, (0, 0), rule.smooth * min(size)) if rule.smooth else map_


def peak_at_edge(map_: np.ndarray) -> bool:
    """Whether the highest pixel, of equal ones the first, lies within `EDGE` pixels of the edge."""
    at = np.unravel_index(np.argmax(map_), map_.shape)
    return any(min(place, side - 1 - place) < EDGE for place, side in zip(at, map_.shape, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every picture that is not in the report yet."""
    measure("best_map", parse(__doc__, 152, arguments), variants)


if __name__ == "__main__":
    main()
