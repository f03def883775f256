"""Phase 3 (SISE): the masked image's confidence for every attribution mask, and the visualization maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .engine import Scorer
from .masks import is_constant
from .preprocess import resize_map


@dataclass(frozen=True)
class Scores:
    """What masked scoring tells of a block's M scored maps and T targets.

    Attributes:
        index: which of the block's maps were scored, (M,).
        confidences: Psi(x * m) of each mask and target, (M, T).
        minimum: of each map at the input's resolution, (M,).
        maximum: likewise.
        area: the sum of each normalised mask over the pixels, (M,).
    """

    index: np.ndarray
    confidences: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    area: np.ndarray


def score(scorer: Scorer, maps: np.ndarray, index: np.ndarray, done: Callable[[int], None]) -> Scores:
    """Score the chosen maps of a block, a batch at a time; masks exist at full size only inside a batch.

    Args:
        scorer: bound to the image and the targets.
        maps: feature maps (K, h, w).
        index: which to score, (M,) with M > 0.
        done: called with the number of masks scored after every batch.
    """
    parts = []
    for start in range(0, len(index), scorer.batch):
        batch = index[start : start + scorer.batch]
        parts.append(scorer(maps[batch]))
        done(len(batch))
    return Scores(index, *(np.concatenate(column) for column in zip(*parts, strict=True)))


def usable_maps(selected: np.ndarray, scores: Scores | None) -> np.ndarray:
    """The selected maps (K,) that were scored and have a shape at the input's resolution too; bool (K,)."""
    usable = np.zeros_like(selected)
    if scores is not None:
        usable[scores.index] = selected[scores.index] & ~is_constant(scores.minimum, scores.maximum)
    return usable


def visualization_map(
    maps: np.ndarray, scores: Scores, target: int, usable: np.ndarray, size: tuple[int, int]
) -> np.ndarray | None:
    """V_b for one target (eq. 10-12): the mean over masks of confidence times mask over the mask's area.

    Resizing and normalising are linear, so the sum is taken over the maps at their own resolution and resized
    once.

    Args:
        maps: feature maps A_b (K, h, w).
        scores: of at least the usable maps.
        target: column of `scores.confidences`.
        usable: the target's maps, bool (K,), from `usable_maps`.
        size: (H, W) of the input.

    Returns:
        (H, W) float64, not normalised; None if there is no usable map.
    """
    column = usable[scores.index]
    if not column.any():
        return None
    low, high, area = (
        values[column].astype(np.float64) for values in (scores.minimum, scores.maximum, scores.area)
    )
    weight = scores.confidences[column, target].astype(np.float64) / (area * (high - low) * column.sum())
    summed = np.einsum("k,khw->hw", weight, maps[scores.index[column]].astype(np.float64))
    return resize_map(summed, size) - np.dot(weight, low)
