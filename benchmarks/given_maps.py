"""Maps made by pytorch-grad-cam, measured by `sise-rt evaluate --maps` beside our own of the same methods.

    python -m benchmarks.given_maps -o FOLDER --limit 10

The network is torchvision's ResNet-18 in float32; ours is its bundle. Theirs are written as `.npy`, a file a
picture and class. Printed is the largest difference of any figure of any picture and class, by metric. Where
values all but tie, the two maps may rank pixels differently by their last digits.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import sise_rt
from benchmarks.material import IMAGENET
from benchmarks.reference import exported, resnet
from sise_rt.commands.group import run
from sise_rt.evaluation.classes import match_classes
from sise_rt.evaluation.datasets import read_dataset

MODEL = "resnet18"
METHODS = {"grad-cam": "GradCAM", "layercam": "LayerCAM", "hirescam": "HiResCAM"}
METRICS = ("ebpg", "miou", "bbox", "pointing-game", "drop", "increase", "insertion", "deletion")


def write_theirs(bundle: Path, folder: Path, limit: int) -> None:
    """Their maps of the first pictures of the data, of every class that an evaluation may ask for."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    explainer, network = sise_rt.load(bundle), resnet(MODEL, torch.float32)
    model = network.model.requires_grad_(True)
    dataset = read_dataset(IMAGENET, "csv-boxes")
    targets, _ = match_classes(dataset.classes, explainer.manifest, {})
    for method, name in METHODS.items():
        with getattr(pytorch_grad_cam, name)(model, [model.layer4[-1]]) as cam:
            for sample in dataset.samples[:limit]:
                tensor = explainer.prepare(IMAGENET / sample.image).tensor
                wanted = {int(explainer.engine.forward(tensor).argmax())}
                wanted |= {index for label in sample.present for index in targets.get(label, ())}
                for target in wanted:
                    map_ = cam(torch.from_numpy(tensor), [ClassifierOutputTarget(target)])[0]
                    path = folder / method / Path(sample.image).with_suffix(f".{target}.npy")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    np.save(path, map_)


def differences(report: Path) -> Iterator[str]:
    """Lines: for each method and metric the largest difference between ours and theirs."""
    with (report / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for method in METHODS:
        ours, theirs = (
            {(row["image"], row["target"]): row for row in rows if row["method"] == name}
            for name in (method, f"theirs-{method}")
        )
        assert ours.keys() == theirs.keys()
        for metric in METRICS:
            pairs = [(ours[key][metric], theirs[key][metric]) for key in ours if ours[key][metric]]
            gaps = [abs(float(a) - float(b)) for a, b in pairs]
            yield f"{method:10} {metric:14} {len(gaps):4} figures, largest difference {max(gaps):.1e}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the maps, measure them and ours, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=10)
    options = parser.parse_args(arguments)
    with exported(MODEL) as bundle:
        write_theirs(bundle, options.out / "maps", options.limit)
        given = [f"--maps=theirs-{method}={options.out / 'maps' / method}" for method in METHODS]
        asked = ["--method", ",".join(METHODS), "--metric", ",".join(METRICS), "--limit", str(options.limit)]
        data = ["--data", str(IMAGENET), "--format", "csv-boxes", "-o", str(options.out / "report")]
        if code := run(["evaluate", "-m", str(bundle), *data, *asked, *given]):
            raise SystemExit(code)
    print(*differences(options.out / "report"), sep="\n")


if __name__ == "__main__":
    main()
