"""The processes that run the cases: each one case after the other, replaced where a case ends it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from benchmarks.fuzz.cases import SECONDS, SOUND, Result
from benchmarks.fuzz.classifiers import residual

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.fuzz.cases"]
STARTING = 120  # seconds a process may take to import everything


class Child:
    """A process that runs one case after the other, and is replaced where one kills it.

    Args:
        folder: with the sound bundle; every case has a folder of its own in it.
        seed: of all cases.
        command: what runs cases when folder and seed are added.
        seconds: a case may take.
    """

    def __init__(self, folder: Path, seed: int, command: Sequence[str] = COMMAND, seconds: float = SECONDS):
        self.folder, self.seconds = folder, seconds
        self.command = [*command, str(folder), str(seed)]
        self.start()

    def start(self) -> None:
        """Start the process and wait until it has imported everything."""
        self.noise = open(self.folder / f"noise-{time.monotonic_ns()}", "w+b")
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.noise,
            env=environment,
            cwd=ROOT,
        )
        if self._answer(STARTING) != "ready":
            words = self._last_words()
            self.stop()
            raise RuntimeError(f"a child does not start: {words}")

    def run(self, case: int) -> Result:
        """Run a case, at most `seconds` long."""
        assert self.process.stdin
        start = time.perf_counter()
        self.process.stdin.write(f"{case}\n".encode())
        self.process.stdin.flush()
        answer = self._answer(self.seconds)
        if answer is not None:
            return Result(**answer)
        seconds, died = time.perf_counter() - start, self.process.poll()
        words = self._last_words()
        status = self.stop()
        self.start()
        if died is None and seconds >= self.seconds:
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


def export_sound(folder: Path) -> None:
    """Export the bundle that the cases damage."""
    from sise_rt.export import export

    onnx.save(residual(), folder / "sound.onnx")
    export(folder / "sound.onnx", folder / SOUND, labels=list("abcd"))


def run_cases(cases: Sequence[int], seed: int, jobs: int, folder: Path) -> Iterator[Result]:
    """Run cases, each in one of `jobs` processes; results in the order in which they end."""
    export_sound(folder)
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
