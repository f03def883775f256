"""Figures of a whole evaluation: means, how sure they are, and differences between methods.

Intervals are percentile bootstraps over pictures: pictures are drawn again with replacement, with all their
pairs, because the pairs of one picture are not independent. All methods share the draws.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from sise_rt.metrics.check import CURVES

from .measure import TRUTH_METRICS, Plan
from .run import Outcome
from .samples import Dataset, Problem
from .store import CURVE_POINTS

RESAMPLES, SEED = 2000, 0
LISTED = 200
"""Problems of a kind that are listed one by one; all are counted."""
AT_ONCE = 4_000_000

LOWER_IS_BETTER = frozenset({"drop", "deletion", "complexity"})
ENOUGH = 5
"""Pictures of which a model that is used as it should be gets one right at least."""


def summarise(
    outcome: Outcome, dataset: Dataset, plan: Plan, missing: Mapping[str, str], limit: int | None
) -> dict[str, Any]:
    """Everything in summary.json; fractions in [0, 1], None where a figure does not exist.

    Args:
        outcome: of `run`.
        dataset: that it ran on.
        plan: that it followed.
        missing: the classes that the model lacks, each with the reason.
        limit: of the run.
    """
    records = outcome.records
    rows = [(record["image"], row) for record in records for row in record["rows"]]
    samples = dataset.samples[:limit]
    lacking = Counter(
        name for sample in samples for name, truth in sample.present.items() if truth and name in missing
    )
    methods: dict[str, dict[str, Any]] = {}
    for method in plan.methods:
        own = [row for _, row in rows if row["method"] == method]
        methods[method] = {
            "passes": _mean([row["passes"] for row in own]),
            "seconds": _mean([row["seconds"] for row in own]),
            "kept": _mean([row["kept"] for row in own]),
            "no_evidence": sum(
                row["passes"] is None and all(value is None for value in row["metrics"].values())
                for row in own  # of the maps of others nobody knows the passes
            ),
            "metrics": {},
            "curves": _mean_curves(own),
        }
    for metric in plan.metrics:
        for method, figures in _compare(rows, metric, plan.methods).items():
            methods[method]["metrics"][metric] = figures
    first = [row for _, row in rows if row["method"] == plan.methods[0]]
    return {
        "settings": outcome.settings
        | {"methods": list(plan.methods), "metrics": list(plan.metrics), "limit": limit},
        "versions": _versions(),
        "counts": {
            "pictures": len(dataset.samples),
            "evaluated": len(records),
            "failed": len(outcome.failed),
            "changed": len(outcome.changed),
            "classified": sum(record["right"] is not None for record in records),
            "right": sum(record["right"] is True for record in records),
            "pairs": len(first),
            "annotated": sum(row["annotated"] for row in first),
            "predicted": sum(row["predicted"] for row in first),
            "annotated_and_predicted": sum(row["annotated"] and row["predicted"] for row in first),
            "difficult": sum(row["difficult"] for row in first),
            "pairs_of_missing_classes": sum(lacking.values()),
        },
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "level": 0.95, "unit": "picture"},
        "methods": methods,
        "failed": {image: str(error) for image, error in outcome.failed.items()},
        "missing_classes": {n: {"pairs": lacking[n], "reason": missing[n]} for n in missing if lacking[n]},
        "warnings": _warnings(records),
        "problems": _problems(dataset.problems, records),
    }


def _warnings(records: Sequence[Mapping[str, Any]]) -> list[str]:
    answers = [record["right"] for record in records if record["right"] is not None]
    if any(answers) or len(answers) < ENOUGH:
        return []
    return [
        f"the model predicts an annotated class on none of {len(answers)} pictures: the preprocessing of the "
        "bundle, its labels or the class map are wrong, or the data is not what the model was trained for"
    ]


def _compare(
    rows: Sequence[tuple[str, dict[str, Any]]], metric: str, methods: Sequence[str]
) -> dict[str, Any]:
    """One metric of all methods, and each method's difference from the first on the pairs that both have."""
    values: dict[str, dict[tuple, float]] = {method: {} for method in methods}
    for image, row in rows:
        if metric in row["metrics"]:
            value = row["metrics"][metric]
            values[row["method"]][image, row["class"], row["target"]] = np.nan if value is None else value
    base = values[methods[0]]
    columns = [values[method] for method in methods]
    columns += [{key: v - base[key] for key, v in values[m].items() if key in base} for m in methods[1:]]
    means, intervals = bootstrap([by_image(column) for column in columns])
    best = _clear_winner(dict(zip(methods, means, strict=False)), values, metric)
    result: dict[str, Any] = {}
    for i, method in enumerate(methods):
        column = np.array(list(values[method].values()), np.float64)
        result[method] = {
            "count": int(np.isfinite(column).sum()),
            "nan": int(np.isnan(column).sum()),
            "mean": means[i],
            "interval": intervals[i],
            "difference": None,
            "best": method == best,
        }
        if i:
            j = len(methods) + i - 1
            both = sum(np.isfinite(list(columns[j].values())))
            result[method]["difference"] = {"count": int(both), "mean": means[j], "interval": intervals[j]}
        if metric in TRUTH_METRICS:
            classes = _by_class(values[method])
            result[method]["classes"] = classes
            result[method]["class_mean"] = _mean([figures["mean"] for figures in classes.values()])
    return result


