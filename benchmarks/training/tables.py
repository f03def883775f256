"""The study's tables: means over the seeds, and what an arm adds to another, paired by size and seed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from scipy.stats import t as student

Line = dict[str, Any]
"""What one finished run measured, with its `set`, `arm`, `size` and `seed`."""

COLUMNS = (
    *("accuracy", "background", "ebpg", "on-mark", "alignment-10", "alignment-20", "alignment-30", "drop"),
    *("increase", "insertion", "deletion", "ece", "fgsm-1", "fgsm-2", "fgsm-4", "noise", "blur", "contrast"),
)
PAIRED = ("accuracy", "alignment-20", "drop", "ebpg", "on-mark", "ece", "fgsm-1", "noise")
AGAINST = "augmented"
DIFFERENCES = f"minus `{AGAINST}`, paired by size and seed, with 95 % intervals of Student's t"


def summary(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: for each set what each arm adds to `AGAINST`, over all sizes and seeds, and what it costs."""
    for name, group in groupby(sorted(lines, key=lambda line: line["set"]), key=lambda line: line["set"]):
        runs = {(line["arm"], line["size"], line["seed"]): line for line in group}
        own = [line["accuracy"] for (arm, *_), line in runs.items() if arm == AGAINST]
        yield f"\n**{name}**, where `{AGAINST}` has an accuracy of {_mean(own)}: {DIFFERENCES}\n"
        yield from _differences(runs, "time", "pairs")


def tables(lines: Sequence[Line]) -> Iterator[str]:
    """Markdown: for each set and size the means in percent, then the differences to `AGAINST`."""
    ordered = sorted(lines, key=lambda line: (line["set"], line["size"]))
    for (name, size), group in groupby(ordered, key=lambda line: (line["set"], line["size"])):
        runs = {(line["arm"], line["size"], line["seed"]): line for line in group}
        yield f"\n## {name}, {size} pictures to train with\n"
        yield "Means in percent:\n"
        yield from _head((*COLUMNS, "seconds", "seeds"))
        for arm, own in _by_arm(runs).items():
            cells = [_mean([line[column] for line in own]) for column in COLUMNS]
            seconds = f"{np.mean([line['seconds'] for line in own]):.0f}"
            yield f"| {arm} | {' | '.join([*cells, seconds, str(len(own))])} |"
        yield f"\n{DIFFERENCES[0].upper()}{DIFFERENCES[1:]}:\n"
        yield from _differences(runs)


def _differences(runs: dict[tuple[str, int, int], Line], *more: str) -> Iterator[str]:
    yield from _head((*PAIRED, *more))
    for arm in _by_arm(runs):
        pairs = [
            (line, runs[AGAINST, size, seed])
            for (other, size, seed), line in runs.items()
            if other == arm and (AGAINST, size, seed) in runs
        ]
        if arm != AGAINST and pairs:
            cells = [difference([(a[c], b[c]) for a, b in pairs]) for c in PAIRED]
            times = f"x {np.median([a['seconds'] / b['seconds'] for a, b in pairs]):.1f}"
            cells += [{"time": times, "pairs": str(len(pairs))}[what] for what in more]
            yield f"| {arm} | {' | '.join(cells)} |"


def difference(pairs: list[tuple[float | None, float | None]]) -> str:
    """The mean of a - b in points, and half its interval; empty where no pair has both."""
    known = [100 * (a - b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return ""
    if len(known) < 2:
        return f"{known[0]:+.1f}"
    half = student.ppf(0.975, len(known) - 1) * float(np.std(known, ddof=1)) / math.sqrt(len(known))
    return f"{np.mean(known):+.1f} ± {half:.1f}"


def _by_arm(runs: dict[tuple[str, int, int], Line]) -> dict[str, list[Line]]:
    arms: dict[str, list[Line]] = {}
    for (arm, *_), line in runs.items():
        arms.setdefault(arm, []).append(line)
    return arms


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * np.mean(known):.1f}" if known else ""


def _head(columns: tuple[str, ...]) -> Iterator[str]:
    yield f"| arm | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
