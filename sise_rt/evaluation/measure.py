"""One picture of a data set: which pairs of class and method there are, and the metrics of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt import metrics
from sise_rt.errors import NoEvidence
from sise_rt.explainer import Explainer
from sise_rt.explanation import Explanation
from sise_rt.methods import Request
from sise_rt.metrics.agreement import METRICS as TRUTH_METRICS
from sise_rt.metrics.check import FURTHER, check_map, confidence_in
from sise_rt.metrics.check import METRICS as CHECKED
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import Placement
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences

from .given_maps import GivenMap, MapFolder
from .samples import Problem, Sample
from .store import CURVE_POINTS
from .truth import draw, to_input

Answer = Explanation | GivenMap | NoEvidence

MODEL_METRICS = (*CHECKED, *FURTHER)
METRICS = (*TRUTH_METRICS, *MODEL_METRICS)
NOTED = "picture that was read with a note"
"""The kind of the problem of a picture of which something was left out, or is doubtful."""
NO_MAP = "map that is not there, or cannot be used"
"""The kind of the problem of a class of a picture of which somebody's maps are to be measured."""


@dataclass(frozen=True)
class Plan:
    """What is measured on every picture.

    Attributes:
        requests: the methods; the first is what others are compared with.
        maps: what others made, measured behind the methods in the same way.
        metrics: of `METRICS`.
        targets: for each class of the data set that the model has, the model's classes.
        max_box_area: pairs whose truth covers more than this share of the model's input are left out.
        step: pixels that change at a time in insertion and deletion; None makes at most `check.STEPS` steps.
        batch_size: images a forward pass; None leaves it to the method.
        max_pixels: larger pictures are refused.
        bit_depth: of pictures that are stored in 16 bits; None takes what each file or the model says.
    """

    requests: tuple[Request, ...]
    metrics: tuple[str, ...]
    targets: Mapping[str, tuple[int, ...]]
    max_box_area: float = 1.0
    step: int | None = None
    batch_size: int | None = None
    max_pixels: int = MAX_PIXELS
    bit_depth: int | None = None
    maps: tuple[MapFolder, ...] = ()

    @property
    def methods(self) -> tuple[str, ...]:
        """What the methods, and the maps of others, are called in rows and reports."""
        return (*(asked.label for asked in self.requests), *(given.name for given in self.maps))

    @property
    def on_truth(self) -> tuple[str, ...]:
        """The metrics that compare with ground truth."""
        return tuple(name for name in self.metrics if name in TRUTH_METRICS)

    @property
    def on_model(self) -> tuple[str, ...]:
        """The metrics that ask the model."""
        return tuple(name for name in self.metrics if name not in TRUTH_METRICS)


@dataclass(frozen=True)
class Pair:
    """A class to be explained: the data set's name if it is annotated, the target, and its truth (H, W)."""

    name: str | None
    target: int
    truth: np.ndarray | None
    predicted: bool
    difficult: bool = False


def read_picture(explainer: Explainer, folder: Path, sample: Sample, plan: Plan) -> Picture:
    """Read and preprocess a picture of the data set in this folder.

    Raises:
        ImageError: it cannot be used.
    """
    picture = explainer.prepare(folder / sample.image, bit_depth=plan.bit_depth, max_pixels=plan.max_pixels)
    return replace(picture, name=sample.image)  # as rows name it: folders may move


def measure(
    explainer: Explainer, picture: Picture, folder: Path, sample: Sample, plan: Plan
) -> dict[str, Any]:
    """Explain and judge one picture.

    Args:
        explainer: of the bundle.
        picture: from `read_picture`.
        folder: of the data set.
        sample: the picture and its classes.
        plan: what to measure.

    Returns:
        Ready for JSON: `image`; `right`, whether the predicted class is one of the picture's, None where the
        model has none of them; `rows` (one a class and method, in the order of the classes and methods); and
        `problems` (kind, where, detail). In a row's `metrics` None is NaN; what does not apply is not there.

    Raises:
        MethodError: an option of a method is out of its range.
        SiseError: the model cannot be run on the picture.
    """
    trust = confidences(explainer.engine.forward(picture.tensor), explainer.manifest.activation)[0]
    require_finite("logits", "for this image", trust)
    problems: list[Problem] = []
    if picture.notes:
        problems.append(Problem(NOTED, sample.image, "; ".join(picture.notes)))
    pairs = _pairs(sample, plan, trust, picture.placement, folder, problems)
    rows: list[dict[str, Any]] = []
    if pairs:
        targets = list(dict.fromkeys(pair.target for pair in pairs))
        explained = answers_of(explainer, picture, targets, plan)
        problems += [
            Problem(NO_MAP, f"{sample.image}: {explainer.manifest.label(target)}", str(answer))
            for given in plan.maps
            for target, answer in zip(targets, explained[given.name], strict=True)
            if isinstance(answer, NoEvidence)
        ]
        for pair in pairs:
            for method in plan.methods:
                answer = explained[method][targets.index(pair.target)]
                rows.append(_row(explainer, picture, pair, method, answer, trust, plan))
    annotated = [index for name in sample.present for index in plan.targets.get(name, ())]
    return {
        "image": sample.image,
        "right": int(trust.argmax()) in annotated if annotated else None,
        "rows": rows,
        "problems": [[p.kind, p.where, p.detail] for p in problems],
    }


