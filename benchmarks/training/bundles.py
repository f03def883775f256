"""Two networks of the study as bundles, and what SISE says of the same pictures by each.

    python -m benchmarks.training.bundles -o FOLDER --picture strip.jpg

One is trained with the usual augmentation, the other by EDDA on top of it, with SISE; both on the surfaces
with the planted mark, with the same seed. FOLDER gets `augmented.sise` and `edda-sise.sise`, and the picture
a row for each of six test pictures: the picture, and the explanation of its class by either.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from sise_rt.export import export

import sise_rt
from benchmarks.material import SQUASHED
from benchmarks.training.__main__ import trained
from benchmarks.training.data import SIDE, SIZES, STEPS, surfaces
from examples.surface.generate import CLASSES
from sise_rt.drawing.outline import draw_outline
from sise_rt.drawing.strips import strip
from sise_rt.metrics import ebpg

PAIR = ("augmented", "edda-sise")
SHOWN = 6
ENLARGED = 240  # pixels


def bundle_of(arm: str, out: Path, seed: int) -> Path:
    """The bundle of a network of the study, which is trained unless it is there."""
    path = out / f"{arm}.sise"
    if path.exists():
        return path
    run = ("surfaces", max(SIZES["surfaces"]), seed, arm)
    model, prepare = trained(surfaces(out), run, STEPS["surfaces"])
    outputs = model[-1].out_features
    normal = {name: tuple(getattr(prepare, name).flatten().tolist()) for name in ("mean", "std")}
    export(
        model, path, labels=[*CLASSES, "background"][:outputs], example=torch.zeros(1, 3, SIDE, SIDE),
        activation="softmax", preprocess=normal | SQUASHED,
    )  # fmt: skip
    return path


def rows(out: Path, seed: int) -> Iterator[np.ndarray]:
    """For each picture: itself with the line around its defect, and the explanation by either network."""
    test = surfaces(out).test
    explainers = {arm: sise_rt.load(bundle_of(arm, out, seed)) for arm in PAIR}
    with_defect = [row for row in range(len(test.labels)) if test.truths[row].any()]
    for row in with_defect[:SHOWN]:
        pixels = (255 * test.images[row].permute(1, 2, 0)).round().byte().numpy()
        large = cv2.resize(pixels, (ENLARGED, ENLARGED), interpolation=cv2.INTER_NEAREST)
        truth = cv2.resize(
            test.truths[row].astype(np.uint8), large.shape[:2], interpolation=cv2.INTER_NEAREST
        )
        draw_outline(large, truth > 0)
        label, maps = CLASSES[test.labels[row]], []
        for arm, explainer in explainers.items():
            explanation = explainer.explain(pixels, label)
            maps.append((f"{arm}: {explanation.confidence:.2f} {label}", explanation.map))
            share = ebpg(cv2.resize(explanation.map, (SIDE, SIDE)), test.marks[row])
            print(f"picture {row}, {arm}: {explanation.confidence:.3f} {label}, on the mark {share:.3f}")
        yield strip(large, maps, title=label, height=ENLARGED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, export, explain, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(list(rows(options.out, options.seed)))).save(options.picture)


if __name__ == "__main__":
    main()
