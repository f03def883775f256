"""How far the model's own confidence bears a map out: drop, increase, insertion and deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.explanation import Explanation
from sise_rt.metrics import (
    Confidence,
    Curve,
    deletion,
    drop,
    increase,
    insertion,
    kept_pixels,
    masked_confidence,
)
from sise_rt.pictures.picture import prepare
from sise_rt.running.engine import Engine
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences

CURVES: dict[str, Callable[..., Curve]] = {"insertion": insertion, "deletion": deletion}
METRICS = ("drop", "increase", *CURVES)
STEPS = 28  # of insertion and deletion


@dataclass(frozen=True)
class Borne:
    """What the model says of a map.

    Attributes:
        values: of each metric that was asked, in [0, 1]; the drop of a confidence of exactly 0 is NaN.
        kept: the share of the pixels that drop and increase showed; None if neither was asked.
        curves: behind insertion and deletion.
    """

    values: dict[str, float]
    kept: float | None
    curves: dict[str, Curve]


def require_probabilities(engine: Engine) -> None:
    """Find out whether a bundle has confidences to judge maps by, and open what gives them.

    Raises:
        ArgumentError: it explains the model's output as it is.
        BundleError: it has no forward graph.
    """
    if engine.manifest.activation == "none":
        raise ArgumentError(
            f"{engine.manifest.name} explains the model's output as it is: drop, increase, insertion and "
            "deletion need probabilities",
            settings=("check", "metrics"),
        )
    engine.require("forward")


def confidence_in(engine: Engine, target: int) -> Confidence:
    """The confidence in a class as a function of inputs, (N, C, H, W) to (N,), as metrics take it.

    Raises:
        BundleError: when called, the bundle has no forward graph.
        ModelError: when called, the model cannot be run, or its confidences are not finite.
    """

    def confidence(images: np.ndarray) -> np.ndarray:
        psi = confidences(engine.forward(images), engine.manifest.activation)[:, target]
        require_finite("confidences", "for masked copies of this image", psi)
        return psi

    return confidence


def check_map(
    map_: np.ndarray,
    image: np.ndarray,
    whole: float,
    confidence: Confidence,
    metrics: Iterable[str] = METRICS,
    *,
    step: int | None = None,
    batch: int = 16,
) -> Borne:
    """Ask the model about any map of one image and class.

    Args:
        map_: (H, W).
        image: (C, H, W), preprocessed.
        whole: the confidence in the whole image, in [0, 1].
        confidence: as `confidence_in` gives it.
        metrics: of `METRICS`. Drop and increase show the 15 % highest pixels.
        step: pixels that change at a time in insertion and deletion; None makes at most `STEPS` steps.
        batch: images a forward pass.

    Raises:
        ArgumentError: as the metrics do.
    """
    asked = [name for name in METRICS if name in set(metrics)]
    values: dict[str, float] = {}
    share = None
    if {"drop", "increase"} & set(asked):
        kept = kept_pixels(map_)
        share = float(kept.mean())
        before = np.array([whole])
        masked = masked_confidence(image, kept[None], confidence, batch=batch)
        values = {"drop": float(drop(before, masked)[0]), "increase": float(increase(before, masked)[0])}
    step = -(-map_.size // STEPS) if step is None else step
    curves = {
        name: CURVES[name](map_, image, confidence, step=step, batch=batch)
        for name in asked
        if name in CURVES
    }
    values |= {name: curve.auc for name, curve in curves.items()}
    return Borne({name: values[name] for name in asked}, share, curves)


def check(engine: Engine, explanation: Explanation, picture: Any) -> Explanation:
    """The explanation with all metrics of its map for its target, and `kept`, as fractions in [0, 1].

    Args:
        engine: of the model that was explained.
        explanation: to be judged.
        picture: the one that was explained: a `Picture`, or what `Explainer.prepare` takes.

    Raises:
        BundleError: the bundle has no forward graph.
        ModelError: the model cannot be run, or its confidences are not finite.
        ImageError: the picture cannot be used.
        ArgumentError: the bundle explains the model's output as it is, which is no probability.
    """
    require_probabilities(engine)
    image = prepare(picture, engine.manifest.preprocess).tensor
    confidence = confidence_in(engine, explanation.target)
    borne = check_map(
        explanation.map, image[0], confidence(image)[0], confidence, batch=max(1, explanation.batch)
    )
    values = borne.values | {"kept": borne.kept}
    # JSON has no NaN.
    plain = {k: None if v is None or np.isnan(v) else round(v, 6) for k, v in values.items()}
    return replace(explanation, check=plain)
