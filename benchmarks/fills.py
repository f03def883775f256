"""What a network makes of each fill: how its confidence and decisions react where random places are hidden.

    python -m benchmarks.fills BUNDLE --data DIR --format FORMAT

Of pictures that the network gets right (`--limit`, drawn evenly) the places of a random map are hidden, a
share of the picture at a time; they are the same places for every fill. Printed are the mean confidence in
the class that is left, the share of decisions that change, and how many of the changed ones go to a single
class: where a fill always looks like the same class, it is a feature of its own. With boxes or masks in DIR
`inside` is the same with exactly the annotated region hidden: there the confidence should fall.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import sise_rt
from sise_rt.augmenting.occlusion import FILLS, highest_share, occluded, random_map
from sise_rt.evaluation.classes import match_classes
from sise_rt.evaluation.datasets import FORMATS, read_dataset
from sise_rt.evaluation.samples import Dataset
from sise_rt.evaluation.truth import draw
from sise_rt.explainer import Explainer
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import to_original
from sise_rt.pictures.reading import MAX_PIXELS

SHARES = (0.05, 0.2, 0.5, 0.8)

Case = tuple[Picture, int, np.ndarray | None]
"""A picture, its class, and where that is, bool (H, W), if the data set tells."""


def cases(explainer: Explainer, dataset: Dataset, limit: int) -> Iterator[Case]:
    """Pictures that the network gets right, at most so many."""
    targets, _ = match_classes(dataset.classes, explainer.manifest, {})
    left = limit
    for sample in dataset.samples:
        picture = explainer.prepare(dataset.folder / sample.image)
        best = int(explainer.confidences(picture).argmax())
        for name, truth in sample.present.items():
            if left and best in targets.get(name, ()):
                size = picture.placement.original
                mask = None if truth is None else draw(truth, size, dataset.folder, name, MAX_PIXELS)[0]
                yield picture, best, mask
                left -= 1
                break


def hidden_places(case: Case, number: int) -> Iterator[tuple[str, np.ndarray]]:
    """What is hidden of a picture, in words, and where, bool (H, W)."""
    picture, _, truth = case
    map_ = random_map(picture.placement.input, np.random.default_rng(number))
    placed, seen = to_original(map_, picture.placement)
    for share in SHARES:
        yield f"{share:.0%}", highest_share(placed, seen, share)
    if truth is not None and not truth.all():
        yield "inside", truth


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for every fill and share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--only", type=Path, help="names of the pictures to take, one a line")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args(arguments)
    explainer = sise_rt.load(given.bundle, threads=given.threads)
    only = None if given.only is None else given.only.read_text("utf-8").splitlines()
    taken = list(cases(explainer, read_dataset(given.data, given.format, only=only), given.limit))
    whole = np.mean([explainer.confidences(picture)[target] for picture, target, _ in taken])
    print(f"{len(taken)} pictures, mean confidence {whole:.3f} with nothing hidden")
    print("| fill | hidden | confidence | decisions changed | of these to one class |")
    print("|---|---|---|---|---|")
    for name, fill in FILLS.items():
        left: dict[str, list[float]] = {}
        turned: dict[str, Counter[int]] = {}
        for number, case in enumerate(taken):
            picture, target, _ = case
            for words, hidden in hidden_places(case, number):
                shown = occluded(picture.pixels, hidden, fill, np.random.default_rng(number))
                trust = explainer.confidences(shown)
                left.setdefault(words, []).append(float(trust[target]))
                turned.setdefault(words, Counter())[
                    int(trust.argmax()) if trust.argmax() != target else -1
                ] += 1
        for words, values in left.items():
            changed = {index: count for index, count in turned[words].items() if index >= 0}
            total = sum(changed.values())
            most = max(changed, key=lambda index: changed[index], default=0)
            to = f"{changed[most] / total:.0%} ({explainer.manifest.label(most)})" if total else "-"
            print(f"| {name} | {words} | {np.mean(values):.3f} | {total / len(values):.0%} | {to} |")


if __name__ == "__main__":
    main()
