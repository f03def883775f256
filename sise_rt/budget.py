"""Phase 3 (SISE) with fewer forward passes than masks: which to score, and what the others would give.

Masks of all blocks stand in one sequence: every fourth is the one with the highest gradient score that is
left, the others are each the farthest from all before (Gonzalez 1985), by a distance that counts most where
the model looks. It does not depend on how many masks are scored, nor on what they say, so it can be stopped
anywhere; a regression speaks for the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .preprocess import resize_map
from .scoring import MaskedScoring, Scores, mask_shapes
from .surrogate import CELLS, log_odds, pooled_masks, predict, sigmoid

LAST = 2  # blocks that tell where the model looks
EVERY = 4  # mask of the sequence is chosen by its gradient score
FIRST = 8  # masks of the first step
GROWTH = 0.25  # of a step, as a share of the masks that were scored before it


class PartialScoring:
    """Some of a picture's masks are scored, the others predicted.

    Args:
        scoring: of the picture.
        maps: feature maps A_b (K, h, w) of each block.
        chosen: which of them are masks, ascending indices of each block; at least one in all.
        alphas: gradient scores (T, K) of each block; empty without gradients.
        size: (H, W) of the input.
    """

    def __init__(
        self,
        scoring: MaskedScoring,
        maps: Sequence[np.ndarray],
        chosen: Sequence[np.ndarray],
        alphas: Sequence[np.ndarray],
        size: tuple[int, int],
    ):
        self._scoring, self._chosen = scoring, chosen
        counts = [len(index) for index in chosen]
        self._starts = np.cumsum([0, *counts])
        self._block = np.repeat(np.arange(len(chosen)), counts)
        masks = [block[index] for block, index in zip(maps, chosen, strict=True)]
        self._shapes = [mask_shapes(block, size) for block in masks]
        points = np.concatenate([pooled_masks(block) for block in masks if len(block)])
        self._points = points * np.sqrt(cell_weights(maps, alphas))
        self._sequence = _sequence(self._points, _by_alpha(chosen, alphas))
        self._scored, self._found = np.empty(0, int), np.empty((0, scoring.targets))  # in their order

    def score(self, count: int, done: Callable[[int], None]) -> Iterator[int]:
        """Score `count` masks, at least one and at most all, step by step; what ends it early loses nothing.

        Args:
            count: masks.
            done: called with the number of masks after every batch.

        Yields:
            How many masks are scored, after every step.
        """
        while (left := count - len(self._scored)) > 0:
            size = min(left, max(FIRST, round(GROWTH * len(self._scored))))
            step = np.sort(list(itertools.islice(self._sequence, size)))
            for b in np.unique(self._block[step]):
                index = self._chosen[b][step[self._block[step] == b] - self._starts[b]]
                try:
                    self._scoring.scores(int(b), index, done)
                finally:
                    self.take(int(b), index)
            yield len(self._scored)

    def take(self, block: int, index: np.ndarray) -> None:
        """Count those of a block's maps that were scored among what is known."""
        known = self._scoring.known(block, index)
        if known is not None:
            rows = self._starts[block] + np.searchsorted(self._chosen[block], known.index)
            self._scored = np.concatenate([self._scored, rows])
            self._found = np.concatenate([self._found, log_odds(known.confidences)])

    def scores(self) -> list[Scores | None]:
        """Scores of all masks of each block, predicted for those that were not scored.

        At least one has to be scored. For a block without masks there is None.
        """
        mean = predict(self._points, self._scored, self._found)
        own = np.zeros(len(mean), bool)
        own[self._scored] = True
        found: list[Scores | None] = []
        for b, index in enumerate(self._chosen):
            rows = slice(self._starts[b], self._starts[b + 1])
            columns = sigmoid(mean[rows]).astype(np.float32), *self._shapes[b]
            table = Scores(index, *(column.copy() for column in columns))
            known = self._scoring.known(b, index[own[rows]])
            if known is not None:  # as the model says it, to the last digit
                for column, values in zip(table.columns()[1:], known.columns()[1:], strict=True):
                    column[own[rows]] = values
            found.append(table if len(index) else None)
        return found


def cell_weights(maps: Sequence[np.ndarray], alphas: Sequence[np.ndarray]) -> np.ndarray:
    """How much it matters what a mask does to each cell of the picture, (CELLS * CELLS,), 1 in the mean.

    Half of it is the same everywhere; the other half is the magnitude of sum_k alpha_k A_k of the last two
    blocks, over all targets: where the model does not look, two masks may differ.

    Args:
        maps: feature maps A_b (K, h, w) of each block.
        alphas: gradient scores (T, K) of each block; empty without gradients, when all cells weigh the same.
    """
    looked = np.zeros(CELLS * CELLS)
    for block, alpha in list(zip(maps, alphas, strict=False))[-LAST:]:
        for activation in np.abs(np.einsum("tk,khw->thw", alpha, block)).astype(np.float32):
            cells = resize_map(activation, (CELLS, CELLS)).ravel().astype(np.float64)
            looked += cells / max(cells.mean(), np.finfo(np.float64).tiny)
    if not looked.any():
        return np.ones(CELLS * CELLS)
    return 0.5 + 0.5 * looked / looked.mean()


def _sequence(points: np.ndarray, by_alpha: np.ndarray) -> Iterator[int]:
    """All masks (N, d), each once."""
    squares = np.einsum("nd,nd->n", points, points)
    away = np.full(len(points), np.inf)
    left = iter(by_alpha)
    for place in range(len(points)):
        if place % EVERY == 0:
            mask = next(k for k in left if away[k] >= 0)
        else:
            mask = int(away.argmax())
        yield int(mask)
        np.minimum(away, np.maximum(squares + squares[mask] - 2 * points @ points[mask], 0), out=away)
        away[mask] = -1  # below every distance, and for good


def _by_alpha(chosen: Sequence[np.ndarray], alphas: Sequence[np.ndarray]) -> np.ndarray:
    """All masks, by their place in their block's order of gradient scores, the share of it that is above."""
    places = []
    for b, index in enumerate(chosen):
        order = np.arange(len(index))
        if alphas:  # of several targets, the one that a map says most about; one may have no gradient at all
            largest = np.maximum(np.abs(alphas[b]).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
            order = np.argsort(-(alphas[b] / largest).max(axis=0)[index], kind="stable")
        place = np.empty(len(index))
        place[order] = (np.arange(len(index)) + 0.5) / max(1, len(index))
        places.append(place)
    return np.argsort(np.concatenate(places), kind="stable")
