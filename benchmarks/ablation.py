"""What each part of SISE is worth, on ImageNet photos: blocks, the mask's area, and the gradient's seed.

    python -m benchmarks.ablation BUNDLE -o REPORT [--limit 50]
    python -m benchmarks.evidence REPORT

Every variant is made of the same masked scores. Only photos whose class is predicted right count, so that all
metrics are of one target. REPORT gets one line a photo; run it again to go on after an interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.variants import Variant, measure, parse
from sise_rt.graphs import head_graph
from sise_rt.phases.features import Features, extract
from sise_rt.phases.fusion import fuse, normalise, otsu
from sise_rt.phases.masks import constant_maps, select
from sise_rt.phases.scoring import MaskedScoring, Scores, usable_maps, visualization_map
from sise_rt.pictures.picture import Picture
from sise_rt.running.engine import Engine

# The visualization map of a block, of its maps (K, h, w), their scores, which are usable (K,), and the size.
Combine = Callable[[np.ndarray, Scores, np.ndarray, tuple[int, int]], np.ndarray | None]
# A block's U_b (H, W), if it has one, and how many masks were scored for it.
Block = tuple[np.ndarray | None, int]


def logit_scores(engine: Engine, image: np.ndarray, features: Features, target: int) -> list[np.ndarray]:
    """Gradient scores (K,) of every block for the raw logit: the bundle's own heads, another seed."""
    one_hot = np.zeros((1, engine.manifest.classes), np.float32)
    one_hot[0, target] = 1
    _, gradient, _ = engine.last_block_gradient(image, one_hot)
    scores = [gradient.mean(axis=(2, 3))[0]]  # of the last block first
    for index in range(len(features.maps) - 1, 0, -1):
        graph, maps = engine.sessions.open(head_graph(index)), features.maps[index - 1]
        names = [tensor.name for tensor in graph.spec.inputs]
        gradient, alpha = graph.run(dict(zip(names, (maps[None], gradient), strict=True)))
        scores.append(alpha[0])
    return scores[::-1]


def without_area(
    maps: np.ndarray, scores: Scores, usable: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """V_b (H, W) with no mask divided by its area (eq. 12 without eq. 11); None where no map is usable."""
    flat = Scores(scores.index, scores.confidences, scores.minimum, scores.maximum, np.ones_like(scores.area))
    return visualization_map(maps, flat, 0, usable, size)


def draws(count: int, seed: int) -> dict[str, list[int]]:
    """Blocks drawn from `count` of them, ascending, by the drawing's name: all but two, and two."""
    sizes = [size for size in dict.fromkeys((count - 2, 2)) if 0 < size < count]
    return {
        f"{size} random blocks": sorted(
            np.random.default_rng([seed, size]).choice(count, size, replace=False).tolist()
        )
        for size in sizes
    }


def normal_map(
    maps: np.ndarray, scores: Scores, usable: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """V_b (H, W) as SISE has it."""
    return visualization_map(maps, scores, 0, usable, size)


def variants(engine: Engine, picture: Picture, target: int, seed: int) -> Iterator[Variant]:
    """Each variant that has a usable block."""
    image, targets = picture.tensor, np.array([target])
    features = extract(engine, image, targets)
    scoring = MaskedScoring(engine.scorer(image, targets), features.maps, engine.batches("score"))
    flat = [constant_maps(maps) for maps in features.maps]

    def blocks_of(alphas: list[np.ndarray], combine: Combine = normal_map) -> list[Block]:
        blocks = []
        for b, (maps, alpha) in enumerate(zip(features.maps, alphas, strict=True)):
            keep = select(alpha, 0.0)
            index = np.flatnonzero(keep & ~flat[b])
            scores = scoring.scores(b, index, lambda _: None) if len(index) else None
            usable = usable_maps(keep, scores)
            v = None if scores is None else combine(maps, scores, usable, image.shape[2:])
            blocks.append((None if v is None else normalise(v), len(index)))
        return blocks

    def fused(name: str, blocks: list[Block]) -> Iterator[Variant]:
        if maps := [u for u, _ in blocks if u is not None]:
            passes = features.passes + sum(count for _, count in blocks)
            yield Variant(name, fuse(maps, otsu), passes)

    alphas = [alpha[0] for alpha in features.alphas]
    whole = blocks_of(alphas)
    count = len(whole)
    yield from fused("all blocks", whole)
    yield from fused("last block only", whole[-1:])
    if count > 3:  # of three it is the last block only
        yield from fused(f"blocks 3 to {count}", whole[2:])
    for name, chosen in draws(count, seed).items():
        yield from fused(name, [whole[b] for b in chosen])
    yield from fused("without the area", blocks_of(alphas, without_area))
    yield from fused("selected by the logit", blocks_of(logit_scores(engine, image, features, target)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every photo that is not in the report yet."""
    measure("ablation", parse(__doc__, 50, arguments), variants)


if __name__ == "__main__":
    main()
