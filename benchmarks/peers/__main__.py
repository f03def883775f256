"""How fast sise-rt explains beside other packages: same network, weights, photos, cores.

    python benchmarks/peers.py --rounds 5 --photos 2 --model resnet18 -o peers

Every peer has a virtual environment of its own (FOLDER/env-PEER, made once; `pip` finds torch's CPU wheel by
its own settings), and every row a process of its own. All are told to explain the same photos in turn, so
that whatever else the machine does weighs on all of them; who waits, waits idle. The bare network in ONNX
Runtime runs for a second between any two turns. A peer that cannot be installed or run is a line that says
why. Settings that are not a peer's own are in the docstrings of `benchmarks/peers/by_*.py`.

Every turn is in FOLDER/measured.json; `python benchmarks/peers/table.py FOLDER` prints the table again:

- s: seconds from a picture's pixels in memory to its map, median over rounds and photos (min to max);
- passes: of the network forwards, and backwards, counted where they happen;
- ms/pass: seconds by forward passes; x bare: by that of the bare network before and after the turn, median;
- same: lowest correlation of the maps with those of sise-rt's own method, where both compute the same;
- MB: peak memory of the process; ready, first: seconds until it can explain, and of the first explanation,
  which is in no other column;
- installed: MB on disk of the environment's packages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from reference import MATERIAL, NORMAL, photos

import sise_rt
from sise_rt.running.sessions import available_threads

HERE, REPOSITORY = Path(__file__).parent, Path(__file__).parents[1]
PINNED = ["-c", str(REPOSITORY / "constraints.txt")]
PACKAGES = {
    "sise-rt": [f"{REPOSITORY}[cpu]"],
    "torch-eager": ["torch", "torchvision", "numpy", *PINNED],
    "grad-cam": ["grad-cam", "torch", "torchvision", *PINNED],
    "captum": ["captum", "torch", "torchvision", *PINNED],
    "dianna": ["dianna", "torch", *PINNED],
    "openvino-xai": ["openvino-xai"],  # it wants an older numpy
}
SETTLE = 0.5  # seconds; threads that have just worked spin for a while
NAMED = {
    "sise-rt",
    "torch",
    "grad-cam",
    "captum",
    "dianna",
    "openvino-xai",
    "openvino",
    "onnxruntime",
    "numpy",
}


@dataclass(frozen=True)
class Row:
    """A line of the table: one method of one peer, and sise-rt's method that gives the same map."""

    peer: str
    method: str
    twin: str = ""


BARE = Row("onnxruntime", "bare")
ROWS = [
    Row("sise-rt", "sise"),
    Row("sise-rt", "sise:mu=0.3"),
    Row("sise-rt", "sise:budget=0.1"),
    Row("torch-eager", "sise", twin="sise"),
    Row("sise-rt", "score-cam"),
    Row("grad-cam", "ScoreCAM"),
    Row("sise-rt", "grad-cam"),
    Row("grad-cam", "GradCAM", twin="grad-cam"),
    Row("sise-rt", "integrated-gradients"),
    Row("captum", "integrated-gradients", twin="integrated-gradients"),
    Row("captum", "occlusion"),
    Row("sise-rt", "rise:masks=1000"),
    Row("dianna", "RISE"),
    Row("openvino-xai", "RISE"),
    Row("openvino-xai", "AISE"),
]


class PeerError(Exception):
    """A peer cannot be installed or run."""


class Worker:
    """A row's process.

    Attributes:
        ready: seconds from its start until it could explain.
    """

    def __init__(self, row: Row, folder: Path):
        self.row, self.folder = row, folder
        name = f"{row.peer}-{row.method}".replace(":", "-")
        self.log, self.maps = folder / f"{name}.log", folder / f"{name}-map"
        module, python = f"by_{row.peer.replace('-', '_')}", environment(row, folder) / "bin" / "python"
        threads = str(available_threads())
        variables = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": threads, "PYTHONDONTWRITEBYTECODE": "1"}
        start = time.perf_counter()
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, HERE / "peers" / "serve.py", module, row.method, folder / "settings.json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | variables,
            )
        self._read()
        self.ready = time.perf_counter() - start

    def explain(self, photo: int, target: int) -> dict[str, Any]:
        """One explanation, as `peers/serve.py` answers it; raises PeerError."""
        request = {"photo": str(self.folder / f"photo-{photo}.npy"), "target": target}
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps(request | {"map": f"{self.maps}-{photo}.npy"}) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise PeerError(self._reason()) from None
        return self._read()

    def cpu_seconds(self) -> float:
        """That the process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(self._reason())
        return json.loads(line)

    def _reason(self) -> str:
        code = self.process.wait()
        return last_line(self.log.read_text()) or f"it ended with status {code}"


def environment(row: Row, folder: Path) -> Path:
    """Where a row's packages are."""
    return folder / f"env-{'sise-rt' if row == BARE else row.peer}"


def install(peer: str, folder: Path) -> None:
    """Make a peer's environment, unless it is there; sise-rt is installed anew each time."""
    target = folder / f"env-{peer}"
    done = target / "installed"
    if peer != "sise-rt" and done.exists():
        return
    python = ["--python", str(target / "bin" / "python")]
    make = [sys.executable, "-m", "venv", "--without-pip", str(target)]
    fill = [sys.executable, "-m", "pip", *python, "install", "--upgrade", "-q", *PACKAGES[peer]]
    for command in [fill] if target.exists() else [make, fill]:
        print(*command, file=sys.stderr, flush=True)
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            raise PeerError(f"not installed: {last_line(ended.stderr)}")
    done.touch()


