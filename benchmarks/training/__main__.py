"""Whether explanations in training are worth it: eight ways to train a small network, on three sets.

    python -m benchmarks.training -o FOLDER --quick
    python -m benchmarks.training -o FOLDER

The sets are generated surfaces with a planted mark that goes with the class in training alone, NEU-DET, and
magnetic tiles, at 64 px; every arm has the same pictures, steps and seeds. A finished run is a line of
FOLDER/runs.jsonl and is not run again, so that an interrupted study goes on; lines of other settings stay and
are left alone. Several processes may share the work, each with sets or arms of its own. `--quick` is the
surfaces, one size, three seeds; `--tables` prints what is there of what is asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from benchmarks.training import arms, data, measured
from benchmarks.training.arms import ARMS, Task
from benchmarks.training.data import SETS, SIZES, STEPS, Data
from benchmarks.training.measured import Prepare
from benchmarks.training.tables import Line, summary, tables

Run = tuple[str, int, int, str]  # set, size, seed, arm
QUICK_SIZE = 300


def settings(name: str) -> str:
    """What the figures of a set depend on besides the run: lines of other settings are not of this study."""
    told = (
        *(arms.BATCH, arms.RATE, arms.WIDTHS, arms.LAYER, arms.WARM_UP, arms.EVERY, arms.WEIGHTS),
        *(data.SIDE, measured.EXPLAINED),
        *((data.SURFACES, data.MARK, data.CARRIED) if name == "surfaces" else ()),
    )
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def trained(pictures: Data, run: Run, steps: int) -> tuple[nn.Module, Prepare]:
    """A network, and what makes its input; order, weights and augmentation hang on the seed alone."""
    _, size, seed, arm = run
    torch.manual_seed(seed)
    train, labels = pictures.train.images[:size], pictures.train.labels[:size]
    epochs = max(1, round(steps / (len(train) // arms.BATCH)))
    prepare = Prepare(*(getattr(train, what)(dim=(0, 2, 3)).view(1, 3, 1, 1) for what in ("mean", "std")))
    with tempfile.TemporaryDirectory() as scratch:
        rng = torch.Generator().manual_seed(seed)
        task = Task(prepare(train), labels, pictures.classes, rng, epochs, Path(scratch))
        return ARMS[arm](task), prepare


def run_one(pictures: Data, run: Run, steps: int) -> Line:
    """Train and measure."""
    start = time.perf_counter()
    model, prepare = trained(pictures, run, steps)
    seconds = time.perf_counter() - start
    found = measured.measured(model, pictures.test, prepare, pictures.classes)
    told = {
        "settings": settings(run[0]),
        **dict(zip(("set", "size", "seed", "arm"), run, strict=True)),
        "steps": steps,
    }
    rounded = {k: round(v, 5) if isinstance(v, float) else v for k, v in found.items()}
    whole = time.perf_counter() - start
    return told | rounded | {"seconds": round(seconds, 3), "with-measuring": round(whole, 3)}


def read_lines(file: Path) -> list[Line]:
    """The finished runs; a line that a kill left unfinished is no run."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def add_line(file: Path, line: Line) -> None:
    """Keep a finished run, on a line of its own also after one that a kill left unfinished."""
    with open(file, "a+b") as lines:
        torn = False
        if lines.tell():
            lines.seek(-1, 2)
            torn = lines.read(1) != b"\n"
        lines.write(b"\n" * torn + json.dumps(line).encode() + b"\n")


def key(line: Line) -> tuple[str, Run, int]:
    """What a run is: the settings; set, size, seed, arm; and how many steps were asked for."""
    return line["settings"], (line["set"], line["size"], line["seed"], line["arm"]), line["steps"]


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is asked for, with everything that is left out filled in."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="surfaces, one size, three seeds")
    parser.add_argument("--sets", nargs="+", choices=SETS, help="default: all")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="default: all")
    parser.add_argument("--sizes", nargs="+", type=int, help="pictures to train with; default: three a set")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 to 4")
    parser.add_argument("--steps", type=int, help="of training; default: as many as a set needs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="print what is there, and run nothing")
    options = parser.parse_args(arguments)
    options.sets = options.sets or (["surfaces"] if options.quick else list(SETS))
    options.seeds = options.seeds or list(range(3 if options.quick else 5))
    if options.quick and not options.sizes:
        options.sizes = [QUICK_SIZE]
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not there yet, and print the tables."""
    options = options_of(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "runs.jsonl"
    runs: list[Line] = []
    for name in options.sets:
        steps, sizes = options.steps or STEPS[name], options.sizes or SIZES[name]
        asked = [(name, size, seed, arm) for seed in options.seeds for size in sizes for arm in options.arms]
        wanted = [(settings(name), run, steps) for run in asked]
        done = {key(line) for line in read_lines(file)}
        if todo := [run for run in wanted if run not in done and not options.tables]:
            pictures = SETS[name](options.out)
            for _, run, _ in todo:
                line = run_one(pictures, run, steps)
                add_line(file, line)
                told = ", ".join(map(str, run))
                print(f"{told}: accuracy {line['accuracy']:.3f}, {line['with-measuring']:.1f} s", flush=True)
        runs += [line for line in read_lines(file) if key(line) in wanted]
    print(*summary(runs), *tables(runs), sep="\n")


if __name__ == "__main__":
    main()
