"""Does a malformed model or bundle end in an error that says so, and in nothing worse?

    python -m benchmarks.fuzz --cases 2000 --seed 1
    python -m benchmarks.fuzz --seed 1 --only 1234 --keep /tmp/case      # once more, with what was raised

Small valid models are damaged (`mutations.py`) and exported; three cases in four. In the others a sound
bundle is damaged, its hashes made to fit, and it is loaded, explains a picture and is verified. Cases run in
child processes under a limit of memory. A case is a defect if anything is raised that is no SiseError, if the
process dies, hangs, takes more memory than a model of this size can need, or writes outside its output
folder.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import queue
import random
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.append(str(Path(__file__).parent))
from classifiers import residual
from mutations import STRINGS, damage_bytes, mutate, write_case

SECONDS = 30  # a case may take
ADDRESSES = 6 << 30  # bytes of address space of a child; ONNX Runtime's libraries take 1 GB of it
MEMORY = 1 << 30  # bytes that a case may add; a valid one adds some MB
STARTING = 120  # seconds a child may take to import everything
BUNDLES = 4  # one case in so many is a bundle
# What the limit of memory has stopped; a bundle's graphs may ask for what they like.
FULL = re.compile("bad_alloc|(fail|unable).{0,20} allocate|more memory than there is", re.IGNORECASE)
DEFECTS = ("exception", "crash", "hang", "memory", "stray file", "not finite")


@dataclass
class Result:
    """How a case ended: `exported`, `loaded`, the name of a SiseError, or one of DEFECTS."""

    case: int
    kind: str
    text: str = ""
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)


# ---------------------------------------------------------------------------------------------- in the child


def serve(folder: Path, seed: int) -> None:
    """Run cases whose numbers come in on standard input; a JSON line on standard output for each."""
    import sise_rt.export  # noqa: F401  # its time is no case's

    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    bundle = folder / "sound.sise"
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        case = int(line)
        faulthandler.dump_traceback_later(SECONDS - 2)  # where it hangs
        result = run_case(case, seed, folder / str(case), bundle)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(vars(result)), file=answers)


def run_case(case: int, seed: int, folder: Path, bundle: Path) -> Result:
    """Run one case in this process, in a folder that does not exist yet."""
    from sise_rt.errors import SiseError

    run = explain_bundle if case % BUNDLES == BUNDLES - 1 else export_model
    (folder / "cwd").mkdir(parents=True)
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder / "cwd")
    work = prepare(run, case, seed, folder, bundle)
    before, memory = _files(folder), _peak(reset=True)
    start = time.perf_counter()
    try:
        kind, text = work()
    except SiseError as error:
        kind, text = type(error).__name__, str(error)
    except Exception:
        kind, text = "exception", traceback.format_exc()
    seconds = time.perf_counter() - start
    stray = sorted(path for path in before.keys() ^ _files(folder).keys() if not path.startswith("out.sise"))
    changed = [path for path, stat in _files(folder).items() if before.get(path, stat) != stat]
    if stray or changed:
        kind, text = "stray file", f"{[*stray, *changed]} after: {text}"
    elif (grown := _peak() - memory) > MEMORY or (run is export_model and FULL.search(text)):
        kind, text = "memory", f"{grown / 2**20:.0f} MiB: {text}"
    return Result(case, kind, text, seconds)


def prepare(
    run: Callable[..., tuple[str, str]], case: int, seed: int, folder: Path, bundle: Path
) -> Callable[[], tuple[str, str]]:
    """Write the case's files; what is left to do."""
    if run is export_model:
        path = write_case(folder, case, seed)
        return lambda: export_model(path, folder / "out.sise")
    damaged = damage_bundle(bundle, folder / "in.sise", random.Random(f"{seed}/{case}"))
    return lambda: explain_bundle(damaged, "loaded")


def export_model(path: Path, output: Path) -> tuple[str, str]:
    """Export, and use the bundle where one is made."""
    from sise_rt.export import export

    export(path, output)
    return explain_bundle(output, "exported")


