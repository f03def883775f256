"""Whether a model's confidence goes by what its maps mark: what both EDDA and ExCon claim to raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from sise_rt.errors import ArgumentError
from sise_rt.metrics import Confidence, masked_confidence
from sise_rt.metrics.arrays import checked_map, descending
from sise_rt.metrics.check import METRICS, check_map
from sise_rt.running.logits import confidences

from .batch import evaluating, predicted, require_images, require_labels, require_maps
from .maps import is_flat

AREAS = (0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Faithfulness:
    """Means over pictures; NaN where no picture had a value.

    Attributes:
        alignment: by the hidden share of the pixels, in [-1, 1]; see `alignment`.
        values: drop, increase, insertion and deletion, as `sise_rt.metrics` has them, in [0, 1].
        pictures: how many were measured.
        flat: how many more were left out since their map has no shape.
    """

    alignment: dict[float, float]
    values: dict[str, float]
    pictures: int
    flat: int


def confidence_in(model: nn.Module, label: int, activation: str = "softmax") -> Confidence:
    """The model's confidence in one class as metrics take it: arrays (N, C, H, W) to (N,) float64.

    Raises:
        ArgumentError: there is no such activation (`softmax`, `sigmoid`); when called, no such class.
        ModelError: when called, the logits are not finite.
    """
    if activation not in ("softmax", "sigmoid"):
        raise ArgumentError(f"activation is {activation!r}, where softmax or sigmoid is needed")
    weight = next(model.parameters(), torch.zeros(1))

    def confidence(images: np.ndarray) -> np.ndarray:
        logits = predicted(model, torch.from_numpy(images).to(weight))
        if not 0 <= label < logits.shape[1]:
            raise ArgumentError(f"there is no output {label}: the model has {logits.shape[1]}, from 0")
        return confidences(logits.double().cpu().numpy(), activation)[:, label]

    return confidence


def alignment(
    map_: np.ndarray, image: np.ndarray, confidence: Confidence, areas: Sequence[float] = AREAS
) -> np.ndarray:
    """The confidence lost by hiding the map's highest pixels minus that lost by hiding as many of its lowest.

    What is hidden becomes 0 in the model's input. The confidence in the whole picture cancels: the difference
    is that of the two hidden ones. 0 is what a map that says nothing gets in the mean, and 1 is the most.
    Our reading of the alignment in EDDA's abstract.

    Args:
        map_: (H, W).
        image: (C, H, W).
        confidence: as `confidence_in` gives it.
        areas: shares of the pixels; exactly round(area * H * W) are hidden on either side.

    Returns:
        (areas,) float64 in [-1, 1].

    Raises:
        ArgumentError: as for every metric, or an area is not above 0 and at most a half.
    """
    map_ = checked_map(map_)
    order, masks = descending(map_), []
    for area in areas:
        count = round(area * map_.size) if 0 < area <= 0.5 else 0
        if not 0 < count <= map_.size // 2:
            raise ArgumentError(f"area is {area}, where at least a pixel and at most half of them is needed")
        for chosen in (order[:count], order[-count:]):
            mask = np.ones(map_.size, bool)
            mask[chosen] = False
            masks.append(mask.reshape(map_.shape))
    without = masked_confidence(image, np.array(masks), confidence).reshape(-1, 2)
    return without[:, 1] - without[:, 0]


def faithfulness(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    maps: torch.Tensor,
    *,
    activation: str = "softmax",
    areas: Sequence[float] = AREAS,
) -> Faithfulness:
    """How far the model's confidence in each label bears the maps out.

    Args:
        model: gives logits.
        images: (N, C, H, W), float32.
        labels: (N,), the classes that were explained.
        maps: (N, H, W).
        activation: what makes confidences of logits: `softmax`, `sigmoid`.
        areas: of `alignment`.

    Raises:
        ArgumentError: the arrays are no batch, or a setting is out of range.
        ModelError: the logits are not finite.
    """
    require_images(images)
    require_labels(labels, len(images))
    require_maps(maps, images)
    flat = is_flat(maps)
    aligned: list[np.ndarray] = []
    borne: list[list[float]] = []
    with evaluating(model):
        for row in (~flat).nonzero()[:, 0].tolist():
            confidence = confidence_in(model, int(labels[row]), activation)
            image, map_ = images[row].cpu().numpy(), maps[row].detach().double().cpu().numpy()
            whole = float(confidence(image[None])[0])
            aligned.append(alignment(map_, image, confidence, areas))
            checked = check_map(map_, image, whole, confidence, batch=64)
            borne.append([checked.values[name] for name in METRICS])
    lines = np.array(aligned).reshape(-1, len(areas))
    return Faithfulness(
        dict(zip(areas, _means(lines), strict=True)),
        dict(zip(METRICS, _means(np.array(borne).reshape(-1, len(METRICS))), strict=True)),
        len(lines),
        int(flat.sum()),
    )


def _means(rows: np.ndarray) -> list[float]:
    """Of each column the mean of what is no NaN; NaN where there is nothing."""
    known = ~np.isnan(rows)
    totals, counts = np.where(known, rows, 0).sum(axis=0), known.sum(axis=0)
    return [float(t / n) if n else float("nan") for t, n in zip(totals, counts, strict=True)]
