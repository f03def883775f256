"""Real architectures with random weights: does each export, and are its numbers torch autograd's?

    python -m benchmarks.zoo                               # every model, one after the other
    python -m benchmarks.zoo --only 'timm:resnet*' --jobs 2
    python -m benchmarks.zoo --markdown docs/zoo.md        # the table, from the results so far

Every model runs in a process of its own, with a limit on time and on memory. Its result is appended to the
results file as one JSON line, and a model that is there already is not run again; so a run may be ended at
any time.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.zoo.processes import ROOT, run_all
from benchmarks.zoo.results import read_results
from benchmarks.zoo.sources import sections
from benchmarks.zoo.table import markdown, not_run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what has no result yet, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "zoo.jsonl")
    parser.add_argument("--only", metavar="PATTERN", action="append", help="sources, as in 'timm:resnet*'")
    parser.add_argument("--limit", type=int, help="at most so many models")
    parser.add_argument(
        "--jobs", type=int, default=1, help="models at a time; each has its share of the cores"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one model")
    parser.add_argument(
        "--memory", type=float, help="gigabytes for one model; its share of 85 %% if not given"
    )
    parser.add_argument("--again", metavar="VERDICT", action="append", default=[], help="run these once more")
    parser.add_argument("--list", action="store_true", help="print the sources and their verdicts")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table instead of running")
    options = parser.parse_args(arguments)
    sources = sections()
    wanted = [s for s in sources if any(fnmatch.fnmatch(s, p) for p in options.only or ["*"])]
    results = read_results(options.results)
    if options.list:
        for source in wanted:
            print(f"{source:44} {sources[source]:12} {results.get(source, {}).get('verdict', '')}")
        return
    if options.markdown:
        options.markdown.write_text(markdown([results.get(s) or not_run(s, sources[s]) for s in wanted]))
        return
    to_run = [s for s in wanted if s not in results or results[s]["verdict"] in options.again]
    memory = options.memory or 0.85e-9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    share = memory if options.memory else memory / options.jobs
    chosen = {source: sources[source] for source in to_run[: options.limit]}
    run_all(chosen, options.results, options.jobs, options.timeout, share)


if __name__ == "__main__":
    main()