def explain_bundle(path: Path, kind: str) -> tuple[str, str]:
    """Load, explain, verify: `kind`, or that numbers were not finite."""
    import sise_rt
    from sise_rt.errors import NoEvidence
    from sise_rt.running.verify import verify

    explainer = sise_rt.load(path, "cpu", 1)
    channels, height, width = explainer.manifest.preprocess.input_size
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (min(height, 64), min(width, 64), channels), np.uint8)
    with contextlib.suppress(NoEvidence):
        explanation = explainer.explain(picture[..., 0] if channels == 1 else picture, batch_size=2)
        if not np.isfinite(explanation.map).all():
            return "not finite", "the explanation map"
    verify(explainer.engine)
    return kind, ""


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    found = ((path, path.lstat()) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return {str(path.relative_to(folder)): (stat.st_size, stat.st_mtime_ns) for path, stat in found}


def _peak(reset: bool = False) -> int:
    """The most memory that this process has held since the last reset, in bytes."""
    with contextlib.suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    return 0


def damage_bundle(sound: Path, folder: Path, rng: random.Random) -> Path:
    """A copy of a bundle with one file damaged and every hash as it should be."""
    from sise_rt.bundle import MANIFEST, PROBE, WEIGHTS, sha256

    shutil.copytree(sound, folder)
    data = json.loads((folder / MANIFEST).read_text("utf-8"))
    name = rng.choice((MANIFEST, WEIGHTS, PROBE, *(n for n in sorted(data["files"]) for _ in "ab")))
    path = folder / name
    if name == MANIFEST:
        damage_json(data, rng)
    elif path.suffix == ".onnx" and rng.random() < 0.8:
        model = onnx.load(path, load_external_data=False)
        for tensor in model.graph.initializer:  # a node that reads a weight elsewhere, or past its end
            for entry in tensor.external_data:
                if rng.random() < 0.05:
                    entry.value = rng.choice((*STRINGS, "0", "-1", str(1 << 62), "../in/weights.bin", "17"))
        path.write_bytes(mutate(model, rng))
    elif name == WEIGHTS and rng.random() < 0.5:
        values = np.fromfile(path, np.float32)
        values[rng.randrange(len(values)) :: 7] = rng.choice((np.nan, np.inf, 3e38, 0))
        path.write_bytes(values.tobytes())
    else:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
    if isinstance(data.get("files"), dict):
        for key in data["files"]:
            with contextlib.suppress(Exception):
                data["files"][key] = sha256(folder / key)
    (folder / MANIFEST).write_text(json.dumps(data), "utf-8")
    return folder


def damage_json(data: Any, rng: random.Random) -> None:
    """Replace one value somewhere by junk, or by another of its kind."""
    key = rng.choice(list(data))
    while isinstance(data[key], (dict, list)) and data[key] and rng.random() < 0.85:
        data = data[key]
        key = rng.choice(list(data)) if isinstance(data, dict) else rng.randrange(len(data))
    value = data[key]
    if isinstance(value, int) and rng.random() < 0.7:
        data[key] = rng.choice((0, -1, value + 1, 2 * value, 1 << 31, 1 << 62, 10**40))
    elif isinstance(value, float) and rng.random() < 0.7:
        data[key] = rng.choice((0.0, -value, 1e-300, 1e300, float("nan"), float("inf")))
    else:
        data[key] = rng.choice((None, True, -1, 1e308, 10**400, "../x", "score.onnx", [], {}, [[]], *STRINGS))


# ---------------------------------------------------------------------------------------------- the children


class Child:
    """A process that runs one case after the other, and is replaced where one kills it."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.seed = folder, seed
        self.start()

    def start(self) -> None:
        """Start the process and wait until it has imported everything."""
        command = [sys.executable, "-P", __file__, "--serve", str(self.folder), "--seed", str(self.seed)]
        self.noise = open(self.folder / f"noise-{time.monotonic_ns()}", "w+b")
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.noise, env=environment
        )
        if self._answer(STARTING) != "ready":
            words = self._last_words()
            self.stop()
            raise RuntimeError(f"a child does not start: {words}")

    def run(self, case: int) -> Result:
        """Run a case, at most SECONDS long."""
        assert self.process.stdin
        start = time.perf_counter()
        self.process.stdin.write(f"{case}\n".encode())
        self.process.stdin.flush()
        answer = self._answer(SECONDS)
        if answer is not None:
            return Result(**answer)
        seconds, died = time.perf_counter() - start, self.process.poll()
        words = self._last_words()
        status = self.stop()
        self.start()
        if died is None and seconds >= SECONDS:
            return Result(case, "hang", words, seconds)
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return Result(case, "crash", f"{how}: {words}", seconds)

    def stop(self) -> int:
        """End the process; how it ended."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.kill()
        status = self.process.wait()
        with contextlib.suppress(BrokenPipeError):  # what it did not read
            self.process.stdin.close()
        self.process.stdout.close()
        self.noise.close()
        return status

    def _answer(self, seconds: float) -> Any:
        """The next line of the child, or None if it dies or says nothing in time."""
        assert self.process.stdout
        line, end = b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                return None
            line += piece
        return json.loads(line)

    def _last_words(self) -> str:
        self.noise.seek(0)
        return self.noise.read()[-1500:].decode(errors="replace")


def fuzz(cases: list[int], seed: int, jobs: int, folder: Path) -> Iterator[Result]:
    """Run cases, each in one of `jobs` processes; results in the order in which they end."""
    from sise_rt.export import export

    sound = folder / "sound.onnx"
    onnx.save(residual(), sound)
    export(sound, folder / "sound.sise", labels=list("abcd"))
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    results: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)

    def work() -> None:
        child = None
        try:
            child = Child(folder, seed)
            while not waiting.empty():
                with contextlib.suppress(queue.Empty):
                    case = waiting.get_nowait()
                    results.put(child.run(case))
                    shutil.rmtree(folder / str(case), ignore_errors=True)
        except BaseException as error:
            results.put(error)
        finally:
            if child:
                child.stop()
            results.put(None)

    for _ in range(jobs):
        threading.Thread(target=work, daemon=True).start()
    running = jobs
    while running:
        result = results.get()
        if isinstance(result, BaseException):
            raise result
        if result is None:
            running -= 1
        else:
            yield result


