"""Does a malformed model or bundle end in an error that says so, and in nothing worse?

    python -m benchmarks.fuzz --cases 2000 --seed 1
    python -m benchmarks.fuzz --seed 1 --only 1234 --keep /tmp/case      # once more, with what was raised

Small valid models are damaged (`mutations.py`) and exported; three cases in four. In the others a sound
bundle is damaged, its hashes made to fit, and it is loaded, explains a picture and is verified. Cases run in
processes of their own under a limit of memory. A case is a defect if anything is raised that is no SiseError,
if the process dies, hangs, takes more memory than a model of this size can need, or writes outside its output
folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.fuzz.cases import DEFECTS, Result, is_bundle
from benchmarks.fuzz.children import run_cases
from benchmarks.fuzz.mutations import write_case


def report(results: list[Result], seed: int) -> str:
    """How many cases ended how, the defects, and the slowest case."""
    models = [r for r in results if not is_bundle(r.case)]
    bundles = [r for r in results if is_bundle(r.case)]
    counts = [Counter(r.kind for r in group) for group in (models, bundles)]
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
