"""Tables from evaluations: the paper's Table 1 with intervals, and paired differences to the first method.

    sise-rt evaluate ... -o REPORT
    python benchmarks/evidence.py REPORT [--max-truth 0.5] [--methods sise,grad-cam]

Figures are means in percent (areas under curves times 100) with bootstrap 95 % intervals over pictures.
`--max-truth` keeps pairs whose ground truth covers less than that share of the input; the metrics that ask
the model then count the pictures of these pairs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.evaluation.summary import bootstrap

NAMES = {
    "ebpg": "EBPG",
    "miou": "mIoU",
    "bbox": "Bbox",
    "pointing-game": "pointing",
    "drop": "Drop (low)",
    "increase": "Increase",
    "insertion": "insertion",
    "deletion": "deletion (low)",
}
Rows = list[tuple[str, dict[str, Any]]]


def rows_of(report: Path, most: float) -> Rows:
    """(picture, row) of a report; with `most` below 1 only of pictures with a truth smaller than that."""
    records = [json.loads(line) for line in (report / "rows.jsonl").read_text("utf-8").splitlines()]
    found = []
    for record in records:
        areas = [row["truth_area"] for row in record["rows"] if row["annotated"] and row.get("truth_area")]
        if most >= 1 or (areas and min(areas) < most):
            rows = [row for row in record["rows"] if most >= 1 or (row.get("truth_area") or 0) < most]
            found += [(record["image"], row) for row in rows]
    return found


def values(rows: Rows, method: str, metric: str) -> dict[tuple[str, int], float]:
    """A method's values of a metric by picture and target; what has none is left out."""
    found = {}
    for image, row in rows:
        value = row["metrics"].get(metric)
        if row["method"] == method and value is not None:
            found[image, row["target"]] = 100 * float(value)
    return found


def by_picture(pairs: dict[tuple[str, int], float]) -> dict[str, list[float]]:
    """The values of every picture."""
    found: dict[str, list[float]] = {}
    for (image, _), value in pairs.items():
        found.setdefault(image, []).append(value)
    return found


def cell(pairs: dict[tuple[str, int], float], signed: bool = False) -> str:
    """Mean and half the width of its interval."""
    (mean,), (interval,) = bootstrap([by_picture(pairs)])
    if mean is None:
        return ""
    spread = "" if interval is None else f" ± {(interval[1] - interval[0]) / 2:.1f}"
    return f"{mean:+.1f}{spread}" if signed else f"{mean:.1f}{spread}"


def table(rows: Rows, methods: list[str], metrics: list[str]) -> list[str]:
    """Means, one row a method; passes and seconds of pictures with one target, as others share theirs."""
    targets = {image: {row["target"] for other, row in rows if other == image} for image, _ in rows}
    single = [(image, row) for image, row in rows if len(targets[image]) == 1]
    lines = [
        f"| | {' | '.join(NAMES[m] for m in metrics)} | passes | seconds |",
        "|---" * (len(metrics) + 3) + "|",
    ]
    for method in methods:
        own = [row for _, row in single if row["method"] == method]
        cells = [cell(values(rows, method, metric)) for metric in metrics]
        cost = [[row[key] for row in own if row[key] is not None] for key in ("passes", "seconds")]
        passes, seconds = (
            f"{np.mean(part):.{n}f}" if part else "" for part, n in zip(cost, (0, 2), strict=True)
        )
        lines.append(f"| {method} | {' | '.join(cells)} | {passes} | {seconds} |")
    return lines


def differences(rows: Rows, methods: list[str], metrics: list[str]) -> list[str]:
    """Mean of (method - first method) on the pairs that both have."""
    first, *others = methods
    lines = [
        f"| minus {first} | {' | '.join(NAMES[m] for m in metrics)} |",
        "|---" * (len(metrics) + 1) + "|",
    ]
    for method in others:
        cells = []
        for metric in metrics:
            own, base = values(rows, method, metric), values(rows, first, metric)
            cells.append(
                cell({pair: own[pair] - base[pair] for pair in own.keys() & base.keys()}, signed=True)
            )
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path)
    parser.add_argument("--max-truth", type=float, default=1.0)
    parser.add_argument("--methods", help="comma-separated; by default all, in the report's order")
    arguments = parser.parse_args()
    rows = rows_of(arguments.report, arguments.max_truth)
    known = list(dict.fromkeys(row["method"] for _, row in rows))
    methods = arguments.methods.split(",") if arguments.methods else known
    metrics = [m for m in NAMES if any(m in row["metrics"] for _, row in rows)]
    first = [row for _, row in rows if row["method"] == known[0]]
    annotated, predicted = (sum(row[key] for row in first) for key in ("annotated", "predicted"))
    count = len({image for image, _ in rows})
    print(f"{count} pictures, {annotated} pairs with an annotated class, {predicted} predicted classes.\n")
    print("\n".join([*table(rows, methods, metrics), "", *differences(rows, methods, metrics)]))


if __name__ == "__main__":
    main()
