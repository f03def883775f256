"""What a record's two figures to monitor are on pictures: the border's share, and whether the region bears.

    python -m benchmarks.flags BUNDLE FOLDER [--list FILE] [--limit 100] [--method sise:budget=0.1]

Of every picture the predicted class is explained. As a control, the region of the map before it, which is of
another picture, is hidden too: what bears the decision there is chance, or what pictures have in common.
Even pictures are for choosing by, and odd ones for reporting.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import sise_rt
from sise_rt.answering import MOST_AT_BORDER
from sise_rt.metrics import Region, border_share, borne_by, region_of
from sise_rt.metrics.check import confidence_in
from sise_rt.pictures.reading import PICTURES

TRIED = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 1)


class Figures(NamedTuple):
    """Of one picture: its border's share, whose peak lies there, and its own region and another map's."""

    border: float
    peak: bool
    own: Region
    other: Region


def measured(explainer: sise_rt.Explainer, images: Sequence[Path], method: str) -> Iterator[Figures]:
    """The figures of each picture but the first, which only gives the second its control."""
    before: np.ndarray | None = None
    for image in images:
        try:
            explanation = explainer.explain(image, method=method, batch_size=8)
        except sise_rt.NoEvidence as error:
            print(f"left out: {error}")
            continue
        map_ = explanation.map
        if before is not None:
            confidence = confidence_in(explainer.engine, explanation.target)
            pixels = explainer.prepare(image).tensor[0]
            own, other = (
                borne_by(region_of(each), pixels, explanation.confidence, confidence, batch=8)
                for each in (map_, before)
            )
            yield Figures(border_share(map_), peaks_at_border(map_), own, other)
        before = map_


def peaks_at_border(map_: np.ndarray) -> bool:
    """Whether the highest pixel lies in the border."""
    only = np.zeros_like(map_)
    only.flat[map_.argmax()] = 1
    return border_share(only) >= 0.5


def lines(figures: Sequence[Figures]) -> Iterator[str]:
    """What is printed of some pictures."""
    borders = np.array([each.border for each in figures])
    peaks = np.array([each.peak for each in figures])
    quantiles = zip(QUANTILES, np.quantile(borders, QUANTILES), strict=True)
    yield f"  peak in the border: {peaks.mean():.0%}"
    yield "  border share, quantiles: " + ", ".join(f"{q:g}: {value:.3f}" for q, value in quantiles)
    yield "  above: " + ", ".join(f"{limit:g}: {(borders > limit).mean():.0%}" for limit in TRIED)
    of_peaks = borders[peaks] > MOST_AT_BORDER
    yield f"  above {MOST_AT_BORDER:g} of those that peak there: {of_peaks.sum()} of {peaks.sum()}"
    for name in ("own", "other"):
        regions = [getattr(each, name) for each in figures]
        regions = [region for region in regions if region.bears is not None]
        mean = {
            what: np.mean([getattr(region, what) for region in regions])
            for what in ("area", "whole", "hidden", "alone")
        }
        elsewhere = np.mean([region.random.mean() for region in regions])
        bears = np.mean([region.bears for region in regions])
        below_mean = np.mean([region.hidden < region.random.mean() for region in regions])
        below_all = np.mean([region.hidden < region.random.min() for region in regions])
        yield (
            f"  {name} map: area {mean['area']:.3f}, confidence {mean['whole']:.3f}, "
            f"hidden {mean['hidden']:.3f}, alone {mean['alone']:.3f}, as much elsewhere {elsewhere:.3f}; "
            f"bears {bears:.0%}, below its mean {below_mean:.0%}, below all {below_all:.0%}"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, help="of pictures")
    parser.add_argument("--list", type=Path, help="names in the folder, a line each; all pictures without it")
    parser.add_argument("--limit", type=int, default=100, help="pictures at most, drawn evenly")
    parser.add_argument("--method", default="sise:budget=0.1")
    options = parser.parse_args(arguments)
    if options.list:
        images = [options.folder / name for name in options.list.read_text().split()]
    else:
        images = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in PICTURES)
    images = images[:: max(1, len(images) // (options.limit + 1))][: options.limit + 1]
    figures = list(measured(sise_rt.load(options.bundle, "cpu"), images, options.method))
    for name, part in (("even", figures[1::2]), ("odd", figures[::2])):
        print(f"{name}: {len(part)} pictures", *lines(part), sep="\n")


if __name__ == "__main__":
    main()
