"""How far maps of fewer passes are from exact SISE, drawn over the share of the passes.

    python -m benchmarks.curve REPORT [REPORT...] -o docs/budgets.png

Each REPORT is of `benchmarks.budget`. Budgets are set beside the paper's thresholds mu: paired differences
with bootstrap 95 % intervals, in points (areas under curves times 100), positive where a map is better.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

from benchmarks.evidence import Rows, by_method, rows_of, values
from sise_rt.evaluation.summary import bootstrap, by_image

matplotlib.use("Agg")
METRICS = {"ebpg": ("EBPG", 1), "bbox": ("Bbox", 1), "drop": ("Drop", -1), "insertion": ("insertion", 1)}
COLOURS = {"budget": "#1f6fb4", "mu": "#c8682b"}


def points(report: Path, kind: str, metric: str) -> list[tuple[float, float, float, float]]:
    """Percent of the passes, difference, and its interval's way down and up, of each setting of a kind."""
    groups = by_method(rows_of(report, 1.0))
    exact, whole = values(groups["exact"], metric), passes(groups["exact"])
    settings = []
    for method, rows in groups.items():
        if method.split()[0] != kind:
            continue
        own = values(rows, metric)
        pairs = {pair: METRICS[metric][1] * (own[pair] - exact[pair]) for pair in own.keys() & exact.keys()}
        (mean,), (interval,) = bootstrap([by_image(pairs)])
        low, high = interval
        settings.append((100 * passes(rows) / whole, mean, mean - low, high - mean))
    return sorted(settings)


def passes(rows: Rows) -> float:
    """Mean number of forward passes."""
    return float(np.mean([row["passes"] for _, row in rows]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw one row of axes a report."""
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    shape = len(options.reports), len(METRICS)
    figure, axes = plt.subplots(*shape, figsize=(11, 2.6 * shape[0]), squeeze=False, layout="constrained")
    for line, report in zip(axes, options.reports, strict=True):
        for axis, (metric, (name, _)) in zip(line, METRICS.items(), strict=True):
            axis.axhline(0, color="0.6", linewidth=0.8)
            for kind, colour in COLOURS.items():
                share, mean, below, above = zip(*points(report, kind, metric), strict=True)
                axis.errorbar(share, mean, (below, above), color=colour, marker="o", capsize=2, label=kind)
            axis.set(xscale="log", xticks=[5, 10, 20, 50], title=f"{report.name}: {name}")
            axis.set_xticks([], minor=True)
            axis.set_xticklabels(["5", "10", "20", "50"])
            axis.set_xlabel("passes, % of exact SISE")
        line[0].set_ylabel("points, up is better")
        line[0].legend()
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
