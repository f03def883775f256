"""What the study measures of a trained network on its test set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.training.arms import LAYER
from benchmarks.training.data import Part
from sise_rt.metrics import ebpg
from sise_rt.training import grad_cam
from sise_rt.training.batch import predicted
from sise_rt.training.calibration import calibration_error
from sise_rt.training.faithfulness import faithfulness
from sise_rt.training.robustness import EPSILONS, blurred, fgsm, noisy, paler

EXPLAINED = 40  # pictures at most, spread over the test set


@dataclass(frozen=True)
class Prepare:
    """Pictures in [0, 1] to a network's input, by the mean and deviation of its training, (1, 3, 1, 1)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) to the same."""
        return (images - self.mean) / self.std


def measured(model: nn.Module, test: Part, prepare: Prepare, classes: int) -> dict[str, float | int | None]:
    """The study's figures, fractions in [0, 1] and alignments in [-1, 1]; None where there is none.

    The answer is the best of the classes, whatever a background output says; `background` is how often that
    one is higher. Explained are the labels of pictures that the model has right or not, by Grad-CAM at the
    same layer.
    """
    logits = predicted(model, prepare(test.images))
    psi = logits.double().softmax(1).numpy()

    def accuracy(images: torch.Tensor) -> float:
        answers = predicted(model, prepare(images))[:, :classes].argmax(1)
        return float((answers == test.labels).float().mean())

    found: dict[str, float | int | None] = {
        "accuracy": accuracy(test.images),
        "background": float((logits.argmax(1) == classes).float().mean()),
        "ece": calibration_error(psi[:, :classes], test.labels.numpy()),
    }
    for epsilon in EPSILONS:
        moved = fgsm(model, test.images, test.labels, epsilon, prepare)
        found[f"fgsm-{round(epsilon * 255)}"] = accuracy(moved)
    found["noise"] = accuracy(noisy(test.images, torch.Generator().manual_seed(0)))
    found["blur"], found["contrast"] = accuracy(blurred(test.images)), accuracy(paler(test.images))
    found |= _by_maps(model, test, prepare)
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in found.items()}


def _by_maps(model: nn.Module, test: Part, prepare: Prepare) -> dict[str, float | int | None]:
    rows = torch.linspace(0, len(test.labels) - 1, min(EXPLAINED, len(test.labels))).round().long().unique()
    images, labels = prepare(test.images[rows]), test.labels[rows]
    maps = grad_cam(model, images, labels, LAYER)
    faithful = faithfulness(model, images, labels, maps)
    shown = maps.double().numpy()  # of which EBPG counts what is positive, as Grad-CAM's own ReLU does
    return {
        **{f"alignment-{round(100 * area)}": value for area, value in faithful.alignment.items()},
        **faithful.values,
        "ebpg": _mean_energy(shown, test.truths[rows.numpy()]),
        "on-mark": _mean_energy(shown, test.marks[rows.numpy()]),
        "flat": faithful.flat,
    }


def _mean_energy(maps: np.ndarray, truths: np.ndarray) -> float:
    """The mean share of the maps' energy that lies in the truths; NaN where no picture has both."""
    each = [ebpg(map_, truth) for map_, truth in zip(maps, truths, strict=True)]
    known = [value for value in each if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
