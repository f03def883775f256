"""Phase 3 (SISE) with fewer forward passes than masks: which to score, and what the others would give.

The first masks are spread: some have the highest gradient scores, the others are each the farthest from all
before (Gonzalez 1985), by a distance that counts most where the model looks. From then on a regression over
what was scored says what the other masks would give, and those that weigh most in their block's visualization
map are scored next. No choice is random; it can be stopped anywhere, and the regression speaks for the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sise_rt.pictures.resizing import resize_map

from .scoring import MaskedScoring, Scores, mask_shapes
from .surrogate import CELLS, log_odds, one_blas_thread, pooled_masks, predict, sigmoid

LAST = 2  # blocks that tell where the model looks
FIRST = 12  # masks that are spread
EVERY = 4  # of them is chosen by its gradient score
STEP = 8  # masks at least that follow at a time
GROWTH = 0.25  # of a step, as a share of the masks that were scored before it; larger ones cost quality


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
        with one_blas_thread():
            self._shapes = [mask_shapes(block, size) for block in masks]
        area = np.concatenate([area for *_, area in self._shapes]).astype(np.float64)
        self._area = np.where(area > 0, area, np.inf)  # one that turns out flat weighs nothing
        points = np.concatenate([pooled_masks(block) for block in masks if len(block)])
        self._points = points * np.sqrt(cell_weights(maps, alphas))
        self._by_alpha = _by_alpha(chosen, alphas)
        # The masks that were scored, in that order, and the log-odds (or outputs) for each target.
        self._scored, self._log_odds = np.empty(0, int), np.empty((0, scoring.targets))
        self._predicted: np.ndarray | None = None

    def score(self, count: int, done: Callable[[int], None]) -> Iterator[int]:
        """Score `count` masks, at least one and at most all, step by step; what ends it early loses nothing.

        Args:
            count: masks.
            done: called with the number of masks after every batch.

        Yields:
            How many masks are scored, after every step.
        """
        while (left := count - len(self._scored)) > 0:
            step = np.sort(self._next(left))
            blocks = np.unique(self._block[step]).tolist()
            some = [(b, self._chosen[b][step[self._block[step] == b] - self._starts[b]]) for b in blocks]
            try:
                self._scoring.score(some, done)
            finally:
                for b, index in some:
                    self.take(b, index)
            yield len(self._scored)

    def _next(self, most: int) -> np.ndarray:
        """The masks of a step, `most` at most."""
        if not len(self._scored):
            with one_blas_thread():
                return _spread(self._points, self._by_alpha, min(FIRST, most))
        size = min(most, max(STEP, round(GROWTH * len(self._scored))))
        return np.argsort(-self._weights(), kind="stable")[:size]

    def _weights(self) -> np.ndarray:
        """The share of its block's V_b that each mask makes up by the prediction, -1 where it was scored.

        For every target V_b is taken over all masks, its own and those of the others.
        """
        weights = self._mean()
        weights = sigmoid(weights) if self._scoring.probabilities else weights - weights.min(axis=0)
        weights = weights / self._area[:, None]
        for start, end in itertools.pairwise(self._starts):
            weights[start:end] /= np.maximum(weights[start:end].sum(axis=0), np.finfo(np.float64).tiny)
        largest = weights.max(axis=1)  # of several targets, the one to which it matters most
        largest[self._scored] = -1
        return largest

    def _mean(self) -> np.ndarray:
        """The log-odds of all masks (N, T), predicted where they were not scored."""
        if self._predicted is None:
            with one_blas_thread():
                self._predicted = predict(self._points, self._scored, self._log_odds)
        return self._predicted

    def take(self, block: int, index: np.ndarray) -> None:
        """Let the regression learn from a block's maps, as far as they were scored.

        Args:
            block: counted from 0.
            index: maps that it has not learnt from yet, ascending; some of them may not be scored.
        """
        scores = self._scoring.so_far(block, index)
        if scores is not None:
            rows = self._starts[block] + np.searchsorted(self._chosen[block], scores.index)
            self._scored = np.concatenate([self._scored, rows])
            values = scores.confidences.astype(np.float64)
            values = log_odds(values) if self._scoring.probabilities else values
            self._log_odds = np.concatenate([self._log_odds, values])
            self._predicted = None

    def scores(self) -> list[Scores | None]:
        """Scores of all masks of each block, predicted for those that were not scored.

        At least one has to be scored. For a block without masks there is None.
        """
        mean = self._mean()
        own = np.zeros(len(mean), bool)
        own[self._scored] = True
        by_block: list[Scores | None] = []
        for b, index in enumerate(self._chosen):
            rows = slice(self._starts[b], self._starts[b + 1])
            values = sigmoid(mean[rows]) if self._scoring.probabilities else mean[rows]
            columns = values.astype(np.float32), *self._shapes[b]
            table = Scores(index, *(column.copy() for column in columns))
            scored = self._scoring.so_far(b, index[own[rows]])
            if scored is not None:  # as the model says it, to the last digit
                for column, values in zip(table.columns()[1:], scored.columns()[1:], strict=True):
                    column[own[rows]] = values
            by_block.append(table if len(index) else None)
        return by_block


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


def _spread(points: np.ndarray, by_alpha: np.ndarray, count: int) -> np.ndarray:
    """The first `count` of the masks (N, d): every fourth by its gradient score, the others by distance."""
    squares = np.einsum("nd,nd->n", points, points)
    away = np.full(len(points), np.inf)
    left, order = iter(by_alpha), []
    for place in range(count):
        mask = int(away.argmax()) if place % EVERY else next(k for k in left if away[k] >= 0)
        order.append(int(mask))
        np.minimum(away, np.maximum(squares + squares[mask] - 2 * points @ points[mask], 0), out=away)
        away[mask] = -1  # below every distance, and for good
    return np.array(order)


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
