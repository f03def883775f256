"""How fast sise-rt explains beside other packages: same network, weights, photos, cores.

    python -m benchmarks.peers --rounds 5 --photos 2 --model resnet18 -o peers

Every peer has a virtual environment of its own (FOLDER/env-PEER, made once; `pip` finds torch's CPU wheel by
its own settings), and every row a process of its own. All are told to explain the same photos in turn, so
that whatever else the machine does weighs on all of them; who waits, waits idle. The bare network in ONNX
Runtime runs for a second between any two turns. A peer that cannot be installed or run is a line that says
why. Settings that are not a peer's own are in the docstrings of `benchmarks/peers/scripts/by_*.py`.

Every turn is in FOLDER/measured.json; `python -m benchmarks.peers.table FOLDER` prints the table again:

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
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

import sise_rt
from benchmarks.material import IMAGENET_NORM, onnx_file, photos
from benchmarks.peers import table
from benchmarks.peers.environments import PACKAGES, PeerError, install, installed
from benchmarks.peers.workers import BARE, ROWS, Row, Worker
from sise_rt.running.sessions import available_threads

SETTLE = 0.5  # seconds; threads that have just worked spin for a while


def prepare(folder: Path, model: str, count: int) -> list[int]:
    """Write the model, the bundle, the photos' pixels and the settings; the class of each photo."""
    from sise_rt.export import export

    source = onnx_file(model, folder)
    shutil.rmtree(folder / f"{model}.sise", ignore_errors=True)
    exact = IMAGENET_NORM | {"crop_pct": 1.0}  # the pixels that everyone gets are the whole input
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
    """The turns of one round: each the answer of `scripts/serve.py` and what `table.py` needs beside it.

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


def install_all(rows: list[Row], folder: Path, failures: dict[Row, str]) -> dict[str, dict[str, Any]]:
    """Install the rows' peers, and sise-rt for the bare network; what is installed for each.

    The rows of a peer that cannot be installed have the reason put into `failures`.
    """
    environments = {}
    for peer in dict.fromkeys(["sise-rt", *(row.peer for row in rows)]):
        try:
            install(peer, folder)
            environments[peer] = installed(peer, folder)
        except PeerError as error:
            if peer == "sise-rt":
                raise SystemExit(f"sise-rt: {error}") from None
            failures |= {row: str(error) for row in rows if row.peer == peer}
    return environments


def main(arguments: Sequence[str] | None = None) -> None:
    """Install, measure, and have the table printed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--photos", type=int, default=2)
    parser.add_argument("--model", choices=("resnet18", "resnet50"), default="resnet18")
    parser.add_argument("--peers", nargs="+", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    targets = prepare(folder, options.model, options.photos)
    failures: dict[Row, str] = {}
    rows = [row for row in ROWS if row.peer in options.peers]
    environments = install_all(rows, folder, failures)
    bare, workers, starts = Worker(BARE, folder), [], []
    for row in [row for row in rows if row not in failures]:
        try:
            workers.append(Worker(row, folder))
            first = workers[-1].explain(0, targets[0])["seconds"]
            starts.append(asdict(row) | {"ready": workers[-1].ready, "first": first})
        except PeerError as error:
            failures[row] = str(error)
    about = {"model": options.model, "threads": available_threads(), "environments": environments}
    turns: list[dict[str, Any]] = []
    for done in range(1, options.rounds + 1):
        turns += measure(workers, bare, targets, failures)
        failed = [asdict(row) | {"reason": reason} for row, reason in failures.items()]
        measured = about | {"rounds": done, "rows": starts, "failed": failed, "turns": turns}
        (folder / "measured.json").write_text(json.dumps(measured, indent=1))
    for worker in [bare, *workers]:
        worker.stop()
    table.main([str(folder)])


if __name__ == "__main__":
    main()
