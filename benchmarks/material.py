"""Real photos and networks, which this repository does not hold: where they are, and how they are prepared.

The environment variable SISE_RT_MATERIAL names their folder.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MATERIAL = Path(os.environ.get("SISE_RT_MATERIAL", Path(__file__).parents[2] / "shared" / "material"))
MODELS, IMAGES = MATERIAL / "models", MATERIAL / "images"
IMAGENET = IMAGES / "imagenet_val"

IMAGENET_NORM = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
# What a network does to a picture before its first layer.
PREPROCESS: dict[str, dict[str, Any]] = {
    "resnet18": IMAGENET_NORM,
    "resnet50": IMAGENET_NORM,
    "squeezenet_v1_0": {"mean": (104, 117, 123), "std": (1, 1, 1), "scale": 1.0, "color": "BGR"},
    "keras_mobilenetv2_nhwc": {"mean": (127.5,) * 3, "std": (127.5,) * 3, "scale": 1.0},
    "cifar_resnet20": IMAGENET_NORM,
}
SQUASHED = {"crop_mode": "squash", "crop_pct": 1.0}


def photos(count: int) -> list[Path]:
    """The first `count` real photos, at most as many as there are."""
    paths = [p for folder in ("photos", "imagenet_photos") for p in sorted((IMAGES / folder).iterdir())]
    return paths[:count]


def labelled_photos() -> list[tuple[Path, int]]:
    """The photos of `imagenet_val`, each with the index of its class."""
    with open(IMAGENET / "labels.csv", newline="") as file:
        return [(IMAGENET / "data" / row["file"], int(row["class_index"])) for row in csv.DictReader(file)]


def onnx_file(name: str, folder: Path) -> Path:
    """A network as an ONNX file: the material's own, or made of a ResNet's weights in `folder`, once."""
    own, made = MODELS / f"{name}.onnx", folder / f"{name}.onnx"
    if own.exists():
        return own
    if not made.exists():
        command = [MATERIAL / "build_resnet_onnx.py", MODELS / f"{name}.npz", made, name]
        subprocess.run([sys.executable, *map(str, command)], check=True)
    return made