def _clear_winner(
    means: Mapping[str, float | None], values: Mapping[str, Mapping[tuple, float]], metric: str
) -> str | None:
    """The method with the best mean, if the interval of its difference from every other one leaves out 0."""
    there = {method: mean for method, mean in means.items() if mean is not None}
    if len(there) < 2:
        return None
    sign = -1 if metric in LOWER_IS_BETTER else 1
    first = max(there, key=lambda method: sign * there[method])
    leads = [
        {key: sign * (v - values[method][key]) for key, v in values[first].items() if key in values[method]}
        for method in there
        if method != first
    ]
    _, intervals = bootstrap([by_image(lead) for lead in leads])
    return first if all(interval is not None and interval[0] > 0 for interval in intervals) else None


def by_image(values: Mapping[tuple, float]) -> dict[str, list[float]]:
    """The values of every picture, of values by (picture, class, target)."""
    pictures: dict[str, list[float]] = {}
    for (image, *_), value in values.items():
        pictures.setdefault(image, []).append(value)
    return pictures


def _by_class(values: Mapping[tuple, float]) -> dict[str, dict[str, Any]]:
    classes: dict[str, list[float]] = {}
    for (_, name, _), value in values.items():
        if np.isfinite(value):
            classes.setdefault(name, []).append(value)
    return {name: {"count": len(v), "mean": float(np.mean(v))} for name, v in sorted(classes.items())}


def bootstrap(
    columns: Sequence[Mapping[str, Sequence[float]]], resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[list[float | None], list[list[float] | None]]:
    """Means over pairs, and their 95 % percentile intervals when pictures are drawn again.

    Args:
        columns: for each figure the values of every picture's pairs; NaN is left out.
        resamples: how often.
        seed: of the draws, which all columns share.

    Returns:
        The mean of each column, None without a value; and [low, high], None with fewer than two pictures.
    """
    images = sorted({image for column in columns for image, v in column.items() if np.isfinite(v).any()})
    sums = np.array([[np.nansum(c.get(image, [])) for c in columns] for image in images], np.float64)
    counts = np.array(
        [[np.isfinite(c.get(image, [])).sum() for c in columns] for image in images], np.float64
    )
    if not images:
        return [None] * len(columns), [None] * len(columns)
    totals = counts.sum(axis=0)
    means = [float(s / c) if c else None for s, c in zip(sums.sum(axis=0), totals, strict=True)]
    drawn = np.full((resamples, len(columns)), np.nan)
    rng = np.random.default_rng(seed)
    share = np.full(len(images), 1 / len(images))
    step = max(1, AT_ONCE // len(images))
    for start in range(0, resamples, step):
        part = drawn[start : start + step]
        weights = rng.multinomial(len(images), share, size=len(part)).astype(np.float64)  # (draws, pictures)
        weight = weights @ counts
        np.divide(weights @ sums, weight, out=part, where=weight > 0)
    intervals: list[list[float] | None] = []
    for column, have in zip(drawn.T, (counts > 0).sum(axis=0), strict=True):
        low, high = np.nanpercentile(column, [2.5, 97.5]) if have > 1 else (np.nan, np.nan)
        intervals.append([float(low), float(high)] if have > 1 else None)
    return means, intervals


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _mean_curves(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    for name in CURVES:
        kept = [row["curves"][name] for row in rows if name in row["curves"]]
        if kept:
            share = np.linspace(0, 1, CURVE_POINTS).round(4).tolist()
            mean = np.mean(kept, axis=0).round(5).tolist()
            curves[name] = {"count": len(kept), "share": share, "confidence": mean}
    return curves


def _problems(reading: Sequence[Problem], records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By kind: how many there are, and the first ones."""
    problems = [(p.kind, p.where, p.detail) for p in reading]
    problems += [tuple(problem) for record in records for problem in record["problems"]]
    kinds: dict[str, dict[str, Any]] = {}
    for kind, where, detail in problems:
        entry = kinds.setdefault(kind, {"count": 0, "listed": []})
        entry["count"] += 1
        if len(entry["listed"]) < LISTED:
            entry["listed"].append([where, detail])
    return dict(sorted(kinds.items()))


def _versions() -> dict[str, str]:
    names = ("sise-rt", "numpy", "opencv-python-headless", "pillow", "onnxruntime", "onnxruntime-gpu")
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
