"""A process of its own for every model of the zoo, with a limit on time and on memory."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.zoo.results import Record
from benchmarks.zoo.table import line

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "numpy")


def run_all(sources: dict[str, str], results: Path, jobs: int, timeout: float, gigabytes: float) -> None:
    """Run every source in a process of its own and append its record; Ctrl-C ends those that run.

    Args:
        sources: with the section of each.
        results: the file; it is made where it is not there.
        jobs: processes at a time.
        timeout: seconds for one process.
        gigabytes: of memory for one process.
    """
    results.parent.mkdir(parents=True, exist_ok=True)
    cores = sorted(os.sched_getaffinity(0))
    each = max(1, len(cores) // jobs)
    slots: queue.Queue[list[int]] = queue.Queue()
    for job in range(jobs):
        slots.put([cores[(job * each + i) % len(cores)] for i in range(each)])
    running: set[subprocess.Popen[str]] = set()
    done = 0

    def one(source: str) -> Record:
        own = slots.get()
        os.sched_setaffinity(0, own)  # this thread's, which the process that it starts inherits
        try:
            return run_one(source, own, timeout, gigabytes, running)
        finally:
            slots.put(own)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = ThreadPoolExecutor(jobs)
    try:
        for finished in as_completed([pool.submit(one, source) for source in sources]):
            record = finished.result()
            record["section"] = sources[record["source"]]
            with results.open("a") as file:
                file.write(json.dumps(record) + "\n")
            done += 1
            print(f"{done:3d}/{len(sources)} {line(record)}", flush=True)
    except KeyboardInterrupt:
        print(f"ended; {done} results are in {results}")
        raise SystemExit(130) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.kill()


def run_one(
    source: str, cores: Sequence[int], timeout: float, gigabytes: float, running: set[subprocess.Popen[str]]
) -> Record:
    """One model's record, from a process that is ended where it passes a limit.

    Args:
        source: the model.
        cores: that the calling thread may use.
        timeout: seconds.
        gigabytes: of memory.
        running: processes that run; this one is added for as long as it does.
    """
    command = [sys.executable, "-m", "benchmarks.zoo.examination", source]
    threads = {name: str(len(cores)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    record: Record = {"source": source, "date": date.today().isoformat(), "versions": versions()}
    start, peak, ended = time.monotonic(), 0.0, ""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C is for the one that writes the results
        )
        running.add(process)
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            if time.monotonic() - start > timeout:
                ended = f"not finished in {timeout:.0f} s"
            elif peak > gigabytes:
                ended = f"takes more than {gigabytes:.0f} GB of memory"
            if ended:
                process.kill()
                process.wait()
            time.sleep(0.2)
        running.discard(process)
        output.seek(0)
        errors.seek(0)
        written, complaint = output.read().splitlines(), errors.read().strip().splitlines()
    record |= {"seconds": round(time.monotonic() - start, 1), "peak_gb": round(peak, 1), "cores": len(cores)}
    if process.returncode == 0 and written:
        return record | json.loads(written[-1])
    if not ended and process.returncode < 0:
        ended = f"ended by {signal.Signals(-process.returncode).name}"
    return record | {"verdict": "failed", "reason": ended or (complaint or ["no result"])[-1]}


def resident(process: int) -> float:
    """The gigabytes of memory that a process holds; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e9


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on, by name."""
    packages = {name: version(name) for name in PACKAGES}
    return packages | {"python": ".".join(map(str, sys.version_info[:3]))}