def report(results: list[Result], seed: int) -> str:
    """How many cases ended how, the defects, and the slowest case."""
    models = [r for r in results if r.case % BUNDLES != BUNDLES - 1]
    bundles = [r for r in results if r.case % BUNDLES == BUNDLES - 1]
    counts = [Counter(r.kind for r in kind) for kind in (models, bundles)]
    names = sorted({*counts[0], *counts[1], *DEFECTS}, key=lambda name: (name in DEFECTS, name))
    lines = [f"{'':24}{'models':>9}{'bundles':>9}"]
    lines += [f"{name:24}{counts[0][name]:9}{counts[1][name]:9}" for name in names]
    lines += [f"{'cases':24}{len(models):9}{len(bundles):9}"]
    for result in results:
        if result.kind in DEFECTS:
            lines.append(f"\nDEFECT {result.kind}: --seed {seed} --only {result.case}\n{result.text[-1500:]}")
    slowest = max(results, key=lambda r: r.seconds)
    lines.append(f"slowest: case {slowest.case}, {slowest.seconds:.1f} s ({slowest.kind})")
    return "\n".join(lines)


def main() -> int:
    """Run, print, and tell by the exit status whether there were defects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="run this case and print what it raised")
    parser.add_argument("--keep", type=Path, help="with --only: write the case's files there")
    parser.add_argument("--log", type=Path, help="append a JSON line a case")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.seed)
        return 0
    cases = list(range(arguments.cases)) if arguments.only is None else [arguments.only]
    if arguments.keep and arguments.only is not None:
        write_case(arguments.keep, arguments.only, arguments.seed)
    results = []
    with tempfile.TemporaryDirectory(prefix="sise-rt-fuzz-") as name:
        for result in fuzz(cases, arguments.seed, min(arguments.jobs, len(cases)), Path(name)):
            results.append(result)
            if arguments.log:
                with open(arguments.log, "a") as file:
                    print(json.dumps(vars(result)), file=file)
            if arguments.only is not None:
                print(result.text)
    print(report(results, arguments.seed))
    return any(result.kind in DEFECTS for result in results)


if __name__ == "__main__":
    sys.exit(main())
