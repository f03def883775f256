"""The study's tables: means over the seeds, and what an arm adds to another, paired by seed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

Line = dict[str, Any]
"""What one finished run measured, with its `set`, `arm`, `size` and `seed`."""

COLUMNS = (
    *(
        "accuracy",
        "background",
        "ebpg",
        "on-mark",
        "alignment-10",
        "alignment-20",
        "alignment-30",
        "drop",
        "increase",
    ),
    *("insertion", "deletion", "ece", "fgsm-1", "fgsm-2", "fgsm-4"),
    *("noise", "blur", "contrast"),
)
PAIRED = ("accuracy", "ebpg", "on-mark", "alignment-20", "drop", "ece", "fgsm-2")
AGAINST = "augmented"
T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}  # Student's, 97.5 %


def tables(lines: list[Line]) -> Iterator[str]:
    """Markdown: for each set and size the means in percent, then the differences to `AGAINST`."""
    arms = list(dict.fromkeys(line["arm"] for line in lines))
    ordered = sorted(lines, key=lambda line: (line["set"], line["size"]))
    for (name, size), group in groupby(ordered, key=lambda line: (line["set"], line["size"])):
        runs = {(line["arm"], line["seed"]): line for line in group}
        yield f"\n{name}, {size} pictures to train with, means in percent\n"
        yield from _head((*COLUMNS, "seconds", "seeds"))
        for arm in arms:
            own = [line for (other, _), line in runs.items() if other == arm]
            if own:
                cells = [_mean([line[column] for line in own]) for column in COLUMNS]
                seconds = f"{np.mean([line['seconds'] for line in own]):.0f}"
                yield f"| {arm} | {' | '.join([*cells, seconds, str(len(own))])} |"
        yield f"\nminus `{AGAINST}`, paired by seed, with 95 % intervals of Student's t\n"
        yield from _head(PAIRED)
        for arm in arms:
            seeds = [seed for (other, seed) in runs if other == arm and (AGAINST, seed) in runs]
            if arm != AGAINST and seeds:
                pairs = [(runs[arm, seed], runs[AGAINST, seed]) for seed in seeds]
                cells = [difference([(a[c], b[c]) for a, b in pairs]) for c in PAIRED]
                yield f"| {arm} | {' | '.join(cells)} |"


def difference(pairs: list[tuple[float | None, float | None]]) -> str:
    """The mean of a - b in points, and half its interval; empty where a seed has no value."""
    known = [100 * (a - b) for a, b in pairs if a is not None and b is not None]
    if not known:
        return ""
    if len(known) < 2:
        return f"{known[0]:+.1f}"
    half = T.get(len(known) - 1, 1.96) * float(np.std(known, ddof=1)) / math.sqrt(len(known))
    return f"{np.mean(known):+.1f} ± {half:.1f}"


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{100 * np.mean(known):.1f}" if known else ""


def _head(columns: tuple[str, ...]) -> Iterator[str]:
    yield f"| arm | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
