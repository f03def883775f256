"""How the cost of an explanation grows: with masks, input, blocks and targets.

    python -m benchmarks.growth [--rounds 3]

A ResNet-18 on the CPU, one dimension at a time: seconds of each phase, medians over photos; and the peak
memory of a process that explains one of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import sise_rt
from benchmarks.material import IMAGENET_NORM
from benchmarks.speed import HELD, run_apart
from benchmarks.timing import exported, photos_over_again

MASKS = 32


def growth(folder: Path, rounds: int) -> Iterator[str]:
    """Seconds of each phase, one dimension at a time."""
    plain = exported("resnet18", folder)[1]
    yield f"{'':18} masks  features  scoring  ms/mask  surrogate  fusion  peak MB"
    for budget in (0.05, 0.1, 0.2, 0.5, 1.0):
        yield grown(f"budget {budget:g}", plain, rounds, {"budget": budget})
    for side in (224, 448, 672, 1024):
        yield grown(f"{side} x {side}", resnet18(folder, side), rounds, {"max_passes": 1 + MASKS})
    for count in (1, 3, 5):
        yield grown(f"last {count} blocks", resnet18(folder, 224, count), rounds, {})
    for count in (1, 5, 20):
        yield grown(f"{count} targets", plain, rounds, {"max_passes": count + MASKS}, count)


def resnet18(folder: Path, side: int, blocks: int = 5) -> Path:
    """A bundle for an input of so many pixels a side, with so many of the last blocks; made once."""
    from sise_rt.export import export

    source, bundle = exported("resnet18", folder)
    if (side, blocks) == (224, 5):
        return bundle
    tensors = [block.tensor for block in sise_rt.load(bundle, "cpu").manifest.blocks]
    other = folder / f"resnet18_{side}_{blocks}.sise"
    if not other.exists():
        export(
            source,
            other,
            activation="softmax",
            input_size=(side, side),
            blocks=tensors[-blocks:],
            preprocess=IMAGENET_NORM,
        )
    return other


def grown(name: str, bundle: Path, rounds: int, options: dict[str, Any], top_k: int = 1) -> str:
    """A line of medians; the peak is that of a process of its own."""
    explainer, rows = sise_rt.load(bundle, "cpu"), []
    for photo in photos_over_again(rounds):
        first, *_ = explainer.explain_targets(photo, top_k=top_k, **options)
        assert isinstance(first, sise_rt.Explanation)
        scoring, surrogate = first.seconds["scoring"], first.seconds.get("surrogate", 0.0)
        rows.append([
            *(first.masks, first.seconds["features"], scoring, 1e3 * scoring / first.masks),
            *(surrogate, first.seconds["fusion"]),
        ])  # fmt: skip
    masks, *seconds = (median(column) for column in zip(*rows, strict=True))
    features, scoring, each, surrogate, fusion = seconds
    peak = run_apart(HELD, bundle, photos_over_again(1)[0], json.dumps(options | {"top_k": top_k}), "VmHWM")
    return (
        f"{name:18} {masks:5.0f}  {features:8.3f}  {scoring:7.2f}  {each:7.1f}  {surrogate:9.3f}"
        f"  {fusion:6.3f}  {peak:7.0f}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", type=Path, help="a folder to keep the bundles in")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        folder = options.models or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for line in growth(folder, options.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
