"""Phase 3 (SISE): the masked image's confidence for every attribution mask, and the visualization maps."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sise_rt.pictures.flatness import CONSTANT, is_constant
from sise_rt.pictures.resizing import resize_by_neighbours, resize_map
from sise_rt.running.batches import Batches
from sise_rt.running.finite import require_finite

AT_ONCE = 2**20  # values of enlarged maps, where only their extremes are asked for


class Scoring(Protocol):
    """What scores masked copies of one image (H, W) = `size` for `targets` targets, such as `Scorer`."""

    targets: int
    size: tuple[int, int]

    def __call__(self, maps: np.ndarray, most: int = 0) -> tuple[np.ndarray, ...]:
        """Scores (M, T) of maps (M, h, w), and the minimum, maximum and area of each one's mask."""


@dataclass(frozen=True)
class Scores:
    """What masked scoring tells of a block's M scored maps and T targets.

    Attributes:
        index: which of the block's maps were scored, (M,).
        confidences: Psi(x * m) of each mask and target, (M, T); other scores where `MaskedScoring` says so.
        minimum: of each map at the input's resolution, (M,).
        maximum: likewise.
        area: the sum of each normalised mask over the pixels, (M,).
    """

    index: np.ndarray
    confidences: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray
    area: np.ndarray

    def columns(self) -> tuple[np.ndarray, ...]:
        """The arrays in their order."""
        return self.index, self.confidences, self.minimum, self.maximum, self.area

    def of(self, index: np.ndarray) -> Scores:
        """The scores of some of these maps alone.

        Args:
            index: which maps, ascending like `self.index`, and each of them in it.
        """
        rows = np.searchsorted(self.index, index)
        return Scores(*(column[rows] for column in self.columns()))


class MaskedScoring:
    """Scores masked copies of one picture, each once, however many methods and settings ask for it.

    Args:
        scorer: bound to the image and the targets.
        maps: feature maps A_b (K, h, w) of each block.
        batches: how many masks a pass takes.
        probabilities: whether the scores are; log-odds and outputs have any sign, and no zero of their own.

    Attributes:
        targets: how many there are.
        spent: seconds.
        largest: masks of the largest pass.
    """

    def __init__(
        self,
        scorer: Scoring,
        maps: Sequence[np.ndarray],
        batches: Batches,
        probabilities: bool = True,
    ):
        self.batches, self.targets, self.probabilities = batches, scorer.targets, probabilities
        self._scorer, self._maps = scorer, maps
        self._by_block: list[Scores | None] = [None] * len(maps)
        self.spent, self.largest, self._scored = 0.0, 0, 0

    def scores(self, block: int, index: np.ndarray, done: Callable[[int], None]) -> Scores:
        """Scores of some of a block's maps, a batch at a time; masks exist at full size only inside a batch.

        Args:
            block: counted from 0; -1 is the last.
            index: which maps, (M,) with M > 0, ascending.
            done: called with the number of masks after every batch.

        Raises:
            ModelError: the model cannot be run, or its confidences are not finite.
        """
        self.score([(block, index)], done)
        scores = self.so_far(block, index)
        assert scores is not None  # index is not empty
        return scores

    def score(self, chosen: Sequence[tuple[int, np.ndarray]], done: Callable[[int], None]) -> None:
        """Score maps of several blocks, which share batches.

        Where a batch has maps of more than one block, they are enlarged before it, as a batch is of one size.

        Args:
            chosen: blocks, and which of their maps, as for `scores`.
            done: called with the number of masks after every batch.

        Raises:
            ModelError: as `scores`.
        """
        missing = [(block, self._missing(block, index)) for block, index in chosen]
        blocks = np.repeat([block for block, _ in missing], [len(index) for _, index in missing])
        places = np.concatenate([index for _, index in missing])
        if len(places) < (count := sum(len(index) for _, index in chosen)):
            done(count - len(places))
        start = time.perf_counter()
        try:  # what was scored is kept, whatever ends the rest
            self.batches.each(len(places), lambda part: self._score(blocks[part], places[part]), done)
        finally:
            self.spent += time.perf_counter() - start

    def _missing(self, block: int, index: np.ndarray) -> np.ndarray:
        before = self._by_block[block]
        return index if before is None else np.setdiff1d(index, before.index)

    def so_far(self, block: int, index: np.ndarray) -> Scores | None:
        """Scores of those of a block's maps `index` that were scored; None if none was."""
        scores = self._by_block[block]
        index = index[:0] if scores is None else np.intersect1d(index, scores.index)
        return scores.of(index) if scores is not None and len(index) else None

    def _score(self, blocks: np.ndarray, places: np.ndarray) -> None:
        """Score one batch: of each mask its block, and which of that block's maps it is.

        Raises:
            ModelError: the confidences are not finite.
        """
        first = blocks[0]
        if (blocks == first).all():
            maps = self._maps[first][places]
        else:
            masks = zip(blocks, places, strict=True)
            maps = np.array([resize_by_neighbours(self._maps[b][k], self._scorer.size) for b, k in masks])
        columns = self._scorer(maps, self.batches.size)
        require_finite("confidences", "for masked copies of this image", columns[0])
        for block in np.unique(blocks):
            rows = blocks == block
            new, before = Scores(places[rows], *(column[rows] for column in columns)), self._by_block[block]
            self._by_block[block] = new if before is None else _joined(before, new)
        self._scored, self.largest = self._scored + len(places), max(self.largest, len(places))

    def seconds(self, masks: int) -> float:
        """What scoring so many masks took, at the mean of all that were scored."""
        return masks * self.spent / max(1, self._scored)