def installed(peer: str, folder: Path) -> dict[str, Any]:
    """The size of a peer's packages on disk, and the versions of those that matter."""
    (packages,) = (folder / f"env-{peer}").glob("lib/python*/site-packages")
    size = subprocess.run(["du", "-sm", packages], capture_output=True, text=True, check=True).stdout
    pip = [sys.executable, "-m", "pip", "list", "--format=json", "--path", str(packages)]
    found = json.loads(subprocess.run(pip, capture_output=True, text=True, check=True).stdout)
    named = {item["name"].lower().replace("_", "-"): item["version"] for item in found}
    versions = ", ".join(f"{name} {version}" for name, version in sorted(named.items()) if name in NAMED)
    return {"mb": int(size.split()[0]), "versions": versions}


def last_line(text: str) -> str:
    """Of what a program wrote, where it says what was wrong."""
    return (text.strip().splitlines() or [""])[-1]


def prepare(folder: Path, model: str, count: int) -> list[int]:
    """Write the model, the bundle, the photos' pixels and the settings; the class of each photo."""
    from sise_rt.export import export

    source = folder / f"{model}.onnx"
    command = [MATERIAL / "build_resnet_onnx.py", MATERIAL / "models" / f"{model}.npz", source, model]
    subprocess.run([sys.executable, *map(str, command)], check=True)
    shutil.rmtree(folder / f"{model}.sise", ignore_errors=True)
    exact = NORMAL | {"crop_pct": 1.0}  # the pixels that everyone gets are the whole input
    options = {"activation": "softmax", "input_size": (224, 224), "preprocess": exact}
    bundle = export(source, folder / f"{model}.sise", **options).path
    explainer = sise_rt.load(bundle, "cpu")
    targets = []
    for i, path in enumerate(photos(count)):
        pixels = np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), (224, 224)))
        np.save(folder / f"photo-{i}.npy", pixels)
        targets.append(int(explainer.confidences(pixels).argmax()))
    settings = {"model": model, "onnx": source, "bundle": bundle, "threads": available_threads()}
    (folder / "settings.json").write_text(json.dumps(settings, default=str))
    return targets


def measure(
    workers: list[Worker], bare: Worker, targets: list[int], failures: dict[Row, str]
) -> list[dict[str, Any]]:
    """The turns of one round: each the answer of `peers/serve.py` and what `peers/table.py` needs beside it.

    A worker that fails has its reason put into `failures`, and is not asked again.
    """

    def bare_pass() -> float:
        time.sleep(SETTLE)
        answer = bare.explain(0, targets[0])
        return answer["seconds"] / answer["forward"]

    turns, before = [], bare_pass()
    for photo, target in enumerate(targets):
        for worker in [w for w in workers if w.row not in failures]:
            others = [w for w in [bare, *workers] if w is not worker and w.row not in failures]
            time.sleep(SETTLE)
            used = sum(other.cpu_seconds() for other in others)
            try:
                answer = worker.explain(photo, target)
            except PeerError as error:
                failures[worker.row] = str(error)
                continue
            disturbed = sum(other.cpu_seconds() for other in others) - used
            after = bare_pass()
            also = {"photo": photo, "map": f"{worker.maps}-{photo}.npy", "disturbed": disturbed}
            turns.append(asdict(worker.row) | also | answer | {"bare": (before + after) / 2})
            print(f"{worker.row.peer} {worker.row.method}: {answer['seconds']:.2f} s", file=sys.stderr)
            before = after
    return turns


def main() -> None:
    """Install, measure, and have the table printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--model", choices=("resnet18", "resnet50"), default="resnet18")
    parser.add_argument("--peers", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    targets = prepare(folder, arguments.model, arguments.photos)
    rows = [row for row in ROWS if row.peer in arguments.peers]
    failures: dict[Row, str] = {}
    environments = {}
    for peer in dict.fromkeys(["sise-rt", *arguments.peers]):  # the bare network needs the first
        try:
            install(peer, folder)
            environments[peer] = installed(peer, folder)
        except PeerError as error:
            if peer == "sise-rt":
                raise SystemExit(f"sise-rt: {error}") from None
            failures |= {row: str(error) for row in rows if row.peer == peer}
    bare, workers, starts = Worker(BARE, folder), [], []
    for row in [row for row in rows if row not in failures]:
        try:
            workers.append(Worker(row, folder))
            first = workers[-1].explain(0, targets[0])["seconds"]
            starts.append(asdict(row) | {"ready": workers[-1].ready, "first": first})
        except PeerError as error:
            failures[row] = str(error)
    about = {"model": arguments.model, "threads": available_threads(), "environments": environments}
    turns: list[dict[str, Any]] = []
    for done in range(1, arguments.rounds + 1):
        turns += measure(workers, bare, targets, failures)
        failed = [asdict(row) | {"reason": reason} for row, reason in failures.items()]
        measured = about | {"rounds": done, "rows": starts, "failed": failed, "turns": turns}
        (folder / "measured.json").write_text(json.dumps(measured, indent=1))
    for worker in [bare, *workers]:
        worker.stop()
    subprocess.run([sys.executable, HERE / "peers" / "table.py", folder], check=True)


if __name__ == "__main__":
    main()
