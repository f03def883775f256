"""Runs of many pictures: what they take over the scoring itself, what kills leave, and what Ray adds.

    python -m benchmarks.bulk loop [--pictures 2000]
    python -m benchmarks.bulk kills [--pictures 60] [--kills 10] [--engine ray]
    python -m benchmarks.bulk ray [--pictures 300] [--rounds 3]

loop      the command over a quarter of the pictures and over all: seconds over those of the scoring, peak
          memory, and whether every picture has its line.
kills     SIGKILL at random moments, each time gone on with, against an undisturbed run: whether anything
          is missing, twice, torn or different. On Ray the driver, an actor and an idle worker in turn.
ray       the command here and on Ray in turns, with the same threads: ResNet-18 with the preset `fast`.

Pictures are copies of the material's and generated ones, a hundredth of them broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sise_rt
from benchmarks.material import photos
from benchmarks.timing import exported, spread
from examples.surface import generate as surface

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
VARYING = ("time", "seconds", "files", "runtime")  # of a line, from run to run
CLOSE = 1e-5  # of maps in float32; those in parts are float16
FOLDERS = 7  # that the pictures lie in, under names that recur


@dataclass(frozen=True)
class Took:
    """What a run took.

    Attributes:
        wall: seconds of the process.
        within: from the first explanation to the last one.
        scoring: of all explanations but the first.
        phases: all their seconds, likewise.
        peak: megabytes that the process had at most; of Ray, those of the driver.
        statuses: how many lines have which.
    """

    wall: float
    within: float
    scoring: float
    phases: float
    peak: float
    statuses: Counter[str]


def make_pictures(folder: Path, count: int, real: Sequence[Path]) -> Path:
    """So many pictures, in several folders: of three one is real, a hundredth is broken; made once."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"cam{number % FOLDERS}" / f"{number // FOLDERS:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % 100 == 99:
            path.write_bytes(b"\x89PNG\r\n\x1a\n" + rng.bytes(2000))
        elif real and number % 3 == 0:
            shutil.copy(real[number // 3 % len(real)], path)
        else:
            label = surface.CLASSES[number % len(surface.CLASSES)]
            Image.fromarray(surface.generate(rng, label)[0]).save(path)
    return folder


def command(pictures: Path, bundle: Path, out: Path, *more: str) -> list[str]:
    """The command that explains them."""
    explain = [str(Path(sys.executable).with_name("sise-rt")), "explain", str(pictures), "-m", str(bundle)]
    return [*explain, "-o", str(out), "--provider", "cpu", "--quiet", *more]


def lines_of(out: Path) -> list[dict[str, Any]]:
    """The lines of a run."""
    path = out / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(arguments: list[str], out: Path) -> Took:
    """Run the command to its end."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(arguments)} ended with {process.returncode}")
    lines = lines_of(out)
    done = sorted((line for line in lines if line["status"] == "done"), key=lambda line: line["time"])
    times = [np.datetime64(line["time"].rstrip("Z")) for line in done]
    within = (times[-1] - times[0]) / np.timedelta64(1, "s")
    phases = [line["seconds"]["shared"] | line["seconds"]["own"] for line in done[1:]]
    return Took(
        wall,
        within,
        sum(each.get("scoring", 0.0) for each in phases),
        sum(sum(each.values()) for each in phases),
        usage.ru_maxrss / 1e3,
        Counter(line["status"] for line in lines),
    )


def loop(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """The plain loop, over a quarter of the pictures and over all."""
    yield "pictures  lines  done  failed  wall s  within s  within/phases  within/scoring  peak MB"
    for count in (options.pictures // 4, options.pictures):
        pictures = make_pictures(folder / f"pictures{count}", count, photos(30))
        took = run(command(pictures, DEMO, folder / f"out{count}"), folder / f"out{count}")
        yield (
            f"{count:8}  {took.statuses.total():5}  {took.statuses['done']:4}  {took.statuses['failed']:6}"
            f"  {took.wall:6.1f}  {took.within:8.1f}  {took.within / took.phases:13.3f}"
            f"  {took.within / took.scoring:14.3f}  {took.peak:7.0f}"
        )


def kills(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Kills at random moments against an undisturbed run."""
    rng = random.Random(options.seed)
    pictures = make_pictures(folder / "pictures", options.pictures, photos(10))
    more = ["--batch-size", "8", *(["--engine", "ray", "--threads", "1"] if options.engine == "ray" else [])]
    whole = run(command(pictures, DEMO, folder / "whole", *more), folder / "whole")
    span = whole.within * options.pictures / (options.pictures + options.kills) / max(options.kills, 1)
    victims = ["driver", "actor", "worker"] if options.engine == "ray" else ["driver"]
    out, killed = folder / "killed", Counter[str]()
    while killed.total() < options.kills:
        process = subprocess.Popen(command(pictures, DEMO, out, *more), stderr=subprocess.DEVNULL)
        before = len(lines_of(out))
        while process.poll() is None and killed.total() < options.kills:
            if len(lines_of(out)) == before:
                time.sleep(0.01)  # until it has gone on
                continue
            before = len(lines_of(out))
            time.sleep(rng.uniform(0, 2 * span))
            victim = victims[killed.total() % len(victims)]
            if (number := process.pid if victim == "driver" else of_ray(process.pid, victim)) is not None:
                os.kill(number, signal.SIGKILL)
                killed[victim] += 1
            if victim == "driver":
                process.wait()
        if process.poll() is not None and process.returncode >= 0:
            break  # it was done before all kills came
    process.wait()
    run(command(pictures, DEMO, out, *more), out)
    yield f"killed: {', '.join(f'{victim} {count} times' for victim, count in killed.items())}"
    yield from differences(folder / "whole", out)


def of_ray(driver: int, victim: str) -> int | None:
    """An actor, or a worker that is none, of the Ray that a driver started."""
    parents, names = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
            names[int(path.parent.name)] = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended

    def below(number: int) -> bool:
        while number in parents:
            number = parents[number]
            if number == driver:
                return True
        return False

    wanted = b"ray::MapWorker" if victim == "actor" else b"ray::IDLE"
    return next((number for number, name in names.items() if name.startswith(wanted) and below(number)), None)


def differences(whole: Path, out: Path) -> Iterator[str]:
    """What differs between two runs, in figures."""
    one, other = ({line["id"]: line for line in lines_of(folder)} for folder in (whole, out))
    twice = len(lines_of(out)) - len(other)
    yield f"items {len(one)}, missing {len(one.keys() - other.keys())}, twice {twice}"
    changed = [
        key
        for name in one.keys() & other.keys()
        for key in one[name]
        if key not in VARYING and not alike(one[name][key], other[name].get(key))
    ]
    yield f"values of lines that differ: {len(changed)} {sorted(set(changed)) or ''}"
    maps, again = maps_of(whole), maps_of(out)
    most = max(
        (float(np.abs(maps[name] - again[name]).max()) for name in maps.keys() & again.keys()), default=0
    )
    yield f"maps {len(maps)}, missing {len(maps.keys() - again.keys())}, largest difference {most:.2g}"
    left = [path.name for path in out.rglob(".*") if not path.name.endswith(".lock")]
    yield f"torn or half-written files: {len(left)} {left or ''}"


def alike(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same, numbers to five digits."""
    if isinstance(one, float) or isinstance(other, float):
        return abs(one - other) <= CLOSE * max(abs(one), abs(other), 1)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == other


def maps_of(out: Path) -> dict[str, np.ndarray]:
    """The maps of a run, from files or from parts; refuses one that is there twice."""
    found = {}
    for path in out.rglob("*.npy"):
        found[path.relative_to(out).as_posix()] = np.load(path)
    for path in (out / "parts").glob("*.parquet"):
        from pyarrow import parquet

        for row in parquet.read_table(path, columns=["id", "map", "map_shape"]).to_pylist():
            if row["id"] in found:
                raise RuntimeError(f"{row['id']} is in two parts of {out}")
            found[row["id"]] = np.frombuffer(row["map"], "<f2").reshape(row["map_shape"]).astype(np.float32)
    return found


def ray(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Here and on Ray in turns: the same pictures, network and threads."""
    bundle = exported("resnet18", options.models or folder)[1]
    pictures = make_pictures(folder / "pictures", options.pictures, photos(100))
    taken: dict[str, list[Took]] = {"here": [], "ray": []}
    more = ["--preset", "fast", "--threads", str(options.threads), "--outputs", "map"]
    for number in range(options.rounds):
        for engine, rounds in taken.items():
            out = folder / f"{engine}{number}"
            workers = ["--workers", "1"] if engine == "ray" else []
            rounds.append(run(command(pictures, bundle, out, *more, "--engine", engine, *workers), out))
    for engine, rounds in taken.items():
        statuses = ", ".join(f"{count} {status}" for status, count in rounds[0].statuses.items())
        each = [took.within / (took.statuses["done"] - 1) for took in rounds]
        yield (
            f"{engine:4}  lines {rounds[0].statuses.total()} ({statuses})"
            f"  wall s {spread([took.wall for took in rounds], '.1f')}  s a picture {spread(each, '.3f')}"
        )
    pairs = list(zip(taken["here"], taken["ray"], strict=True))
    yield f"on Ray, over here: whole {spread([b.wall / a.wall for a, b in pairs])}"
    yield f"on Ray, over here: from the first picture on {spread([b.within / a.within for a, b in pairs])}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    measured = {"loop": (loop, 2000), "kills": (kills, 60), "ray": (ray, 300)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=measured)
    parser.add_argument("--pictures", type=int)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--engine", choices=("here", "ray"), default="here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", type=Path, help="a folder to keep the bundle in")
    options = parser.parse_args(arguments)
    measure, usual = measured[options.what]
    options.pictures = options.pictures or usual
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        for line in measure(Path(scratch), options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
