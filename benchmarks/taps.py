"""Where to tap inverted residuals: the wide expansion before the resolution drops, or the narrow bottleneck.

    python benchmarks/taps.py --photos 40

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
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from reference import MATERIAL
from sise_rt.export import export

import sise_rt
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import load_image

MODEL = MATERIAL / "models" / "keras_mobilenetv2_nhwc.onnx"
PHOTOS = MATERIAL / "images" / "imagenet_val"
# The residual streams' last tensors; the first and the last resolution have one choice in common.
BOTTLENECKS = ("expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu")
STEPS = 28  # of insertion and deletion


def read_boxes() -> dict[str, list[list[float]]]:
    """Boxes (x0, y0, x1, y1) in pixels of the 227 x 227 photos, by file."""
    boxes: dict[str, list[list[float]]] = {}
    with open(PHOTOS / "boxes.csv", newline="") as file:
        for row in csv.DictReader(file):
            boxes.setdefault(row["file"], []).append(
                [float(row[f"{k}_227"]) for k in ("x0", "y0", "x1", "y1")]
            )
    return boxes


def confidences(session: onnxruntime.InferenceSession, images: np.ndarray, target: int) -> np.ndarray:
    """Of the bare model, for images (N, 3, H, W)."""
    (slot,) = session.get_inputs()
    batches = [images[i : i + 8].transpose(0, 2, 3, 1) for i in range(0, len(images), 8)]
    return np.concatenate([session.run(None, {slot.name: batch})[0] for batch in batches])[:, target]


def metrics(
    session: onnxruntime.InferenceSession, tensor: np.ndarray, s: np.ndarray, target: int
) -> list[float]:
    """Drop, insertion and deletion of a map (H, W)."""
    image = tensor[0]
    order = np.argsort(-s.ravel(), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    rank = rank.reshape(s.shape)
    blurred = cv2.GaussianBlur(image.transpose(1, 2, 0), (11, 11), 5).transpose(2, 0, 1)
    counts = np.linspace(0, s.size, STEPS + 1)[:, None, None]
    shown = (rank[None] < counts)[:, None]
    hidden = image * (s > s.ravel()[order[int(0.15 * s.size)]])
    found = confidences(
        session,
        np.concatenate(
            [image[None], hidden[None], np.where(shown, image, blurred), np.where(shown, 0, image)]
        ).astype(np.float32),
        target,
    )
    full, masked, curves = found[0], found[1], found[2:].reshape(2, -1)
    return [100 * max(0.0, full - masked) / full, *np.trapezoid(curves, dx=1 / STEPS, axis=1)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=40)
    arguments = parser.parse_args()
    options = {
        "mean": (127.5,) * 3,
        "std": (127.5,) * 3,
        "scale": 1.0,
        "crop_mode": "squash",
        "crop_pct": 1.0,
    }
    names = ("expansion", "bottleneck")
    with open(PHOTOS / "labels.csv", newline="") as file:
        labelled = [(row["file"], int(row["class_index"])) for row in csv.DictReader(file)]
    boxes = read_boxes()
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        explainers = []
        for name, blocks in zip(names, (None, BOTTLENECKS), strict=True):
            report = export(MODEL, Path(folder) / f"{name}.sise", blocks=blocks, preprocess=options)
            explainers.append(sise_rt.load(report.path, "cpu"))
            print(name, *(f"{b.channels}@{b.height} {b.tensor}" for b in report.manifest.blocks))
        rows: list[list[list[float]]] = []
        for file, label in labelled:
            if len(rows) == arguments.photos:
                break
            spec = explainers[0].manifest.preprocess
            tensor, _ = preprocess(load_image(PHOTOS / "data" / file), spec)
            scores = session.run(None, {session.get_inputs()[0].name: tensor.transpose(0, 2, 3, 1)})[0][0]
            if int(scores.argmax()) != label or file not in boxes:
                continue
            inside = np.zeros(tensor.shape[2:], bool)
            for x0, y0, x1, y1 in boxes[file]:
                x0, y0, x1, y1 = (round(v * inside.shape[0] / 227) for v in (x0, y0, x1, y1))
                inside[y0:y1, x0:x1] = True
            row = []
            for explainer in explainers:
                start = time.perf_counter()
                found = explainer.explain(PHOTOS / "data" / file, target=label)
                seconds = time.perf_counter() - start
                ebpg = 100 * found.map[inside].sum() / found.map.sum()
                row.append([*metrics(session, tensor, found.map, label), ebpg, found.masks, seconds])
            rows.append(row)
            print(file, *(" ".join(f"{v:.3f}" for v in part) for part in row), sep="  ", flush=True)
    values = np.array(rows)  # (photos, 2, metrics)
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
