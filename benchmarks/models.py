"""Other people's ONNX files: gradient scores against central differences, and top-1 against the bare model.

    python benchmarks/models.py --overlays FOLDER

The material's SqueezeNet, Keras MobileNetV2 (NHWC) and CIFAR-10 ResNet-20 are exported from their files. Both
the bundle's per-block files and the bare file classify the photos of `imagenet_val`; for the CIFAR network,
whose classes these photos do not show, only the agreement means something.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from reference import MATERIAL, photos
from sise_rt.export import export

import sise_rt
from sise_rt.graphs import block_graph
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import load_image
from sise_rt.running.verify import verify

IMAGENET = MATERIAL / "images" / "imagenet_val"
CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SETTINGS = {
    "squeezenet_v1_0": {"mean": (104, 117, 123), "std": (1, 1, 1), "scale": 1.0, "color": "BGR"},
    "keras_mobilenetv2_nhwc": {"mean": (127.5,) * 3, "std": (127.5,) * 3, "scale": 1.0},
    "cifar_resnet20": {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--overlays", type=Path, help="explain five photos with each model into this folder")
    arguments = parser.parse_args()
    words = (IMAGENET / "synset_words.txt").read_text().splitlines()
    names = [word.split(" ", 1)[1].split(",")[0] for word in words]
    with open(IMAGENET / "labels.csv", newline="") as file:
        labelled = [
            (IMAGENET / "data" / row["file"], int(row["class_index"])) for row in csv.DictReader(file)
        ]
    print(f"{'model':24} {'blocks':>30}  alpha against differences  top-1  bare  agree")
    for name, settings in SETTINGS.items():
        path = MATERIAL / "models" / f"{name}.onnx"
        bare = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (slot,) = bare.get_inputs()
        with tempfile.TemporaryDirectory() as folder:
            report = export(
                path,
                Path(folder) / f"{name}.sise",
                preprocess=settings | {"crop_mode": "squash", "crop_pct": 1.0},
                labels=CIFAR if name.startswith("cifar") else names,
            )
            explainer = sise_rt.load(report.path, "cpu")
            errors = verify(explainer.engine)
            pieces = [*map(block_graph, range(1, len(report.manifest.blocks) + 1)), "classifier"]
            chain = [explainer.engine.sessions.open(piece) for piece in pieces]
            answers = []
            for photo, label in labelled:
                tensor, _ = preprocess(load_image(photo), report.manifest.preprocess)
                logits = tensor
                for session in chain:
                    logits = session.run(None, {session.get_inputs()[0].name: logits})[0]
                if report.manifest.input.layout == "NHWC":
                    tensor = tensor.transpose(0, 2, 3, 1)
                answers.append((logits.argmax(), bare.run(None, {slot.name: tensor})[0].argmax(), label))
            found, expected, labels = np.array(answers).T
            blocks = " ".join(f"{b.channels}@{b.height}" for b in report.manifest.blocks)
            top = [f"{100 * (given == labels).mean():.1f}" for given in (found, expected)]
            if name.startswith("cifar"):
                top = ["-", "-"]
            print(
                f"{name:24} {blocks:>30}  {errors['differences']:25.1e}  {top[0]:>5}  {top[1]:>4}  "
                f"{(found == expected).sum()} of {len(labels)}",
                flush=True,
            )
            if arguments.overlays:
                for photo in photos(5):
                    explainer.explain(photo).save(arguments.overlays / name, photo)


if __name__ == "__main__":
    main()
