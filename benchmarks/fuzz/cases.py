"""One case: what is damaged, what is done with it, and how that ends.

    python -m benchmarks.fuzz.cases FOLDER SEED

runs the cases whose numbers come in on standard input, with the sound bundle of FOLDER, and answers each with
a JSON line on standard output; its first line says that it is ready.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.fuzz.bundles import damage_bundle
from benchmarks.fuzz.mutations import write_case
from benchmarks.fuzz.outputs import change_output
from benchmarks.fuzz.running import answers, change_files

SECONDS = 30  # a case may take
ADDRESSES = 6 << 30  # bytes of address space of a process; ONNX Runtime's libraries take 1 GB of it
MEMORY = 1 << 30  # bytes that a case may add; a valid one adds some MB
BUNDLES = 4  # one case in so many is a bundle
# What is done to bundles, by turns: two in four are damaged, the outputs of one are not as the manifest says,
# and the files of one change while they are in use.
FAMILIES = ("bundles", "outputs", "bundles", "running")
SOUND = "sound.sise"  # the bundle that is damaged
# What the limit of memory has stopped; a bundle's graphs may ask for what they like.
FULL = re.compile("bad_alloc|(fail|unable).{0,20} allocate|more memory than there is", re.IGNORECASE)
DEFECTS = ("exception", "crash", "hang", "memory", "stray file", "not finite", "unnoticed", "another answer")

Ending = tuple[str, str]
"""`exported`, `loaded`, `unchanged` or one of DEFECTS, and what there is to say of it."""


@dataclass
class Result:
    """How a case ended.

    Attributes:
        case: its number.
        kind: `exported`, `loaded`, `unchanged`, `refused`, the name of a SiseError, or one of DEFECTS.
        text: what was raised, or what is wrong.
        seconds: that it took.
    """

    case: int
    kind: str
    text: str = ""
    seconds: float = 0.0


def run_case(case: int, seed: int, folder: Path, bundle: Path) -> Result:
    """Run one case in this process, in a folder that does not exist yet."""
    from sise_rt.errors import SiseError

    (folder / "cwd").mkdir(parents=True)
    (folder / "tmp").mkdir()
    tempfile.tempdir = str(folder / "tmp")
    os.chdir(folder / "cwd")
    work = prepare(case, seed, folder, bundle)
    before, memory = _files(folder), peak(reset=True)
    start = time.perf_counter()
    try:
        kind, text = work()
    except SiseError as error:
        kind, text = type(error).__name__, str(error)
    except Exception:
        kind, text = "exception", traceback.format_exc()
    seconds = time.perf_counter() - start
    after = _files(folder)
    touched = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    if stray := sorted(path for path in touched if not path.startswith("out.sise")):  # the case's own
        kind, text = "stray file", f"{stray} after: {text}"
    elif (grown := peak() - memory) > MEMORY or (family(case) == "models" and FULL.search(text)):
        kind, text = "memory", f"{grown / 2**20:.0f} MiB: {text}"
    return Result(case, kind, text, seconds)


def prepare(case: int, seed: int, folder: Path, bundle: Path) -> Callable[[], Ending]:
    """Write the case's files; the function that then runs it."""
    kind, rng = family(case), random.Random(f"{seed}/{case}")
    if kind == "bundles":
        damaged = damage_bundle(bundle, folder / "in.sise", rng)
        return lambda: explain_bundle(damaged, "loaded")
    if kind == "outputs":
        changed = change_output(bundle, folder / "in.sise", rng)
        return lambda: use_everything(changed)
    if kind == "running":
        shutil.copytree(bundle, folder / "out.sise")
        return lambda: explain_while_changing(bundle, folder / "out.sise", rng)
    path = write_case(folder, case, seed)
    return lambda: export_model(path, folder / "out.sise")


def export_model(path: Path, output: Path) -> Ending:
    """Export, and use the bundle where one is made."""
    from sise_rt.export import export

    export(path, output)
    return explain_bundle(output, "exported")


def explain_bundle(path: Path, kind: str) -> Ending:
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


def use_everything(path: Path) -> Ending:
    """Run every graph of a bundle one of whose outputs is not what it says; it is to end in a SiseError."""
    answers(path, lambda: None)
    return "unnoticed", "an output of another shape or type than the manifest says"


def explain_while_changing(sound: Path, path: Path, rng: random.Random) -> Ending:
    """Change a bundle's files while they are in use.

    SISE, whose graphs are open, is to answer as of the sound bundle; whatever opens another graph is to
    answer so too, or to be refused as the weights have changed.
    """
    from sise_rt.errors import BundleError

    expected = answers(sound, lambda: None)
    given = answers(path, lambda: change_files(path, rng), (BundleError,))
    refused = [name for name, answer in given.items() if answer is None]
    others = [name for name in given.keys() - refused if not np.array_equal(given[name], expected[name])]
    if wrong := sorted({*others, "sise"} & {*others, *refused}):
        return "another answer", f"of {', '.join(wrong)}"
    return ("refused", f"are {', '.join(refused)}") if refused else ("unchanged", "")


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file below a folder."""
    files = ((path, path.lstat()) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    return {str(path.relative_to(folder)): (stat.st_size, stat.st_mtime_ns) for path, stat in files}


def peak(reset: bool = False) -> int:
    """The most memory that this process has held since the last reset, in bytes."""
    with contextlib.suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    return 0


def family(case: int) -> str:
    """What a case does: damage `models`, or one of FAMILIES."""
    return FAMILIES[case // BUNDLES % len(FAMILIES)] if case % BUNDLES == BUNDLES - 1 else "models"


def serve(folder: Path, seed: int) -> None:
    """Answer until standard input ends."""
    import sise_rt.export  # noqa: F401  # its time is no case's

    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    bundle = folder / SOUND
    print(json.dumps("ready"), file=answers)
    for line in sys.stdin:
        case = int(line)
        faulthandler.dump_traceback_later(SECONDS - 2)  # where it hangs
        result = run_case(case, seed, folder / str(case), bundle)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(vars(result)), file=answers)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
