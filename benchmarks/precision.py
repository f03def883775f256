"""What half precision does to explanations and to the size of a bundle.

    python -m benchmarks.precision --models resnet18 squeezenet_v1_0 keras_mobilenetv2_nhwc

Each model is exported in both precisions; the figures are those of the export's own gate on 20 photos of
`imagenet_val`, evenly drawn. Of the explanations by float16 scores and by float32 scores: Pearson's
correlation (mean and lowest), and the Jaccard index of the kept maps; then the largest difference of a
confidence, and the largest value inside the network (float16 ends at 65504).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sise_rt.export import Report, export

from benchmarks.material import IMAGENET, PREPROCESS, SQUASHED, onnx_file
from sise_rt.errors import ParityError

MODELS = ["resnet18", "squeezenet_v1_0", "keras_mobilenetv2_nhwc"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    options = parser.parse_args(arguments)
    print("| model | correlation | lowest | Jaccard | confidence | largest value | MB fp32 | MB fp16 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
            print(f"| {name} | {row(name, Path(folder))} |", flush=True)


def row(name: str, folder: Path) -> str:
    """One model's cells, or why it is refused."""
    try:
        full = _exported(name, folder)
        half = _exported(name, folder, precision="fp16", gate_images=IMAGENET / "data")
    except ParityError as error:
        return str(error)
    gate = half.manifest.parity.gate
    keys = (("correlation", ".5f"), ("lowest_correlation", ".5f"), ("jaccard", ".3f"), ("confidence", ".4f"))
    cells = [*(format(getattr(gate, key), form) for key, form in keys), f"{gate.peak:.0f}"]
    return " | ".join([*cells, *(f"{_megabytes(report.path):.1f}" for report in (full, half))])


def _exported(name: str, folder: Path, precision: str = "fp32", **options: Any) -> Report:
    return export(
        onnx_file(name, folder),
        folder / f"{precision}.sise",
        preprocess=PREPROCESS[name] | SQUASHED,
        input_size=(224, 224),
        precision=precision,
        **options,
    )


def _megabytes(bundle: Path) -> float:
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
