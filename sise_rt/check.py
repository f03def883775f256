"""How far the model's own confidence bears an explanation out: drop, increase, insertion and deletion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .engine import Engine
from .errors import ModelError
from .explanation import Explanation
from .features import confidences
from .metrics import deletion, drop, increase, insertion, kept_pixels, masked_confidence
from .preprocess import preprocess

STEPS = 28  # of insertion and deletion


def check(engine: Engine, explanation: Explanation) -> Explanation:
    """The explanation with the metrics of its map for its target, as fractions in [0, 1].

    `drop` and `increase` compare the confidence in the 15 % highest pixels alone with that in the picture;
    `insertion` and `deletion` are areas under curves of 28 steps.

    Raises:
        BundleError: the bundle has no forward graph.
        ModelError: the model cannot be run, or its confidences are not finite.
    """
    manifest, target = engine.manifest, explanation.target
    image = preprocess(explanation.picture, manifest.preprocess)[0][0]

    def confidence(images: np.ndarray) -> np.ndarray:
        psi = confidences(engine.forward(images), manifest.activation)[:, target]
        if not np.isfinite(psi).all():
            raise ModelError("the model's confidences are not finite for masked copies of this image")
        return psi

    kept = kept_pixels(explanation.map)
    whole = confidence(image[None])
    masked = masked_confidence(image, kept[None], confidence)
    step = -(-explanation.map.size // STEPS)
    batch = max(1, explanation.batch)
    found = {
        "drop": float(drop(whole, masked)[0]),
        "increase": float(increase(whole, masked)[0]),
        "kept": float(kept.mean()),
        "insertion": insertion(explanation.map, image, confidence, step=step, batch=batch).auc,
        "deletion": deletion(explanation.map, image, confidence, step=step, batch=batch).auc,
    }
    # A confidence of exactly 0 has no drop, and JSON has no NaN.
    return replace(explanation, check={k: None if np.isnan(v) else round(v, 6) for k, v in found.items()})
