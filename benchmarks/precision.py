"""What half precision does to explanations and to the size of a bundle.

    python benchmarks/precision.py --models resnet18 squeezenet_v1_0 keras_mobilenetv2_nhwc

Each model is exported in both precisions; the figures are those of the export's own gate on 20 photos of
`imagenet_val`, evenly drawn. Of the explanations by float16 scores and by float32 scores: Pearson's
correlation (mean and lowest), and the Jaccard index of the kept maps; then the largest difference of a
confidence, and the largest value inside the network (float16 ends at 65504).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from models import IMAGENET, SETTINGS
from reference import MATERIAL, NORMAL
from sise_rt.export import Report, export

from sise_rt.errors import ParityError

MODELS = ["resnet18", "squeezenet_v1_0", "keras_mobilenetv2_nhwc"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    arguments = parser.parse_args()
    print("| model | correlation | lowest | Jaccard | confidence | largest value | MB fp32 | MB fp16 |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.models:
        with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
            print(f"| {name} | {row(name, Path(folder))} |", flush=True)


def row(name: str, folder: Path) -> str:
    """One model's cells, or why it is refused."""
    source, settings = MATERIAL / "models" / f"{name}.onnx", SETTINGS.get(name, NORMAL)
    if not source.is_file():
        source = folder / f"{name}.onnx"
        command = [MATERIAL / "build_resnet_onnx.py", MATERIAL / "models" / f"{name}.npz", source, name]
        subprocess.run([sys.executable, *map(str, command)], check=True)
    try:
        full = _exported(source, folder / "fp32.sise", settings)
        half = _exported(
            source, folder / "fp16.sise", settings, precision="fp16", gate_images=IMAGENET / "data"
        )
    except ParityError as error:
        return str(error)
    gate = half.manifest.parity.gate
    keys = (("correlation", ".5f"), ("lowest_correlation", ".5f"), ("jaccard", ".3f"), ("confidence", ".4f"))
    cells = [*(format(getattr(gate, key), form) for key, form in keys), f"{gate.peak:.0f}"]
    return " | ".join([*cells, *(f"{_megabytes(report.path):.1f}" for report in (full, half))])


def _exported(source: Path, bundle: Path, settings: dict[str, Any], **options: Any) -> Report:
    preprocess = settings | {"crop_mode": "squash", "crop_pct": 1.0}
    return export(source, bundle, preprocess=preprocess, input_size=(224, 224), **options)


def _megabytes(bundle: Path) -> float:
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    main()
