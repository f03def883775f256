"""The zoo's records as text: lines for the terminal, and docs/zoo.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.zoo.results import Record
from benchmarks.zoo.sources import KINDS

PREAMBLE = """\
# The zoo: real architectures

Made by `python -m benchmarks.zoo`, then `python -m benchmarks.zoo --markdown docs/zoo.md`. Each model
gets random weights that leave none of its branches idle (`benchmarks/zoo/networks.py`), and is exported
at its published input size. The bundle is then compared with torch autograd in float64: `logits`, `A`
(feature maps) and `alpha` (gradient scores) are the largest differences, relative to the largest
reference value, of the worst block. A model is ok where alpha was compared for every block and differs by
at most 1e-3; refused where the export says that it cannot be done; failed where the numbers differ, or a
limit on time or memory was met; not run where the list has a model that was not tried. Operators are
the different ones that a gradient flows through between the first block and the logits. Seconds are
those of the whole export, the comparison included (cores: {cores}).
"""


NOT_RUN = "not run"


def not_run(source: str, section: str) -> Record:
    """The record of a model that is listed and has no result."""
    return {"source": source, "section": section, "verdict": NOT_RUN, "reason": ""}


def line(record: Record) -> str:
    """A record in one line for the terminal."""
    errors = " ".join(f"{error:.0e}" for error in _errors(record) if error is not None)
    blocks = _channels(record)
    parts = [f"{record['source']:44}", record["verdict"], f"{record['seconds']:.0f} s", blocks, errors]
    return "  ".join(part for part in (*parts, record["reason"][:160]) if part)


def _errors(record: Record) -> list[float | None]:
    errors = record.get("errors", {})
    return [errors.get("logits"), errors.get("maps"), errors.get("alpha") if record.get("compared") else None]


def _channels(record: Record) -> str:
    return "/".join(str(channels) for channels, *_ in record.get("blocks", []))


def row(record: Record) -> str:
    """A record as a row of the table."""
    size, count = record.get("input"), len(record.get("blocks", []))
    errors = ["" if error is None else f"{error:.1e}" for error in _errors(record)]
    if record.get("compared", count) < count:
        errors[2] += f" ({record['compared']} of {count} blocks)"
    cells = [
        f"`{record['source']}`",
        f"{record['parameters'] / 1e6:.1f}" if "parameters" in record else "",
        f"{size[1]}x{size[2]}" if size else "",
        _channels(record),
        str(len(record["operators"])) if "operators" in record else "",
        f"{record['export_seconds']:.0f}" if "export_seconds" in record else "",
        *errors,
        record["verdict"],
    ]
    return f"| {' | '.join(cells)} |"


def markdown(records: Sequence[Record]) -> str:
    """The document: counts, a row for every model, and what is not ok with its reason."""
    run = [record for record in records if record["verdict"] != NOT_RUN]
    dates = sorted({record["date"] for record in run})
    used = {name: sorted({record["versions"][name] for record in run}) for name in run[0]["versions"]}
    cores = sorted({record["cores"] for record in run})
    lines = [
        PREAMBLE.format(cores=" or ".join(map(str, cores))),
        f"Run {' to '.join(dict.fromkeys((dates[0], dates[-1])))} with "
        + ", ".join(f"{name} {' and '.join(numbers)}" for name, numbers in used.items())
        + ".",
        "",
        "| | models | ok | refused | failed | unchecked | not run | largest error of alpha among the ok |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups = {title: [r for r in records if r["section"] == kind] for kind, title in KINDS.items()}
    for title, group in groups.items():
        verdicts = ("ok", "refused", "failed", "unchecked", NOT_RUN)
        counts = [sum(r["verdict"] == verdict for r in group) for verdict in verdicts]
        worst = max((r["errors"]["alpha"] for r in group if r["verdict"] == "ok"), default=None)
        error = "" if worst is None else f"{worst:.1e}"
        lines.append(f"| {title} | {len(group)} | {' | '.join(map(str, counts))} | {error} |")
    for title, group in groups.items():
        head = "source | parameters, M | input | block channels | operators | seconds | logits | A | alpha |"
        lines += ["", f"## {title}", "", f"| {head} verdict |", f"|{'---|' * 10}"]
        lines += [row(record) for record in group]
    lines += ["", "## What is not ok", ""]
    lines += [
        f"- `{record['source']}` {record['verdict']}: {record['reason']}"
        for group in groups.values()
        for record in group
        if record["verdict"] not in ("ok", NOT_RUN)
    ] or ["Nothing."]
    return "\n".join(lines) + "\n"