def _joined(one: Scores, other: Scores) -> Scores:
    order = np.argsort(np.concatenate([one.index, other.index]), kind="stable")
    pairs = zip(one.columns(), other.columns(), strict=True)
    return Scores(*(np.concatenate(pair)[order] for pair in pairs))


def usable_maps(selected: np.ndarray, scores: Scores | None) -> np.ndarray:
    """The selected maps (K,) that were scored and have a shape at the input's resolution too; bool (K,)."""
    usable = np.zeros_like(selected)
    if scores is not None:
        usable[scores.index] = selected[scores.index] & ~is_constant(scores.minimum, scores.maximum)
    return usable


def zero_of(scores: Sequence[Scores | None], target: int, probabilities: bool) -> float:
    """What a target's scores are counted from: 0 for probabilities, else the smallest of all its masks.

    A weighted mean (eq. 10) needs weights that are not negative, and the zero of log-odds or of a model's
    output says nothing of a mask.
    """
    values = [block.confidences[:, target].min() for block in scores if block is not None]
    return 0.0 if probabilities or not values else float(min(values))


def all_alike(scores: Sequence[Scores | None], target: int) -> float | None:
    """The score that all masks have for a target, but for rounding; None where they differ, or one is alone.

    Args:
        scores: of each block.
        target: column of `Scores.confidences`.
    """
    values = [block.confidences[:, target] for block in scores if block is not None]
    every = np.concatenate(values) if values else np.empty(0)
    alike = len(every) > 1 and np.ptp(every) <= CONSTANT * np.abs(every).max()
    return float(every.mean(dtype=np.float64)) if alike else None


def mask_shapes(maps: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimum, maximum and area of maps (M, h, w), each (M,) float32, as the score graph would give them.

    Enlarging is linear along each axis, between two neighbours monotone: the sum needs no large map, and the
    extremes lie next to the neighbours.
    """
    rows, columns = (enlarging(*extents) for extents in zip(maps.shape[1:], size, strict=True))
    some = [matrix[beside_neighbours(matrix)] for matrix in (rows, columns)]
    low, high = np.empty((2, len(maps)), np.float32)
    few = max(1, AT_ONCE // (len(some[0]) * len(some[1])))
    for start in range(0, len(maps), few):
        part = slice(start, start + few)
        resized = some[0] @ maps[part] @ some[1].T
        low[part], high[part] = resized.min(axis=(1, 2)), resized.max(axis=(1, 2))
    total = np.einsum("h,khw,w->k", rows.sum(axis=0), maps, columns.sum(axis=0), dtype=np.float64)
    area = (total - low * np.float64(size[0] * size[1])) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return low, high, area.astype(np.float32)


def enlarging(extent: int, size: int) -> np.ndarray:
    """The matrix (size, extent) that resizes one axis."""
    return resize_map(np.eye(extent, dtype=np.float32), (size, extent))


def beside_neighbours(matrix: np.ndarray) -> np.ndarray:
    """The rows of a matrix (size, extent) that begin or end a stretch between the same two neighbours."""
    between = matrix > 0
    new = (between[1:] != between[:-1]).any(axis=1)
    return np.flatnonzero(np.concatenate([[True], new]) | np.concatenate([new, [True]]))


def visualization_map(
    maps: np.ndarray,
    scores: Scores,
    target: int,
    usable: np.ndarray,
    size: tuple[int, int],
    *,
    zero: float = 0.0,
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
        zero: what scores are counted from, see `zero_of`.

    Returns:
        (H, W) float64, not normalised; None if there is no usable map.
    """
    column = usable[scores.index]
    if not column.any():
        return None
    low, high, area = (
        values[column].astype(np.float64) for values in (scores.minimum, scores.maximum, scores.area)
    )
    weight = (scores.confidences[column, target].astype(np.float64) - zero) / (
        area * (high - low) * column.sum()
    )
    summed = np.einsum("k,khw->hw", weight, maps[scores.index[column]].astype(np.float64))
    return resize_map(summed, size) - np.dot(weight, low)
