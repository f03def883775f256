"""What each part of SISE is worth, on ImageNet photos: blocks, the mask's area, and the gradient's seed.

    python benchmarks/ablation.py BUNDLE -o REPORT [--limit 50]
    python benchmarks/evidence.py REPORT

Every variant is made of the same masked scores. Only photos whose class is predicted right count, so that all
metrics are of one target. REPORT gets one line a photo; run it again to go on after an interruption.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from reference import MATERIAL

import sise_rt
from sise_rt.bundle import sha256
from sise_rt.check import check_map, confidence_in
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.evaluation.measure import TRUTH_METRICS
from sise_rt.evaluation.store import append, open_report
from sise_rt.evaluation.truth import draw, to_input
from sise_rt.features import Features, confidences, extract
from sise_rt.fusion import fuse, normalise, otsu
from sise_rt.masks import constant_maps, select
from sise_rt.preprocess import MAX_PIXELS, load_image, preprocess
from sise_rt.scoring import MaskedScoring, Scores, usable_maps, visualization_map

DATA = MATERIAL / "images" / "imagenet_val"
BATCH = 8


def logit_scores(
    engine: sise_rt.explainer.Engine, image: np.ndarray, features: Features, target: int
) -> list[np.ndarray]:
    """Gradient scores of every block for the raw logit: the bundle's own heads, another seed."""
    one_hot = np.zeros((1, engine.manifest.classes), np.float32)
    one_hot[0, target] = 1
    _, gradient, _ = engine.last_block_gradient(image, one_hot)
    found = [gradient.mean(axis=(2, 3))[0]]
    for head, maps in zip(engine.manifest.graphs["heads"][-2::-1], features.maps[-2::-1], strict=True):
        session = engine.session(head)
        names = [slot.name for slot in session.get_inputs()]
        gradient, alpha = session.run(None, dict(zip(names, (maps[None], gradient), strict=True)))
        found.append(alpha[0])
    return found[::-1]


def without_area(
    maps: np.ndarray, scores: Scores, usable: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """V_b with every mask divided by 1 and not by its area (eq. 12 without eq. 11)."""
    flat = Scores(scores.index, scores.confidences, scores.minimum, scores.maximum, np.ones_like(scores.area))
    return visualization_map(maps, flat, 0, usable, size)


def draws(count: int, seed: int) -> dict[str, list[int]]:
    """Some of `count` blocks at random: all but two, and two."""
    sizes = [size for size in dict.fromkeys((count - 2, 2)) if 0 < size < count]
    return {
        f"{size} random blocks": sorted(
            np.random.default_rng([seed, size]).choice(count, size, replace=False).tolist()
        )
        for size in sizes
    }


def variants(
    engine: sise_rt.explainer.Engine, image: np.ndarray, target: int, seed: int
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Name, map (H, W) and forward passes of each variant that has a usable block."""
    targets, size = np.array([target]), image.shape[2:]
    features = extract(engine, image, targets)
    scoring = MaskedScoring(engine.scorer(image, targets), features.maps, engine.batches("score"))
    flat = [constant_maps(maps) for maps in features.maps]

    def blocks_of(alphas: list[np.ndarray], form=visualization_map) -> list[tuple[np.ndarray | None, int]]:
        found = []
        for b, (maps, alpha) in enumerate(zip(features.maps, alphas, strict=True)):
            keep = select(alpha, 0.0)
            index = np.flatnonzero(keep & ~flat[b])
            scores = scoring.scores(b, index, lambda _: None) if len(index) else None
            usable = usable_maps(keep, scores)
            if scores is None:
                v = None
            elif form is visualization_map:
                v = visualization_map(maps, scores, 0, usable, size)
            else:
                v = form(maps, scores, usable, size)
            found.append((None if v is None else normalise(v), len(index)))
        return found

    def fused(
        name: str, blocks: list[tuple[np.ndarray | None, int]]
    ) -> Iterator[tuple[str, np.ndarray, int]]:
        if maps := [u for u, _ in blocks if u is not None]:
            yield name, fuse(maps, otsu), features.passes + sum(count for _, count in blocks)

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


def main() -> None:
    """Append a line of rows for every photo that is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=50, help="photos that are predicted right")
    arguments = parser.parse_args()
    explainer = sise_rt.load(arguments.bundle)
    engine, spec = explainer.engine, explainer.manifest.preprocess
    settings = {"benchmark": "ablation", "bundle": sha256(arguments.bundle / "manifest.json")}
    done = open_report(arguments.out, settings)
    right = 0
    for sample in read_dataset(DATA, "csv-boxes").samples:
        if right == arguments.limit:
            break
        picture = load_image(DATA / sample.image, max_pixels=MAX_PIXELS)
        image, placement = preprocess(picture, spec)
        trust = confidences(engine.forward(image), explainer.manifest.activation)[0]
        (label, truth), target = next(iter(sample.present.items())), int(trust.argmax())
        if label != str(target) or truth is None:
            continue
        drawn, _ = draw(truth, picture.shape[:2], DATA, sample.image, MAX_PIXELS)
        if drawn is None or not (marked := to_input(drawn, placement)).any():
            continue  # there is nothing to compare with
        right += 1
        if sample.image in done:
            continue

        confidence = confidence_in(engine, target)
        rows = []
        for name, map_, passes in variants(engine, image, target, right):
            borne = check_map(map_, image[0], trust[target], confidence, batch=BATCH)
            found = {key: metric(map_, marked) for key, metric in TRUTH_METRICS.items()} | borne.values
            rows.append({
                "class": label, "target": target, "label": explainer.manifest.label(target), "method": name,
                "annotated": True, "predicted": True, "difficult": truth.difficult,
                "confidence": float(trust[target]), "truth_area": float(marked.mean()), "kept": borne.kept,
                "passes": passes, "seconds": None, "curves": {}, "note": None,
                "metrics": {k: None if math.isnan(v) else float(v) for k, v in found.items()},
            })  # fmt: skip
        append(arguments.out, {"image": sample.image, "rows": rows, "problems": []})
        print(f"{right} of {arguments.limit}", flush=True)


if __name__ == "__main__":
    main()