def answers_of(
    explainer: Explainer, picture: Picture, targets: Sequence[int], plan: Plan
) -> dict[str, list[Answer]]:
    """What the methods of a plan, and the maps of others, say of a picture: one a target, by their names.

    Raises:
        SiseError: the model cannot be run on the picture.
    """
    answers: dict[str, list[Answer]] = {}
    if plan.requests:
        explained = explainer.explain_methods(picture, targets, plan.requests, batch_size=plan.batch_size)
        answers |= {label: list(parts) for label, parts in explained.items()}
    for given in plan.maps:
        answers[given.name] = [given.map(picture, target) for target in targets]
    return answers


def _pairs(
    sample: Sample,
    plan: Plan,
    trust: np.ndarray,
    placement: Placement,
    folder: Path,
    problems: list[Problem],
) -> list[Pair]:
    """Annotated classes with a truth to compare with, and the predicted class if the model is asked."""
    best = int(trust.argmax()) if plan.on_model else None
    pairs: list[Pair] = []
    for name, truth in sorted(sample.present.items()) if plan.on_truth else ():
        if truth is None or name not in plan.targets:
            continue
        where = f"{sample.image}: {name}"
        whole, faults = draw(truth, placement.original, folder, where, plan.max_pixels)
        problems += faults
        if whole is None:
            continue
        mask = to_input(whole, placement)
        if not mask.any():
            problems.append(Problem("truth outside the crop", where, "the model does not see it"))
        elif mask.mean() > plan.max_box_area:
            problems.append(Problem("truth too large", where, f"{mask.mean():.3f} of the input"))
        else:
            target = max(plan.targets[name], key=lambda index: trust[index])
            pairs.append(Pair(name, target, mask, target == best, truth.difficult))
            if target == best:
                best = None  # its row has the model's metrics; no class is counted twice
    if best is not None:
        pairs.append(Pair(None, best, None, True))
    return pairs


def _row(
    explainer: Explainer,
    picture: Picture,
    pair: Pair,
    method: str,
    answer: Answer,
    trust: np.ndarray,
    plan: Plan,
) -> dict[str, Any]:
    whole = float(trust[pair.target])
    row: dict[str, Any] = {
        "class": pair.name,
        "target": pair.target,
        "label": explainer.manifest.label(pair.target),
        "method": method,
        "annotated": pair.truth is not None,
        "predicted": pair.predicted,
        "difficult": pair.difficult,
        "confidence": whole,
        "truth_area": None if pair.truth is None else float(pair.truth.mean()),
    }
    wanted = (plan.on_truth if pair.truth is not None else ()) + (plan.on_model if pair.predicted else ())
    if isinstance(answer, NoEvidence):
        nothing: dict[str, Any] = dict.fromkeys(wanted)
        empty = {"metrics": nothing, "kept": None, "passes": None, "seconds": None, "curves": {}}
        return row | empty | {"note": "; ".join([f"no evidence: {answer}", *picture.notes])}
    values: dict[str, float] = {}
    kept, curves = None, dict[str, metrics.Curve]()
    if pair.truth is not None:
        values = {name: TRUTH_METRICS[name](answer.map, pair.truth) for name in plan.on_truth}
    if pair.predicted and plan.on_model:
        confidence = confidence_in(explainer.engine, pair.target)
        batch = plan.batch_size or 16
        image = picture.tensor[0]
        borne = check_map(answer.map, image, whole, confidence, plan.on_model, step=plan.step, batch=batch)
        kept, curves = borne.kept, borne.curves
        values |= borne.values
    return row | {
        "metrics": {name: _plain(values[name]) for name in wanted},
        "kept": kept,
        "passes": answer.passes,
        "seconds": None if answer.seconds is None else _without_loading(answer.seconds),
        "curves": {name: _sampled(curve) for name, curve in curves.items()},
        "note": "; ".join(answer.warnings) or None,
    }


def _without_loading(seconds: Mapping[str, float]) -> float:
    return round(sum(spent for phase, spent in seconds.items() if phase != "loading"), 4)


def _sampled(curve: metrics.Curve) -> list[float]:
    """The confidence at `CURVE_POINTS` shares."""
    grid = np.linspace(0, 1, CURVE_POINTS)
    return [round(float(y), 5) for y in np.interp(grid, curve.share, curve.confidence)]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
