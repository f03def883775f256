"""Tables from evaluations: the paper's Table 1 with intervals, and paired differences to the first method.

    sise-rt evaluate ... -o REPORT
    python -m benchmarks.evidence REPORT [--max-truth 0.5] [--methods sise,grad-cam] [--part odd]

Figures are means in percent (areas under curves times 100) with bootstrap 95 % intervals over pictures.
`--max-truth` keeps the pictures whose smallest ground truth covers less than that share of the input, and
drops the others whole. Of a picture that is kept, the metrics on ground truth count the pairs below the
share; those that ask the model count its predicted class, whatever that one's truth covers. `--part` keeps
every other picture, so that what was chosen by the even ones can be told of the odd ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.evaluation.measure import MODEL_METRICS
from sise_rt.evaluation.store import ROWS
from sise_rt.evaluation.summary import bootstrap, by_image

NAMES = {
    "ebpg": "EBPG",
    "miou": "mIoU",
    "bbox": "Bbox",
    "pointing-game": "pointing",
    "drop": "Drop (low)",
    "increase": "Increase",
    "insertion": "insertion",
    "deletion": "deletion (low)",
    "road": "ROAD",
    "complexity": "complexity (low)",
    "correlation": "correlation",
    "iou": "IoU of regions",
    "edge": "peak at the edge (low)",
}
COST = {"passes": 0, "seconds": 2}  # digits behind the point
Rows = list[tuple[str, dict[str, Any]]]
"""Pictures and rows of a report."""
Pair = tuple[str, str | None, int]
"""A picture, a class and a target."""


def rows_of(report: Path, most: float) -> Rows:
    """The rows of a report; with `most` below 1 only of pictures with a truth smaller than that share."""
    whole, _, _ = (report / ROWS).read_text("utf-8").rpartition("\n")  # behind it a crash left a torn line
    records: dict[str, list[dict[str, Any]]] = {}
    for record in map(json.loads, whole.splitlines()):
        records[record["image"]] = record["rows"]
    kept = []
    for image, rows in records.items():
        alone = len({row["target"] for row in rows}) == 1
        of_image = rows if most >= 1 else small_truth(rows, most)
        kept += [(image, row | {"alone": alone}) for row in of_image]
    return kept


def small_truth(rows: list[dict[str, Any]], most: float) -> list[dict[str, Any]]:
    """The rows of a picture whose truth is below `most`, and what its predicted class says of the model."""
    kept = []
    for row in rows:
        if row["annotated"] and row["truth_area"] < most:
            kept.append(row)
        elif row["predicted"]:
            asked = {name: value for name, value in row["metrics"].items() if name in MODEL_METRICS}
            kept.append(row | {"annotated": False, "metrics": asked})
    return kept if any(row["annotated"] for row in kept) else []


def part_of(rows: Rows, part: str | None) -> Rows:
    """The rows of the `even` or `odd` pictures, which the report's order numbers from 1; of all if None."""
    number = {image: k for k, image in enumerate(dict.fromkeys(image for image, _ in rows), 1)}
    wanted = {None: (0, 1), "even": (0,), "odd": (1,)}[part]
    return [(image, row) for image, row in rows if number[image] % 2 in wanted]


def by_method(rows: Rows) -> dict[str, Rows]:
    """The rows of each method, in the report's order."""
    groups: dict[str, Rows] = {}
    for image, row in rows:
        groups.setdefault(row["method"], []).append((image, row))
    return groups


def values(rows: Rows, metric: str) -> dict[Pair, float]:
    """One method's values of a metric, times 100; pairs without a value are left out."""
    by_pair = {}
    for image, row in rows:
        value = row["metrics"].get(metric)
        if value is not None:
            by_pair[image, row.get("class"), row["target"]] = 100 * float(value)
    return by_pair


def cell(pairs: dict[Pair, float], signed: bool = False) -> str:
    """The mean and half the width of its interval; empty without a value."""
    (mean,), (interval,) = bootstrap([by_image(pairs)])
    if mean is None:
        return ""
    spread = "" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.1f}"
    return f"{mean:+.1f}{spread}" if signed else f"{mean:.1f}{spread}"


def table(groups: dict[str, Rows], metrics: list[str]) -> list[str]:
    """Means, one row a method; passes and seconds of pictures with one target, as others share theirs.

    Pixels shown: by Drop and Increase, in percent; fewer than 15 where a map has many equal values.
    """
    lines = [
        f"| | {' | '.join(NAMES[m] for m in metrics)} | pixels shown | passes | seconds |",
        "|---" * (len(metrics) + 4) + "|",
    ]
    for method, rows in groups.items():
        cells = [cell(values(rows, metric)) for metric in metrics]
        shown = mean([row["kept"] for _, row in rows if row.get("kept") is not None], 100, 1)
        own = [row for _, row in rows if row["alone"]]
        cost = (mean([row[k] for row in own if row[k] is not None], 1, n) for k, n in COST.items())
        lines.append(f"| {method} | {' | '.join([*cells, shown, *cost])} |")
    return lines


def mean(numbers: list[float], scale: float, digits: int) -> str:
    """The mean times `scale`; empty without a number."""
    return f"{scale * np.mean(numbers):.{digits}f}" if numbers else ""


def without_value(groups: dict[str, Rows], metrics: list[str]) -> str:
    """How often a method has no value of a metric, as where nothing speaks for a class; empty if never."""
    counts = {
        f"{method} {NAMES[metric]}": sum(
            metric in row["metrics"] and row["metrics"][metric] is None for _, row in rows
        )
        for method, rows in groups.items()
        for metric in metrics
    }
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def differences(groups: dict[str, Rows], metrics: list[str]) -> list[str]:
    """Means of a method's values minus the first method's, of the pairs that both have; one row a method."""
    first, *others = groups
    lines = [
        f"| minus {first} | {' | '.join(NAMES[m] for m in metrics)} |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    for method in others:
        cells = []
        for metric in metrics:
            own, base = values(groups[method], metric), values(groups[first], metric)
            cells.append(
                cell({pair: own[pair] - base[pair] for pair in own.keys() & base.keys()}, signed=True)
            )
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("--max-truth", type=float, default=1.0)
    parser.add_argument("--methods", help="comma-separated; by default all, in the report's order")
    parser.add_argument("--part", choices=("even", "odd"))
    options = parser.parse_args(arguments)
    rows = part_of(rows_of(options.report, options.max_truth), options.part)
    groups = by_method(rows)
    if not groups:
        parser.error("the report has no such pair")
    methods = options.methods.split(",") if options.methods else list(groups)
    if unknown := [name for name in methods if name not in groups]:
        parser.error(f"the report has no {unknown[0]!r}; it has {', '.join(groups)}")
    metrics = [m for m in NAMES if any(m in row["metrics"] for _, row in rows)]
    first = [row for _, row in next(iter(groups.values()))]
    annotated, predicted = (sum(row[key] for row in first) for key in ("annotated", "predicted"))
    count = len({image for image, _ in rows})
    print(f"{count} pictures, {annotated} pairs with an annotated class, {predicted} predicted classes.\n")
    groups = {name: groups[name] for name in methods}
    print("\n".join([*table(groups, metrics), "", *differences(groups, metrics)]))
    if lacking := without_value(groups, metrics):
        print(f"\nWithout a value: {lacking}.")


if __name__ == "__main__":
    main()
