"""What an explanation costs over the forward passes that it cannot do without.

    python benchmarks/overhead.py --models resnet18 resnet50 --mu 0.5

The bare model is the source in ONNX Runtime, (N, 3, 224, 224) to logits, at its fastest batch size. It is
timed between the batches of the explanation, so that whatever else the machine does weighs on both. Printed:

    ratio = seconds of explain / (masks scored x seconds per image of the bare model),

over all rounds, without and with the calibration of the batch size that only the first call of a process pays
for. The peak of memory is that of a process of its own, which explains once.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import onnxruntime
from reference import MATERIAL, NORMAL, photos

import sise_rt
from sise_rt import engine as engine_module
from sise_rt.sessions import available_threads

BATCHES = (1, 2, 4, 8, 16)
# Not getrusage: its peak starts at that of the process which started this one.
EXPLAIN = """
import sys, sise_rt
sise_rt.load(sys.argv[1], "cpu").explain(sys.argv[2], mu=float(sys.argv[3]))
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--mu", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print("model     masks  bare ms (batch)  explain s (batch)  calibration s  ratio  first call  peak MB")
    for name in arguments.models:
        with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
            print(row(name, Path(folder), arguments.mu, arguments.rounds), flush=True)


def row(name: str, folder: Path, mu: float, rounds: int) -> str:
    """One model's line of the table."""
    source, bundle = build(name, folder)
    session = bare_session(source)
    explainer = sise_rt.load(bundle, "cpu")
    batch = min(BATCHES, key=lambda size: min(bare_seconds(session, size) for _ in range(4)))
    photo = photos(3)[2]
    peak = peak_megabytes(bundle, photo, mu)
    bare: list[float] = []
    explained = calibrated = 0.0
    masks = 0
    for _ in range(rounds):
        engine_module._best_batches.clear()  # every call calibrates, as the first of a process does
        between = Between(session, batch)
        start = time.perf_counter()
        explanation = explainer.explain(photo, mu=mu, progress=between)
        explained += time.perf_counter() - start - between.spent - explanation.seconds["calibration"]
        calibrated += explanation.seconds["calibration"]
        masks += explanation.masks
        bare += between.seconds
    ideal = masks * mean(bare)
    return (
        f"{name:9} {explanation.masks:5d}  {1e3 * mean(bare):7.1f} ({batch:2d})     "
        f"{explained / rounds:9.2f} ({explanation.batch:2d})  {calibrated / rounds:13.2f}  "
        f"{explained / ideal:5.2f}  {(explained + calibrated) / ideal:10.2f}  {peak:7.0f}"
    )


class Between:
    """A progress callback that times the bare model between the batches.

    Attributes:
        seconds: per image, of each pass.
        spent: seconds in the callback.
    """

    def __init__(self, session: Any, batch: int):
        self.seconds: list[float] = []
        self.spent, self._session, self._seen = 0.0, session, 0
        self._images = np.random.default_rng(0).standard_normal((batch, 3, 224, 224)).astype(np.float32)

    def __call__(self, scored: int, total: int) -> None:
        """Run one bare pass for every two batches of its size that were scored."""
        if scored - self._seen < 2 * len(self._images) and scored < total:
            return
        self._seen = scored
        start = time.perf_counter()
        self._session.run(None, {"input": self._images})
        taken = time.perf_counter() - start
        self.seconds.append(taken / len(self._images))
        self.spent += taken


def build(name: str, folder: Path) -> tuple[Path, Path]:
    """The model as an ONNX file, and its bundle."""
    from sise_rt.export import export

    source = folder / f"{name}.onnx"
    command = [MATERIAL / "build_resnet_onnx.py", MATERIAL / "models" / f"{name}.npz", source, name]
    subprocess.run([sys.executable, *map(str, command)], check=True)
    report = export(
        source,
        folder / f"{name}.sise",
        activation="softmax",
        input_size=(224, 224),
        preprocess=NORMAL,
    )
    return source, report.path


def bare_session(source: Path) -> Any:
    """The source model in ONNX Runtime, with as many threads as the explainer takes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_threads()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def bare_seconds(session: Any, batch: int) -> float:
    """Seconds per image of one pass."""
    images = np.zeros((batch, 3, 224, 224), np.float32)
    start = time.perf_counter()
    session.run(None, {"input": images})
    return (time.perf_counter() - start) / batch


def peak_megabytes(bundle: Path, photo: Path, mu: float) -> float:
    """The most memory that a process held which explains a photo and does nothing else."""
    command = [sys.executable, "-c", EXPLAIN, bundle, photo, str(mu)]
    peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # in kB, on Linux
    return int(peak) * 1024 / 1e6


if __name__ == "__main__":
    main()
