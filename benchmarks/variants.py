"""What benchmarks of SISE's variants share: photos whose class is right, every metric, one line a photo."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from reference import MATERIAL

import sise_rt
from sise_rt.bundle import sha256
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.evaluation.measure import TRUTH_METRICS
from sise_rt.evaluation.store import append, open_report
from sise_rt.evaluation.truth import draw, to_input
from sise_rt.metrics.check import check_map, confidence_in
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import MAX_PIXELS, load_image
from sise_rt.running.engine import Engine
from sise_rt.running.logits import confidences

DATA = MATERIAL / "images" / "imagenet_val"
BATCH = 8

# Name, map (H, W) and forward passes of each variant of SISE for a picture (1, C, H, W) and a target.
Variants = Callable[[Engine, np.ndarray, int, int], Iterator[tuple[str, np.ndarray, int]]]


def parsed(description: str, limit: int) -> argparse.Namespace:
    """The arguments of such a benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=limit, help="photos that are predicted right")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--format", default="csv-boxes")
    parser.add_argument("--only", type=Path, help="a file that lists the pictures to take")
    return parser.parse_args()


def measure(name: str, arguments: argparse.Namespace, variants: Variants) -> None:
    """Append a line of rows for every photo that is not in the report yet."""
    explainer = sise_rt.load(arguments.bundle)
    engine, manifest = explainer.engine, explainer.manifest
    done = open_report(
        arguments.out, {"benchmark": name, "bundle": sha256(arguments.bundle / "manifest.json")}
    )
    only = arguments.only.read_text("utf-8").splitlines() if arguments.only else None
    right = 0
    for sample in read_dataset(arguments.data, arguments.format, only=only).samples:
        if right == arguments.limit:
            break
        picture = load_image(arguments.data / sample.image, max_pixels=MAX_PIXELS)
        image, placement = preprocess(picture, manifest.preprocess)
        trust = confidences(engine.forward(image), manifest.activation)[0]
        target = int(trust.argmax())
        label = next((c for c in sample.present if c in (str(target), manifest.label(target))), None)
        truth = None if label is None else sample.present[label]
        if label is None or truth is None:
            continue
        drawn, _ = draw(truth, picture.shape[:2], arguments.data, sample.image, MAX_PIXELS)
        if drawn is None or not (marked := to_input(drawn, placement)).any():
            continue  # there is nothing to compare with
        right += 1
        if sample.image in done:
            continue

        confidence = confidence_in(engine, target)
        rows = []
        for variant, map_, passes in variants(engine, image, target, right):
            borne = check_map(map_, image[0], trust[target], confidence, batch=BATCH)
            found = {key: metric(map_, marked) for key, metric in TRUTH_METRICS.items()} | borne.values
            rows.append({
                "class": label, "target": target, "label": manifest.label(target), "method": variant,
                "annotated": True, "predicted": True, "difficult": truth.difficult,
                "confidence": float(trust[target]), "truth_area": float(marked.mean()), "kept": borne.kept,
                "passes": passes, "seconds": None, "curves": {}, "note": None,
                "metrics": {k: None if math.isnan(v) else float(v) for k, v in found.items()},
            })  # fmt: skip
        append(arguments.out, {"image": sample.image, "rows": rows, "problems": []})
        print(f"{right} of {arguments.limit}", flush=True)
