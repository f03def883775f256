"""What timings share: the networks, their bare models, and taking turns with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

from benchmarks.material import IMAGES, PREPROCESS, onnx_file
from sise_rt.running.sessions import available_threads

# With the threshold mu that keeps a round of the largest network below a minute.
NETWORKS = {"resnet18": 0.0, "resnet50": 0.5, "squeezenet_v1_0": 0.0, "keras_mobilenetv2_nhwc": 0.0}


def spread(values: list[float], form: str = ".2f") -> str:
    """Median (smallest to largest)."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def exported(name: str, folder: Path) -> tuple[Path, Path]:
    """A model of the material as an ONNX file, and its bundle; made once."""
    from sise_rt.export import export

    source, bundle = onnx_file(name, folder), folder / f"{name}.sise"
    if not bundle.exists():
        export(
            source,
            bundle,
            activation=None if "keras" in name else "softmax",
            input_size=(224, 224) if name.startswith("resnet") else None,
            preprocess=PREPROCESS[name],
        )
    return source, bundle


class Between:
    """A progress callback that times the bare model between the batches.

    Args:
        run: runs the bare model on one batch and gives the seconds an image.
        images: how many a batch has.

    Attributes:
        seconds: per image, of each bare pass.
        spent: seconds in the callback.
    """

    def __init__(self, run: Callable[[], float], images: int):
        self.seconds: list[float] = []
        self.spent, self._run, self._images, self._seen = 0.0, run, images, 0

    def restart(self) -> None:
        """Count from zero, as the next explanation does."""
        self._seen = 0

    def __call__(self, scored: int, total: int) -> None:
        """Run one bare pass for every two batches of its size that were scored."""
        if scored - self._seen < 2 * self._images and scored < total:
            return
        self._seen = scored
        start = time.perf_counter()
        self.seconds.append(self._run())
        self.spent += time.perf_counter() - start


def bare(source: Path) -> Callable[[int], float]:
    """A function that runs the source once and gives the seconds an image, by the number of images."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_threads()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    (slot,) = session.get_inputs()
    extents = [extent if isinstance(extent, int) else 224 for extent in slot.shape[1:]]

    def run(images: int) -> float:
        batch = np.random.default_rng(0).standard_normal((images, *extents)).astype(np.float32)
        start = time.perf_counter()
        session.run(None, {slot.name: batch})
        return (time.perf_counter() - start) / images

    return run


def photos_over_again(count: int) -> list[Path]:
    """Photos of the material's folder `photos`, over again where there are too few."""
    there = sorted((IMAGES / "photos").iterdir())
    return [there[i % len(there)] for i in range(count)]
