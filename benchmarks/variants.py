"""How benchmarks compare variants of SISE: on photos whose class is predicted right, by every metric."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

import sise_rt
from benchmarks.material import IMAGENET
from sise_rt.bundle import sha256
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.evaluation.measure import TRUTH_METRICS
from sise_rt.evaluation.store import append, open_report
from sise_rt.evaluation.truth import draw, to_input
from sise_rt.metrics.check import check_map, confidence_in
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.running.engine import Engine
from sise_rt.running.logits import confidences

BATCH = 8  # pictures at a time that a metric has the model look at


class Variant(NamedTuple):
    """What a variant of SISE makes of a picture.

    Attributes:
        name: the variant's.
        map: (H, W).
        passes: forward passes that it takes.
        likeness: to the first variant, by further metrics of the row.
    """

    name: str
    map: np.ndarray
    passes: int
    likeness: Mapping[str, float] = MappingProxyType({})


Variants = Callable[[Engine, Picture, int, int], Iterator[Variant]]
"""From an engine, a picture, a target and a seed to the variants."""


def parse(description: str, limit: int, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options of a benchmark that compares variants, by default of the process's command line."""
    return parser(description, limit).parse_args(arguments)


def parser(description: str, limit: int) -> argparse.ArgumentParser:
    """What reads them.

    Args:
        description: the benchmark's docstring.
        limit: how many photos it takes by default.
    """
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("bundle", type=Path)
    options.add_argument("-o", "--out", type=Path, required=True)
    options.add_argument("--limit", type=int, default=limit, help="photos that are predicted right")
    options.add_argument("--data", type=Path, default=IMAGENET)
    options.add_argument("--format", default="csv-boxes")
    options.add_argument("--only", type=Path, help="a file that lists the pictures to take")
    return options


def measure(name: str, options: argparse.Namespace, variants: Variants) -> None:
    """Append a line of rows for every photo that is not in the report yet."""
    explainer = sise_rt.load(options.bundle)
    engine, manifest = explainer.engine, explainer.manifest
    done = open_report(options.out, {"benchmark": name, "bundle": sha256(options.bundle / "manifest.json")})
    only = options.only.read_text("utf-8").splitlines() if options.only else None
    right = 0
    for sample in read_dataset(options.data, options.format, only=only).samples:
        if right == options.limit:
            break
        picture = explainer.prepare(options.data / sample.image)
        trust = confidences(engine.forward(picture.tensor), manifest.activation)[0]
        target = int(trust.argmax())
        label = next((c for c in sample.present if c in (str(target), manifest.label(target))), None)
        truth = None if label is None else sample.present[label]
        if label is None or truth is None:
            continue
        drawn, _ = draw(truth, picture.pixels.shape[:2], options.data, sample.image, MAX_PIXELS)
        if drawn is None or not (marked := to_input(drawn, picture.placement)).any():
            continue  # there is nothing to compare with
        right += 1
        if sample.image in done:
            continue
        confidence = confidence_in(engine, target)
        rows = []
        for variant in variants(engine, picture, target, right):
            checked = check_map(variant.map, picture.tensor[0], trust[target], confidence, batch=BATCH)
            metrics = {key: metric(variant.map, marked) for key, metric in TRUTH_METRICS.items()}
            metrics |= checked.values | variant.likeness
            rows.append({
                "class": label, "target": target, "label": manifest.label(target), "method": variant.name,
                "annotated": True, "predicted": True, "difficult": truth.difficult,
                "confidence": float(trust[target]), "truth_area": float(marked.mean()), "kept": checked.kept,
                "passes": variant.passes, "seconds": None, "curves": {}, "note": None,
                "metrics": {k: None if math.isnan(v) else float(v) for k, v in metrics.items()},
            })  # fmt: skip
        append(options.out, {"image": sample.image, "rows": rows, "problems": []})
        print(f"{right} of {options.limit}", flush=True)
