"""How often a model is right on labelled pictures, and whether another preprocessing does clearly better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from sise_rt.bulk.items import overlapped
from sise_rt.errors import ArgumentError, SiseError
from sise_rt.explainer import Explainer
from sise_rt.pictures.picture import prepare_variants
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.preprocessing import Preprocess
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences

from .alternatives import alternatives
from .clearly import Clear, clearly_better, evidence
from .samples import Dataset, Sample

COMPARED = 100  # pictures, at most, that alternatives are tried on
AT_ONCE = 8  # images a forward pass, where memory allows

Progress = Callable[[int, int, str], None]


class Answers(NamedTuple):
    """What a model says of some pictures, in their order, by each of some preprocessings.

    Attributes:
        right: bool (pictures, preprocessings), whether the highest output is one of the picture's classes.
        own: float64 of that shape, the confidence in the picture's class; of several their mean.
        highest: likewise, the highest confidence.
        listed: likewise, the share of the picture's classes whose confidence is at least a half.
        evidence: likewise, as `clearly.evidence` gives it.
    """

    right: np.ndarray
    own: np.ndarray
    highest: np.ndarray
    listed: np.ndarray
    evidence: np.ndarray


@dataclass(frozen=True)
class Better:
    """A preprocessing that does clearly better than the bundle's.

    Attributes:
        words: what differs.
        preprocess: all of it.
        clear: how much better it is, on the pictures that were compared.
    """

    words: str
    preprocess: Preprocess
    clear: Clear


@dataclass(frozen=True)
class Accuracy:
    """How a model does on labelled pictures.

    Attributes:
        activation: of the model: `softmax`, `sigmoid` or `none`.
        classes: of the model.
        pictures: that have a class of the model and could be used.
        right: those whose highest output is one of their classes.
        own: the mean confidence (the output, where the activation is `none`) in the picture's class.
        highest: the mean of the highest.
        listed: the mean share of a picture's classes whose confidence is at least a half.
        tried: how many other preprocessings were tried; 0 where that says nothing.
        compared: on how many of the pictures.
        better: the one that is clearly better, None where none is.
        failed: why pictures could not be used, by their paths.
        unlabelled: paths of pictures without a class of the model.
    """

    activation: str
    classes: int
    pictures: int
    right: int
    own: float
    highest: float
    listed: float
    tried: int
    compared: int
    better: Better | None
    failed: Mapping[str, SiseError]
    unlabelled: tuple[str, ...]


def measure_accuracy(
    explainer: Explainer,
    dataset: Dataset,
    targets: Mapping[str, tuple[int, ...]],
    *,
    limit: int | None = None,
    bit_depth: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: Progress | None = None,
) -> Accuracy:
    """Run a model on labelled pictures, on some of them by other likely preprocessings as well.

    Args:
        explainer: of the bundle.
        dataset: the pictures and their classes.
        targets: for each of these classes that the model has, the model's, as `match_classes` gives them.
        limit: only so many pictures.
        bit_depth: of pictures that are stored in 16 bits; None takes what each file or the model says.
        max_pixels: larger pictures are refused.
        progress: called with (pictures done, pictures in all, the next picture), and at the end.

    Raises:
        ArgumentError: no picture has a class of the model.
        BundleError: the bundle has no forward graph, being of an older sise-rt.
    """
    explainer.engine.require("forward")
    labelled = [(sample, _classes(sample, targets)) for sample in dataset.samples]
    unlabelled = tuple(sample.image for sample, classes in labelled if not classes)
    jobs = [(sample, classes) for sample, classes in labelled if classes][:limit]
    if not jobs:
        raise ArgumentError(
            f"no picture in {dataset.folder} has a class that the model has", settings=("class_map",)
        )
    manifest = explainer.manifest
    others = {} if manifest.activation == "none" else alternatives(manifest.preprocess)
    answers: list[Answers] = []
    failed: dict[str, SiseError] = {}

    def read(place: int) -> np.ndarray:
        specs = [manifest.preprocess, *(others.values() if place < COMPARED else ())]
        path = dataset.folder / jobs[place][0].image
        return prepare_variants(path, specs, bit_depth=bit_depth, max_pixels=max_pixels)

    def work(place: int, images: Callable[[], np.ndarray], _: Callable[[], None]) -> Callable[[], Answers]:
        if progress is not None:
            progress(place, len(jobs), jobs[place][0].image)
        return partial(_answers, _logits(explainer, images()), jobs[place][1], manifest.activation)

    def tell(place: int, result: Answers | SiseError) -> None:
        if isinstance(result, SiseError):
            failed[jobs[place][0].image] = result
        else:
            answers.append(result)

    overlapped(range(len(jobs)), read, work, tell)
    if progress is not None:
        progress(len(jobs), len(jobs), "")
    return _judged(explainer, answers, others, failed, unlabelled)


def _classes(sample: Sample, targets: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """The model's classes that a picture has."""
    return tuple(sorted({index for name in sample.present for index in targets.get(name, ())}))


def _logits(explainer: Explainer, images: np.ndarray) -> np.ndarray:
    """The logits (N, classes) of images, a few at a time."""
    engine = explainer.engine
    most = min(AT_ONCE, engine.most_at_once("forward"))
    parts = [engine.forward(images[start : start + most]) for start in range(0, len(images), most)]
    logits = np.concatenate(parts)
    require_finite("logits", "for this image", logits[:1])
    return logits


def _answers(logits: np.ndarray, classes: tuple[int, ...], activation: str) -> Answers:
    """What the logits (N, classes) of one picture by N preprocessings say; each entry is (N,).

    Another preprocessing may well leave the range of float32: then it says nothing for the picture's class.
    """
    sound = np.isfinite(logits).all(axis=1)
    logits = np.where(sound[:, None], logits, 0)
    trust = confidences(logits, activation)
    own = trust[:, classes]
    return Answers(
        np.isin(logits.argmax(axis=1), classes) & sound,
        own.mean(axis=1),
        trust.max(axis=1),
        (own >= 0.5).mean(axis=1),
        np.where(sound, evidence(logits, classes), -np.inf),
    )


def _judged(
    explainer: Explainer,
    answers: Sequence[Answers],
    others: Mapping[str, Preprocess],
    failed: Mapping[str, SiseError],
    unlabelled: tuple[str, ...],
) -> Accuracy:
    """The figures of what was said of each picture."""
    compared = [each for each in answers if len(each.right) > 1]
    better = None
    if compared:
        whole = Answers(*(np.array(values) for values in zip(*compared, strict=True)))
        clear = clearly_better(whole.evidence, whole.right, whole.own)
        if clear is not None:
            words = list(others)[clear.column - 1]
            better = Better(words, others[words], clear)
    first = [Answers(*(values[0] for values in each)) for each in answers]

    def mean(name: str) -> float:
        return float(np.mean([getattr(each, name) for each in first])) if first else float("nan")

    return Accuracy(
        activation=explainer.manifest.activation,
        classes=explainer.manifest.classes,
        pictures=len(answers),
        right=sum(bool(each.right) for each in first),
        own=mean("own"),
        highest=mean("highest"),
        listed=mean("listed"),
        tried=len(others) if compared else 0,
        compared=len(compared),
        better=better,
        failed=failed,
        unlabelled=unlabelled,
    )
