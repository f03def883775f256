"""What `benchmarks.peers` has measured, as a table in Markdown.

python -m benchmarks.peers.table FOLDER
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

HEAD = "peer | method | s (min to max) | passes | ms/pass | x bare | same | MB | ready | first | installed"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    options = parser.parse_args(arguments)
    measured = json.loads((options.folder / "measured.json").read_text())
    turns = measured["turns"]
    bare = [turn["bare"] for turn in turns]
    print(
        f"{measured['model']}, {measured['threads']} threads, {processor()}; {measured['rounds']} rounds, "
        f"{len({turn['photo'] for turn in turns})} photos; a bare pass takes {1e3 * median(bare):.1f} ms "
        f"({1e3 * min(bare):.1f} to {1e3 * max(bare):.1f})\n\n| {HEAD} |\n|{'---|' * (HEAD.count('|') + 1)}"
    )
    for row in measured["rows"]:
        own = [turn for turn in turns if named(turn) == named(row)]
        if own:
            print(line(row, own, turns, measured["environments"][row["peer"]]["mb"]))
    print()
    for row in measured["failed"]:
        print(f"- {row['peer']} {row['method']} failed: {row['reason']}")
    for peer, environment in measured["environments"].items():
        print(f"- {peer}: {environment['versions']}")
    idle = sum(turn["disturbed"] for turn in turns) / sum(turn["seconds"] for turn in turns)
    print(f"\nAll that waited used {100 * idle:.1f} % of a core together while one worked.")


def named(entry: dict[str, Any]) -> tuple[str, str]:
    """What tells the rows apart."""
    return entry["peer"], entry["method"]


def line(row: dict[str, Any], own: list[dict[str, Any]], turns: list[dict[str, Any]], size: int) -> str:
    """A row of the table."""
    seconds = [turn["seconds"] for turn in own]
    each = [turn["seconds"] / turn["forward"] for turn in own]
    ratio = median(pace / turn["bare"] for pace, turn in zip(each, own, strict=True))
    forward, backward = (median(turn[way] for turn in own) for way in ("forward", "backward"))
    cells = [
        *named(row),
        f"{median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})",
        f"{forward:.0f}" + (f" + {backward:.0f}" if backward else ""),
        f"{1e3 * median(each):.1f}",
        f"{ratio:.2f}",
        agreement(row, own, turns),
        f"{max(turn['peak_mb'] for turn in own):.0f}",
        f"{row['ready']:.1f}",
        f"{row['first']:.2f}",
        f"{size}",
    ]
    return f"| {' | '.join(cells)} |"


def agreement(row: dict[str, Any], own: list[dict[str, Any]], turns: list[dict[str, Any]]) -> str:
    """The lowest correlation of a row's maps with its twin's; nothing where it has none."""
    twins = {turn["photo"]: turn["map"] for turn in turns if named(turn) == ("sise-rt", row["twin"])}
    pairs = {(turn["map"], twins[turn["photo"]]) for turn in own if turn["photo"] in twins}
    correlations = [np.corrcoef(np.load(one).ravel(), np.load(other).ravel())[0, 1] for one, other in pairs]
    return f"{min(correlations):.4f}" if correlations else ""


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown CPU")


if __name__ == "__main__":
    main()
