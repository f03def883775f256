"""What came of a run in figures: counted line by line, so that the lines need not be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sise_rt.bulk.items import DONE, FAILED, SKIPPED, STATUSES
from sise_rt.bulk.ledger import status_of
from sise_rt.wording import printable

from .rows import Line, Row, row_of

BINS = 20  # of a histogram of what lies in [0, 1]
NAMED = 5  # items that are named of a kind of failure


@dataclass
class Kind:
    """A kind of failure: how often it was, and which items were the first."""

    count: int = 0
    first: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """A run in figures, as far as its lines were added.

    Attributes:
        statuses: of the items.
        lines: in all: one for each explanation, and for each item that has none.
        failures: by the kind of the error.
        skipped: by the reason.
        predicted: items by the class that the model decided for.
        explained: explanations by the class that they explain.
        truth: items whose predicted class is right (True) or wrong (False).
        warnings: explanations by the codes of their warnings.
        confidences: explanations by their confidence: `BINS` of equal width from 0 to 1.
        borders: likewise by the share of the map along the border.
        seconds: that the explanations took, those shared by an item's lines counted once.
        times: when the first and the last one was made; empty where there is none.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    failures: dict[str, Kind] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    predicted: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    truth: Counter[bool] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    confidences: list[int] = field(default_factory=lambda: [0] * BINS)
    borders: list[int] = field(default_factory=lambda: [0] * BINS)
    seconds: float = 0.0
    times: tuple[str, str] = ("", "")

    @property
    def items(self) -> int:
        """How many there are, whatever became of them."""
        return self.statuses.total()

    def add(self, rows: Sequence[Row]) -> None:
        """Add all the lines of an item."""
        first = rows[0]
        self.statuses[status_of(row.status for row in rows)] += 1
        if first.predicted:
            self.predicted[first.predicted] += 1
        if first.right is not None:
            self.truth[first.right] += 1
        self.seconds += first.shared
        for row in rows:
            self._add(row)

    def _add(self, row: Row) -> None:
        self.lines += 1
        self.seconds += row.own
        self.warnings.update(row.warnings)
        if row.status == FAILED:
            kind = self.failures.setdefault(row.kind, Kind())
            kind.count += 1
            if len(kind.first) < NAMED:
                kind.first.append(row.id)
        elif row.status == SKIPPED:
            self.skipped[row.told] += 1
        elif row.status == DONE:
            self.explained[row.target] += 1
            if row.confidence is not None:
                self.confidences[_bin(row.confidence)] += 1
            if row.border is not None:
                self.borders[_bin(row.border)] += 1
        if row.time:
            begun, ended = self.times
            self.times = min(begun or row.time, row.time), max(ended, row.time)


def items_of(lines: Iterable[Line]) -> Iterator[list[Row]]:
    """The rows of one item after the other; in the results an item's lines stand together."""
    for _, rows in groupby(map(row_of, lines), key=lambda row: row.id):
        yield list(rows)


def tally_of(lines: Iterable[Line]) -> Tally:
    """A run in figures, of the lines of its results."""
    tally = Tally()
    for rows in items_of(lines):
        tally.add(rows)
    return tally


def closing(tally: Tally) -> list[str]:
    """What is said at the end of a run: a few lines, which name what did not go well."""
    parts = [f"{tally.statuses[status]:,} {status}" for status in STATUSES if tally.statuses[status]]
    told = [f"{tally.items:,} {'item' if tally.items == 1 else 'items'}: {', '.join(parts) or 'none done'}"]
    if tally.truth:
        told.append(f"the model is wrong in {tally.truth[False]:,} of {tally.truth.total():,} with a truth")
    for name, kind in by_count(tally.failures):
        more = f" and {kind.count - len(kind.first):,} more" if kind.count > len(kind.first) else ""
        told.append(f"failed, {name}: {', '.join(map(printable, kind.first))}{more}")
    told += [f"skipped, {reason}: {count:,}" for reason, count in tally.skipped.most_common(NAMED)]
    if tally.warnings:
        most = [f"{code} {count:,}" for code, count in tally.warnings.most_common(NAMED)]
        told.append(f"warnings: {', '.join(most)}")
    return told


def by_count(kinds: dict[str, Kind]) -> list[tuple[str, Kind]]:
    """Kinds of failure, the commonest first."""
    return sorted(kinds.items(), key=lambda entry: -entry[1].count)


def _bin(value: float) -> int:
    return min(BINS - 1, max(0, int(BINS * value)))
