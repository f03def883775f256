"""Other people's ONNX files: gradient scores against central differences, and top-1 against the bare model.

    python -m benchmarks.models --overlays FOLDER

The material's SqueezeNet, Keras MobileNetV2 (NHWC) and CIFAR-10 ResNet-20 are exported from their files. Both
the bundle's per-block files and the bare file classify the photos of `imagenet_val`; for the CIFAR network,
whose classes these photos do not show, only the agreement means something.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from sise_rt.export import export

import sise_rt
from benchmarks.material import IMAGENET, MODELS, PREPROCESS, SQUASHED, labelled_photos, photos
from sise_rt.graphs import block_graph
from sise_rt.running.verify import verify

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
NAMES = ("squeezenet_v1_0", "keras_mobilenetv2_nhwc", "cifar_resnet20")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--overlays", type=Path, help="explain five photos with each model into this folder")
    options = parser.parse_args(arguments)
    print(f"{'model':24} {'blocks':>30}  alpha against differences  top-1  bare  agree")
    for name in NAMES:
        print(measure(name, options.overlays), flush=True)


def measure(name: str, overlays: Path | None) -> str:
    """A model's line of the table; its overlays are written on the way."""
    path = MODELS / f"{name}.onnx"
    of_cifar = name.startswith("cifar")
    with tempfile.TemporaryDirectory() as folder:
        report = export(
            path,
            Path(folder) / f"{name}.sise",
            preprocess=PREPROCESS[name] | SQUASHED,
            labels=CIFAR if of_cifar else imagenet_labels(),
        )
        explainer = sise_rt.load(report.path, "cpu")
        errors = verify(explainer.engine)
        ours, bare, labels = classes(explainer, path)
        if overlays:
            for photo in photos(5):
                explainer.explain(photo).save(overlays / name, photo)
    blocks = " ".join(f"{b.channels}@{b.height}" for b in report.manifest.blocks)
    top = ["-" if of_cifar else f"{100 * (given == labels).mean():.1f}" for given in (ours, bare)]
    return (
        f"{name:24} {blocks:>30}  {errors['differences']:25.1e}  {top[0]:>5}  {top[1]:>4}  "
        f"{(ours == bare).sum()} of {len(labels)}"
    )


def imagenet_labels() -> list[str]:
    """The first name of each of the 1000 classes."""
    words = (IMAGENET / "synset_words.txt").read_text().splitlines()
    return [word.split(" ", 1)[1].split(",")[0] for word in words]


def classes(explainer: sise_rt.Explainer, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the bundle's per-block files, and the bare file, take each photo for, and its label; all (N,)."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (slot,) = session.get_inputs()
    pieces = [*map(block_graph, range(1, len(explainer.manifest.blocks) + 1)), "classifier"]
    chain = [explainer.engine.sessions.open(piece) for piece in pieces]
    answers = []
    for photo, label in labelled_photos():
        tensor = explainer.prepare(photo).tensor
        values = tensor
        for part in chain:
            values = part.run({part.spec.inputs[0].name: values})[0]
        if explainer.manifest.input.layout == "NHWC":
            tensor = tensor.transpose(0, 2, 3, 1)
        answers.append((values.argmax(), session.run(None, {slot.name: tensor})[0].argmax(), label))
    ours, bare, labels = np.array(answers).T
    return ours, bare, labels


if __name__ == "__main__":
    main()
