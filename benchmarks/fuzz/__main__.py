"""Does a malformed model or bundle end in an error that says so, and in nothing worse?

    python -m benchmarks.fuzz --cases 2000 --seed 1
    python -m benchmarks.fuzz --seed 1 --only 1234 --keep /tmp/case      # once more, with what was raised

Small valid models are damaged (`mutations.py`) and exported; three cases in four. The others are about
bundles: a sound one is damaged, its hashes made to fit, and it is loaded, explains a picture and is verified;
or a graph gives an output of another shape or type than the manifest says (`outputs.py`), which has to be
refused; or the files change while a process uses them (`running.py`), which may change no answer: SISE, whose
graphs are open, goes on, and what opens another graph is `refused`, as the weights are others. Cases run in
processes of their own under a limit of memory. A case is a defect if anything is raised that is no SiseError,
if the process dies, hangs, takes more memory than a model of this size can need, writes outside its output
folder, passes over such an output, or gives another answer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz.cases import DEFECTS, FAMILIES, Result, family
from benchmarks.fuzz.children import run_cases
from benchmarks.fuzz.mutations import write_case


def report(results: list[Result], seed: int) -> str:
    """How many cases ended how, the defects, and the slowest case."""
    families = list(dict.fromkeys(("models", *FAMILIES)))
    counts = [Counter(r.kind for r in results if family(r.case) == name) for name in families]
    names = sorted({*DEFECTS}.union(*counts), key=lambda name: (name in DEFECTS, name))
    lines = [f"{'':24}" + "".join(f"{name:>9}" for name in families)]
    lines += [f"{name:24}" + "".join(f"{count[name]:9}" for count in counts) for name in names]
    lines += [f"{'cases':24}" + "".join(f"{count.total():9}" for count in counts)]
    for result in results:
        if result.kind in DEFECTS:
            lines.append(f"\nDEFECT {result.kind}: --seed {seed} --only {result.case}\n{result.text[-1500:]}")
    slowest = max(results, key=lambda r: r.seconds)
    lines.append(f"slowest: case {slowest.case}, {slowest.seconds:.1f} s ({slowest.kind})")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and tell by the exit status whether there were defects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="run this case and print what it raised")
    parser.add_argument("--keep", type=Path, help="with --only: write the case's files there")
    parser.add_argument("--log", type=Path, help="append a JSON line a case")
    options = parser.parse_args(arguments)
    cases = list(range(options.cases)) if options.only is None else [options.only]
    if options.keep and options.only is not None:
        write_case(options.keep, options.only, options.seed)
    results = []
    with tempfile.TemporaryDirectory(prefix="sise-rt-fuzz-") as name:
        for result in run_cases(cases, options.seed, min(options.jobs, len(cases)), Path(name)):
            results.append(result)
            if options.log:
                with open(options.log, "a") as file:
                    print(json.dumps(vars(result)), file=file)
            if options.only is not None:
                print(result.text)
    print(report(results, options.seed))
    return any(result.kind in DEFECTS for result in results)


if __name__ == "__main__":
    sys.exit(main())
