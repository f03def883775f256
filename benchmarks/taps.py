"""Where to tap inverted residuals: the wide expansion before the resolution drops, or the narrow bottleneck.

    python -m benchmarks.taps --photos 40

Explains photos of `imagenet_val` with the material's MobileNetV2 from two bundles that differ in their blocks
only, and prints paired differences (bottleneck - expansion) with bootstrap 95 % intervals.

- Drop: of the confidence when all but the map's top 15 % is hidden, percent.
- Insertion, deletion: area under the confidence while pixels are added to a blurred picture, or blackened, in
  the map's order.
- EBPG: the map's share inside the boxes, percent.

The target is the class that the model predicts; photos that it gets wrong are left out.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from sise_rt.export import export

import sise_rt
from benchmarks.material import IMAGENET, MODELS, PREPROCESS, SQUASHED, labelled_photos

NAME = "keras_mobilenetv2_nhwc"
# The residual streams' last tensors; the first and the last resolution have one choice in common.
BOTTLENECKS = ("expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu")
STEPS = 28  # of insertion and deletion


def read_boxes() -> dict[str, list[list[float]]]:
    """Boxes (x0, y0, x1, y1) in pixels of the 227 x 227 photos, by file."""
    boxes: dict[str, list[list[float]]] = {}
    with open(IMAGENET / "boxes.csv", newline="") as file:
        for row in csv.DictReader(file):
            boxes.setdefault(row["file"], []).append(
                [float(row[f"{k}_227"]) for k in ("x0", "y0", "x1", "y1")]
            )
    return boxes


def confidences(session: onnxruntime.InferenceSession, images: np.ndarray, target: int) -> np.ndarray:
    """The bare model's in the target, (N,), for images (N, 3, H, W)."""
    (slot,) = session.get_inputs()
    batches = [images[i : i + 8].transpose(0, 2, 3, 1) for i in range(0, len(images), 8)]
    return np.concatenate([session.run(None, {slot.name: batch})[0] for batch in batches])[:, target]


def metrics(
    session: onnxruntime.InferenceSession, tensor: np.ndarray, s: np.ndarray, target: int
) -> list[float]:
    """Drop, insertion and deletion of a map `s` (H, W) of an image (1, 3, H, W)."""
    image = tensor[0]
    order = np.argsort(-s.ravel(), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    rank = rank.reshape(s.shape)
    blurred = cv2.GaussianBlur(image.transpose(1, 2, 0), (11, 11), 5).transpose(2, 0, 1)
    counts = np.linspace(0, s.size, STEPS + 1)[:, None, None]
    shown = (rank[None] < counts)[:, None]
    hidden = image * (s > s.ravel()[order[int(0.15 * s.size)]])
    inserted, deleted = np.where(shown, image, blurred), np.where(shown, 0, image)
    images = np.concatenate([image[None], hidden[None], inserted, deleted]).astype(np.float32)
    full, masked, *rest = confidences(session, images, target)
    curves = np.reshape(rest, (2, -1))
    return [100 * max(0.0, full - masked) / full, *np.trapezoid(curves, dx=1 / STEPS, axis=1)]


def truth(boxes: list[list[float]], size: tuple[int, int]) -> np.ndarray:
    """The pixels (H, W) of the model's input that lie inside a box."""
    inside = np.zeros(size, bool)
    for box in boxes:
        x0, y0, x1, y1 = (round(value * size[0] / 227) for value in box)
        inside[y0:y1, x0:x1] = True
    return inside


def measure(explainers: Sequence[sise_rt.Explainer], count: int) -> Iterator[list[list[float]]]:
    """Of each photo the metrics, the masks and the seconds of every explainer."""
    session = onnxruntime.InferenceSession(MODELS / f"{NAME}.onnx", providers=["CPUExecutionProvider"])
    boxes, measured = read_boxes(), 0
    for path, label in labelled_photos():
        if measured == count:
            break
        tensor = explainers[0].prepare(path).tensor
        scores = session.run(None, {session.get_inputs()[0].name: tensor.transpose(0, 2, 3, 1)})[0][0]
        if int(scores.argmax()) != label or path.name not in boxes:
            continue
        inside = truth(boxes[path.name], tensor.shape[2:])
        row = []
        for explainer in explainers:
            start = time.perf_counter()
            explanation = explainer.explain(path, target=label)
            seconds = time.perf_counter() - start
            ebpg = 100 * explanation.map[inside].sum() / explanation.map.sum()
            row.append([*metrics(session, tensor, explanation.map, label), ebpg, explanation.masks, seconds])
        measured += 1
        print(path.name, *(" ".join(f"{v:.3f}" for v in part) for part in row), sep="  ", flush=True)
        yield row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=40)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        explainers = []
        for name, blocks in (("expansion", None), ("bottleneck", BOTTLENECKS)):
            bundle = Path(folder) / f"{name}.sise"
            report = export(
                MODELS / f"{NAME}.onnx", bundle, blocks=blocks, preprocess=PREPROCESS[NAME] | SQUASHED
            )
            explainers.append(sise_rt.load(report.path, "cpu"))
            print(name, *(f"{b.channels}@{b.height} {b.tensor}" for b in report.manifest.blocks))
        values = np.array(list(measure(explainers, options.photos)))  # (photos, 2, metrics)
    resampled = np.random.default_rng(0).integers(0, len(values), (10000, len(values)))
    differences = values[:, 1] - values[:, 0]
    low, high = np.percentile(differences[resampled].mean(axis=1), (2.5, 97.5), axis=0)
    print(
        f"\n{len(values)} photos\n{'':10} {'expansion':>10} {'bottleneck':>10}  difference and 95 % interval"
    )
    for i, name in enumerate(("drop", "insertion", "deletion", "EBPG", "masks", "seconds")):
        a, b = values[:, :, i].mean(axis=0)
        print(
            f"{name:10} {a:10.3f} {b:10.3f}  {differences[:, i].mean():+.3f} [{low[i]:+.3f}, {high[i]:+.3f}]"
        )


if __name__ == "__main__":
    main()
