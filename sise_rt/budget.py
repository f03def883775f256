"""Phase 3 (SISE) with fewer forward passes than masks: which to score, and what the others would give.

The masks with the highest gradient scores come first. Then, step by step, those whose contribution to their
block's visualization map a regression is least sure of. The sequence does not depend on how many passes
there are, so it can be stopped anywhere; the regression speaks for the masks that were not scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .masks import is_constant
from .scoring import MaskedScoring, Scores, mask_shapes
from .surrogate import Surrogate, log_odds, pooled_masks, sigmoid

FIRST = 4  # masks, by gradient score alone
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
        low, high, area = (np.concatenate(column) for column in zip(*self._shapes, strict=True))
        self._area = np.where(is_constant(low, high), np.inf, area)  # a flat one contributes nothing
        self._surrogate = Surrogate(np.concatenate([pooled_masks(block) for block in masks if len(block)]))
        self._first = _by_alpha(chosen, alphas)
        self._scored, self._found = np.empty(0, int), np.empty((0, scoring.targets))  # in their order

    def score(self, count: int, done: Callable[[int], None]) -> Iterator[list[Scores | None]]:
        """Score `count` masks, at least one and at most all, step by step; what ends it early loses nothing.

        Args:
            count: masks.
            done: called with the number of masks after every batch.

        Yields:
            After every step what `scores` gives.
        """
        step = self._first[: min(FIRST, count)]
        while True:
            for b in np.unique(self._block[step]):
                index = self._chosen[b][np.sort(step[self._block[step] == b]) - self._starts[b]]
                try:
                    self._scoring.scores(int(b), index, done)
                finally:
                    self.take(int(b), index)
            mean, spread = self._predict()
            yield self._scores(mean)
            if len(self._scored) >= count:
                return
            larger = max(FIRST, round(GROWTH * len(self._scored)))
            step = self._least_sure(mean, spread)[: min(larger, count - len(self._scored))]

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
        return self._scores(self._predict()[0])

    def _predict(self) -> tuple[np.ndarray, np.ndarray]:
        """The log-odds of every mask, mean and standard deviation (N, T)."""
        return self._surrogate.predict(self._scored, self._found)

    def _scores(self, mean: np.ndarray) -> list[Scores | None]:
        found: list[Scores | None] = []
        own = np.zeros(len(mean), bool)
        own[self._scored] = True
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

    def _least_sure(self, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """The other masks, by falling uncertainty of their part in their block's visualization map."""
        area = self._area[:, None]
        unsure = (sigmoid(mean + spread) - sigmoid(mean - spread)) / area
        sure = sigmoid(mean) / area
        totals = np.array([sure[self._block == b].sum(axis=0) for b in range(len(self._chosen))])
        part = unsure / np.maximum(totals[self._block], np.finfo(np.float64).tiny)
        order = np.argsort(-part.sum(axis=1), kind="stable")
        return order[~np.isin(order, self._scored)]


def _by_alpha(chosen: Sequence[np.ndarray], alphas: Sequence[np.ndarray]) -> np.ndarray:
    """All masks, by their place in their block's order of gradient scores, the share of it that is above."""
    places = []
    for b, index in enumerate(chosen):
        # Of several targets, the one that a map says most about.
        alpha = (alphas[b] / np.abs(alphas[b]).max(axis=1, keepdims=True)).max(axis=0) if alphas else None
        order = np.arange(len(index)) if alpha is None else np.argsort(-alpha[index], kind="stable")
        place = np.empty(len(index))
        place[order] = (np.arange(len(index)) + 0.5) / max(1, len(index))
        places.append(place)
    return np.argsort(np.concatenate(places), kind="stable")
