"""Phase 1 (SISE): feature maps of every block and their gradient scores for a target."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sise_rt.bundle import BEST
from sise_rt.running.engine import Engine
from sise_rt.running.finite import require_finite


@dataclass(frozen=True)
class Features:
    """What one forward and backward pass tells of an image and T targets.

    Attributes:
        maps: A_b of each block, (K, h, w) float32.
        alphas: alpha_b of each block, (T, K): the mean over locations of the gradient of each target's
            log-odds (eq. 6); empty where the bundle has no gradients.
        logits: (classes,).
        passes: how often the network was run forward.
    """

    maps: list[np.ndarray]
    alphas: list[np.ndarray]
    logits: np.ndarray
    passes: int


def extract(engine: Engine, image: np.ndarray, targets: np.ndarray) -> Features:
    """Run the feature graph for as many targets at a time as it takes; the maps are the same each time.

    Args:
        engine: runs the bundle.
        image: (1, C, H, W) float32.
        targets: (T,) int64 class indices, or places among the classes as the bundle's graph takes them.

    Raises:
        ModelError: the model gives values that are not finite.
    """
    alphas: list[list[np.ndarray]] = []
    at_once = engine.targets_at_once if engine.manifest.has_gradients else len(targets)
    for start in range(0, len(targets), at_once):
        maps, scores, logits = engine.features(image, targets[start : start + at_once])
        alphas.append(scores)
    every_alpha = (alpha for scores in alphas for alpha in scores)
    require_finite("feature maps, gradients or logits", "for this image", logits, *maps, *every_alpha)
    return Features(
        [a[0] for a in maps],
        [np.concatenate(scores) for scores in zip(*alphas, strict=True)],
        logits[0],
        len(alphas),
    )


def extract_best(engine: Engine, image: np.ndarray, count: int) -> tuple[np.ndarray, Features]:
    """The features for the `count` classes with the highest logits, and their indices, by falling logit.

    Arguments and errors are those of `extract`. A bundle of a schema before 1.2 takes one run more.
    """
    if engine.manifest.shared_forward:
        best = extract(engine, image, BEST - np.arange(min(count, engine.manifest.classes)))
        return np.argsort(-best.logits, kind="stable")[:count], best
    first = extract(engine, image, np.array([BEST if engine.manifest.takes_best else 0]))
    order = np.argsort(-first.logits, kind="stable")[:count]
    if not engine.manifest.has_gradients:
        return order, first
    if not engine.manifest.takes_best:
        features = extract(engine, image, order)
        return order, replace(features, passes=features.passes + first.passes)
    if len(order) == 1:
        return order, first
    others = extract(engine, image, order[1:])
    alphas = [np.concatenate(pair) for pair in zip(first.alphas, others.alphas, strict=True)]
    return order, Features(first.maps, alphas, first.logits, first.passes + others.passes)
