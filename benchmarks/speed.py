"""What an explanation costs over the forward passes that it cannot do without, and what it takes besides.

    python -m benchmarks.speed [overhead passes providers targets start images memory] [--rounds 5]

overhead  seconds of `explain` / (masks scored x seconds per image of the bare model), for four networks. The
          bare model is the source in ONNX Runtime, timed between the batches of the explanation, so that
          whatever else the machine does weighs on both.
passes    milliseconds a mask of the score graph, batches of 8, on every provider and in every precision that
          runs here, and its ratio to the bare model in float32 by ONNX Runtime's CPU provider; in turns.
providers what a whole explanation takes on each of them, exact and with the preset `fast`, over the forward
          passes of exact SISE by the bare model; batches of 8.
targets   five plausible classes of one photo in one call against the best one alone; and their features
          alone, in one run of the graph against a run for each, in turns.
start     a new process, from its start to the first masks that are scored, with ResNet-50's bundle; the files
          are in the page cache.
images    photos per second of `sise-rt explain` over a folder, exact and with the preset `fast`.
memory    what a process holds that has loaded the bundle, its peak by then, and the peak of one which also
          explains a photo.

Figures are medians of the rounds, with the smallest and the largest.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median

import sise_rt
from benchmarks.by_provider import passes, providers
from benchmarks.timing import NETWORKS, Between, bare, exported, photos_over_again, spread
from sise_rt.phases.features import extract, extract_best

BATCHES = (1, 2, 4, 8, 16)
START = """
import sys, time
import sise_rt
class Scored(Exception): pass
def stop(done, total): raise Scored
try: sise_rt.load(sys.argv[1], "cpu").explain(sys.argv[2], progress=stop)
except Scored: print("scored", flush=True)
"""
COMMAND = "from sise_rt.cli import main; main()"
# Not getrusage: its peak starts at that of the process which started this one.
HELD = """
import json, sys, sise_rt
explainer = sise_rt.load(sys.argv[1], "cpu")
if sys.argv[3]: explainer.explain_targets(sys.argv[2], **json.loads(sys.argv[3]))
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith(sys.argv[4])))
"""


def overhead(folder: Path, rounds: int) -> Iterator[str]:
    """Ratio to the bare model, network by network."""
    yield f"{'network':24} {'mu':>4} masks  bare ms (batch)  explain s (batch)  ratio"
    for name, mu in NETWORKS.items():
        source, bundle = exported(name, folder)
        run = bare(source)
        batch = min(BATCHES, key=lambda size: min(run(size) for _ in range(4)))
        explainer = sise_rt.load(bundle, "cpu")
        ratios, seconds, passes, masks = [], [], [], []
        for photo in photos_over_again(rounds):
            between = Between(partial(run, batch), batch)
            start = time.perf_counter()
            explanation = explainer.explain(photo, mu=mu, progress=between)
            seconds.append(time.perf_counter() - start - between.spent)
            ratios.append(seconds[-1] / (explanation.masks * mean(between.seconds)))
            passes += between.seconds
            masks.append(explanation.masks)
        yield (
            f"{name:24} {mu:4.1f} {median(masks):5.0f}  {1e3 * median(passes):7.1f} ({batch:2d})     "
            f"{median(seconds):9.2f} ({explanation.batch:2d})     {spread(ratios)}"
        )


def targets(folder: Path, rounds: int) -> Iterator[str]:
    """Five classes in one call against one."""
    yield f"{'network':24} one s  masks  five s  masks  ratio"
    for name, mu in (("resnet18", 0.0), ("resnet18", 0.3)):
        explainer = sise_rt.load(exported(name, folder)[1], "cpu")
        ratios, rows = [], []
        for photo in photos_over_again(rounds):
            seconds, masks = [], []
            for count in (1, 5):
                start = time.perf_counter()
                first, *_ = explainer.explain_targets(photo, top_k=count, mu=mu)
                seconds.append(time.perf_counter() - start)
                masks.append(getattr(first, "masks", 0))
            ratios.append(seconds[1] / seconds[0])
            rows.append((seconds[0], masks[0], seconds[1], masks[1]))
        one, few, five, more = (median(column) for column in zip(*rows, strict=True))
        yield f"{f'{name} mu {mu:g}':24} {one:5.2f}  {few:5.0f}  {five:6.2f}  {more:5.0f}  {spread(ratios)}"
    yield f"{'features of five':24} one ms  each ms  together ms  together/each"
    for name in NETWORKS:
        explainer = sise_rt.load(exported(name, folder)[1], "cpu")
        yield f"{name:24} {_features_of_five(explainer, rounds)}"


def _features_of_five(explainer: sise_rt.Explainer, rounds: int) -> str:
    """Milliseconds of the features of one class, of five in a run each and of five in one run."""
    engine, rows = explainer.engine, []
    for photo in photos_over_again(rounds):
        image = explainer.prepare(photo).tensor
        best, _ = extract_best(engine, image, 5)
        parts = [best[:1]], [best[place : place + 1] for place in range(5)], [best]
        for _ in range(5):
            seconds = []
            for runs in parts:
                begin = time.perf_counter()
                for asked in runs:
                    extract(engine, image, asked)
                seconds.append(time.perf_counter() - begin)
            rows.append(seconds)
    one, each, together = (1e3 * median(column) for column in zip(*rows, strict=True))
    return f"{one:6.0f}  {each:7.0f}  {together:11.0f}  {spread([row[2] / row[1] for row in rows])}"


def start(folder: Path, rounds: int) -> Iterator[str]:
    """From the start of a process to the first masks scored."""
    bundle = exported("resnet50", folder)[1]
    seconds = []
    for photo in photos_over_again(rounds):
        begin = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", START, bundle, photo], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            if process.stdout.readline() != b"scored\n":
                raise SystemExit("the process ended before it had scored anything")
            seconds.append(time.perf_counter() - begin)
    yield f"resnet50: {spread(seconds)} s to the first masks"


def images(folder: Path, rounds: int) -> Iterator[str]:
    """Photos per second of the command, its start included."""
    bundle = exported("resnet18", folder)[1]
    photos = photos_over_again(6)  # six have names of their own
    for preset in ("exact", "fast"):
        rates = []
        for _ in range(rounds if preset == "fast" else 1):
            with tempfile.TemporaryDirectory() as out:
                arguments = ["explain", *photos, "-m", bundle, "-o", out, "--preset", preset, "--quiet"]
                begin = time.perf_counter()
                subprocess.run([sys.executable, "-c", COMMAND, *map(str, arguments)], check=True)
                assert len(list(Path(out).glob("*.npy"))) == len(photos)
                rates.append(len(photos) / (time.perf_counter() - begin))
        yield f"resnet18, {len(photos)} photos, --preset {preset}: {spread(rates, '.3f')} photos a second"


def memory(folder: Path, rounds: int) -> Iterator[str]:
    """MB of processes of their own."""
    yield f"{'network':24} loaded MB  peak of loading MB  peak of explaining MB"
    for name in NETWORKS:
        bundle = exported(name, folder)[1]
        measured = []
        for photo in photos_over_again(min(rounds, 3)):
            asked = (("", "VmRSS"), ("", "VmHWM"), ('{"mu": 0.5}', "VmHWM"))
            measured.append([run_apart(HELD, bundle, photo, *each) for each in asked])
        loaded, loading, explaining = map(median, zip(*measured, strict=True))
        yield f"{name:24} {loaded:9.0f}  {loading:18.0f}  {explaining:21.0f}"


def run_apart(code: str, *arguments: Path | str) -> float:
    """Run Python code that prints kB in a process of its own; MB."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) * 1024 / 1e6


PARTS = {part.__name__: part for part in (overhead, passes, providers, targets, start, images, memory)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=Path, help="a folder to keep the bundles in")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        folder = options.models or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for part in options.parts or PARTS:
            print(f"\n{part}")
            for line in PARTS[part](folder, options.rounds):
                print(line, flush=True)


if __name__ == "__main__":
    main()
