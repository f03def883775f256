"""How far the model's own confidence bears a map out: drop, increase, insertion and deletion."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sise_rt.captions import class_named, is_decision, rests
from sise_rt.cautions import Caution
from sise_rt.errors import ArgumentError
from sise_rt.explanation import Explanation
from sise_rt.metrics import (
    Confidence,
    Curve,
    Region,
    borne_by,
    complexity,
    deletion,
    drop,
    increase,
    insertion,
    kept_pixels,
    masked_confidence,
    region_of,
    road,
)
from sise_rt.metrics.region import LEAST, SEED, spared
from sise_rt.pictures.picture import prepare
from sise_rt.pictures.regions import LEVEL
from sise_rt.running.engine import Engine
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences
from sise_rt.wording import probability

CURVES: dict[str, Callable[..., Curve]] = {"insertion": insertion, "deletion": deletion}
METRICS = ("drop", "increase", *CURVES)
FURTHER = ("road", "complexity")
"""Metrics that an evaluation has besides, and a check has not."""
STEPS = 28  # of insertion and deletion


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Borne:
    """What the model says of a map.

    Attributes:
        values: of each metric that was asked, in [0, 1], that of `road` in [-0.5, 0.5]; the drop of a
            confidence of exactly 0 is NaN.
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
        metrics: of `METRICS` and `FURTHER`. Drop and increase show the 15 % highest pixels.
        step: pixels that change at a time in insertion and deletion; None makes at most `STEPS` steps.
        batch: images a forward pass.

    Raises:
        ArgumentError: as the metrics do.
    """
    asked = [name for name in (*METRICS, *FURTHER) if name in set(metrics)]
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
    if "road" in asked:
        values["road"] = road(map_, image, confidence, batch=batch).value
    if "complexity" in asked:
        values["complexity"] = complexity(map_)
    return Borne({name: values[name] for name in asked}, share, curves)


def check(engine: Engine, explanation: Explanation, picture: Any = None) -> Explanation:
    """The explanation with what the model says of its map: of the region, as `check_region`, and all metrics.

    Its `check` has `region`, each of `METRICS`, and `kept`, the share of the pixels that drop and increase
    showed, all as fractions in [0, 1]; the drop of a confidence of exactly 0 is None. The arguments and the
    errors are those of `check_region`.
    """
    return check_with_curves(engine, explanation, picture)[0]


def check_with_curves(
    engine: Engine, explanation: Explanation, picture: Any = None, *, look: Callable[[], object] = _nothing
) -> tuple[Explanation, dict[str, Curve]]:
    """What `check` gives, and the curves behind `insertion` and `deletion`, by these names.

    `look` is called before every pass; what it raises ends the check.
    """
    image, confidence = _asked(engine, explanation, picture, look)
    batch = max(1, explanation.batch)
    whole = min(1.0, explanation.confidence)
    borne = check_map(explanation.map, image, whole, confidence, batch=batch)
    values = borne.values | {"kept": borne.kept}
    # JSON has no NaN.
    plain = {k: None if v is None or np.isnan(v) else round(v, 6) for k, v in values.items()}
    told = _with_region(explanation, image, confidence)
    return replace(told, check={**(told.check or {}), **plain}), borne.curves


def check_region(
    engine: Engine, explanation: Explanation, picture: Any = None, *, look: Callable[[], object] = _nothing
) -> Explanation:
    """The explanation with what the model says of the region that its map marks: see `borne_by`.

    Its `check` has `region`: the `level` of the map that bounds it, its `area` as a share of the input, the
    confidence in the `whole` picture, with the region `hidden` and shown `alone`, that without each of some
    `random` regions of equal area (`copies`, `seed`, `mean`, `lowest`, `highest`), and whether it `bears` the
    decision: whether hiding it takes the share `least` of the confidence, and as much more than hiding those
    does in the mean. Where the region is empty, or is all there is, `random` and `bears` are None. A region
    that does not bear the decision is a warning too.

    Args:
        engine: of the model that was explained.
        explanation: to be judged.
        picture: the one that was explained: a `Picture`, or what `Explainer.prepare` takes; None takes the
            one that the explanation holds.
        look: called before every pass; what it raises ends the check.

    Raises:
        BundleError: the bundle has no forward graph.
        ModelError: the model cannot be run, or its confidences are not finite.
        ImageError: the picture cannot be used.
        ArgumentError: the bundle explains the model's output as it is, which is no probability, or there is
            no picture.
    """
    return _with_region(explanation, *_asked(engine, explanation, picture, look))


def _with_region(explanation: Explanation, image: np.ndarray, confidence: Confidence) -> Explanation:
    whole, batch = min(1.0, explanation.confidence), max(1, explanation.batch)
    region = borne_by(region_of(explanation.map), image, whole, confidence, batch=batch)
    warnings = [warning for warning in explanation.warnings if warning.code != "region-not-borne"]
    if region.bears is False:
        warnings.append(Caution("region-not-borne", _not_borne(region, explanation)))
    return replace(explanation, check={"region": _record(region)}, warnings=tuple(warnings))


def _asked(
    engine: Engine, explanation: Explanation, picture: Any, look: Callable[[], object]
) -> tuple[np.ndarray, Confidence]:
    """The explained picture as the model sees it, (C, H, W), and the confidence in the target."""
    require_probabilities(engine)
    picture = explanation.picture if picture is None else picture
    if picture is None:
        raise ArgumentError(
            f"the explanation of {explanation.name} does not hold its picture any more: give it as well",
            settings=("picture",),
        )
    image = prepare(picture, engine.manifest.preprocess).tensor[0]
    asked = confidence_in(engine, explanation.target)

    def confidence(images: np.ndarray) -> np.ndarray:
        look()
        return asked(images)

    return image, confidence


def _record(region: Region) -> dict[str, Any]:
    random = (
        {
            "copies": len(region.random),
            "seed": SEED,
            "mean": float(region.random.mean()),
            "lowest": float(region.random.min()),
            "highest": float(region.random.max()),
        }
        if len(region.random)
        else None
    )
    return {
        "level": LEVEL,
        "area": region.area,
        "whole": region.whole,
        "hidden": region.hidden,
        "alone": region.alone,
        "random": random,
        "least": LEAST,
        "bears": region.bears,
    }


def _not_borne(region: Region, explanation: Explanation) -> str:
    hidden, elsewhere = probability(region.hidden), probability(float(region.random.mean()))
    if spared(region.hidden, region.whole, region.whole):
        return (
            f"without the region that the map marks the confidence is {hidden}, in the whole picture "
            f"{probability(region.whole)}: what is left suffices"
        )
    named = class_named(explanation.label, explanation.target)
    decided = is_decision(explanation.activation, explanation.target, explanation.predicted.index)
    return (
        f"without the region that the map marks the confidence is {hidden}, without as much elsewhere "
        f"{elsewhere} on average: {rests(False, named, decided=decided)}"
    )
