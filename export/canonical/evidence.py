"""What the values of an output for a few pictures, and the interval that it cannot leave, say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SLACK = 1e-2  # by which probabilities that were rounded to whole steps may leave [0, 1]
SAME_SUM = 1e-3  # how far sums of a row may differ, relative to the largest, where they are meant to be equal
EXACT_SUM = 1e-5  # of probabilities from 1, which rounding in float32 explains
LENGTH_ERROR = 1e-3  # of a vector of length 1
TOGETHER = 1e-2  # of what outputs move by, how far they may part where they move by the same
APART = 0.1  # in log-odds; by less, a softmax changes by 0.05 at most: it is all but constant
INNER = 1e-4  # from 0 and 1, where log-odds in float32 still have digits
MANY = 5  # outputs whose order is hardly the same for every picture by chance


@dataclass(frozen=True)
class Evidence:
    """What is known of an output of P probes and C columns.

    Attributes:
        values: (P, C) float64; without rows if they are not finite.
        bounds: the interval that it cannot leave, None where an operator is not known.
    """

    values: np.ndarray
    bounds: tuple[float, float] | None

    @property
    def columns(self) -> int:
        """How many there are."""
        return self.values.shape[1]

    @property
    def within_one(self) -> bool:
        """Whether every value that was seen lies in [0, 1]."""
        values = self.values
        return bool(len(values)) and -SLACK <= values.min() and values.max() <= 1 + SLACK

    @property
    def bounded_by_one(self) -> bool:
        """Whether no value can leave [0, 1]."""
        return self.bounds is not None and -SLACK <= self.bounds[0] and self.bounds[1] <= 1 + SLACK

    @property
    def never_negative(self) -> bool:
        """Whether no value can be below 0."""
        return self.bounds is not None and self.bounds[0] >= -SLACK

    @property
    def never_positive(self) -> bool:
        """Whether no value can be above 0."""
        return self.bounds is not None and self.bounds[1] <= 0

    def sums_to(self, total: float, error: float, values: np.ndarray | None = None) -> bool:
        """Whether the columns of every row do; not of a single one."""
        values = self.values if values is None else values
        return bool(len(values)) and self.columns > 1 and bool(np.all(abs(values.sum(1) - total) <= error))

    @property
    def probable(self) -> bool:
        """Whether the outputs are probabilities."""
        return self.bounded_by_one or (self.within_one and self.sums_to(1, SAME_SUM))

    @property
    def of_length_one(self) -> bool:
        """Whether the squares of every row sum to 1, as they do not by all but one of them being 0."""
        squares = np.square(self.values)
        return self.sums_to(1, LENGTH_ERROR, squares) and not np.all(squares.max(axis=1) > 1 - LENGTH_ERROR)

    @property
    def never_low(self) -> bool:
        """Whether the columns are 1 - p of probabilities p that sum to 1, of three classes and more."""
        return self.columns > 2 and self.sums_to(self.columns - 1, SAME_SUM * self.columns)

    @property
    def odds_of_one_label(self) -> bool:
        """Whether the columns are log-odds of probabilities that sum to 1, of three classes and more.

        Of two, (-z, z) may as well be logits whose weights were trained from zero.
        """
        if self.columns < 3 or self.moves_together():
            return False
        return self.sums_to(1, SAME_SUM, 1 / (1 + np.exp(-np.clip(self.values, -80, 80))))

    @property
    def of_minus_logs(self) -> bool:
        """Whether the columns are -log p of probabilities p that sum to 1."""
        least = float(self.values.min(initial=0.0))
        return least >= 0 and self.sums_to(1, SAME_SUM, np.exp(-self.values))

    def moves_together(self, odds: np.ndarray | None = None) -> bool:
        """Whether all columns of logits, (P, C), move by the same from picture to picture."""
        odds = self.values if odds is None else odds
        if len(odds) < 3 or self.columns < 2:
            return False
        moved = np.ptp(odds, axis=0).max()
        parted = np.ptp(odds - odds[:, :1], axis=0).max()
        return bool(moved > 0 and parted <= min(TOGETHER * moved, APART))

    def cumulative(self, probable: bool = False) -> str:
        """Which of an ordinal model's outputs is the highest for every picture; "" if it is none's.

        Their logits are a score less thresholds: they move together. Else they keep their order.

        Args:
            probable: whether the values are probabilities rather than logits.
        """
        odds = self.values
        if probable:
            inner = odds[np.all((odds > INNER) & (odds < 1 - INNER), axis=1)]
            odds = np.log(inner) - np.log1p(-inner)
        if not len(odds) or self.columns < 2 or self.sums_to(1, SAME_SUM):
            return ""
        steps = np.diff(odds, axis=1)
        ordered = self.columns >= MANY and (np.all(steps < 0) or np.all(steps > 0))
        if not (self.moves_together(odds) or (ordered and len(odds) > 2)):
            return ""
        highest = int(odds[0].argmax())
        return {0: "the first", self.columns - 1: "the last"}.get(highest, f"number {highest}")
