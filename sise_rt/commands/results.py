"""What `sise-rt explain` writes and prints of what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sise_rt.errors import ModelError, NoEvidence, OutputError

from .console import summary

if TYPE_CHECKING:
    from sise_rt import Explainer, Explanation


def write_results(
    explainer: Explainer,
    found: dict[str, list[Explanation | NoEvidence]],
    out: Path,
    named: bool,
    stopped: bool,
    check: bool,
    blocks: bool,
    as_json: bool,
    quiet: bool,
) -> list[str]:
    """Write and print what was found for a picture, by method; gives what is missing.

    `named` puts the method into the files' names, `stopped` tells there that it is what an interrupt left: it
    does not take the place of a whole one.
    """
    from sise_rt.metrics.check import check as checked

    problems = []
    for label, explanations in found.items():
        for explanation in explanations:
            if isinstance(explanation, NoEvidence):
                problems.append(f"{label}: {explanation}" if len(found) > 1 else str(explanation))
                continue
            try:
                explanation = checked(explainer.engine, explanation) if check else explanation
            except ModelError as error:  # the map is there all the same
                problems.append(f"--check: {error}")
            strip = blocks and bool(explanation.blocks)
            parts = [label if named else "", "partial" if stopped and explanation.partial else ""]
            files = explanation.save(out, label=".".join(filter(None, parts)), blocks=strip)
            if as_json:
                record = explanation.record() | {"files": list(map(str, files))}
                click.echo(json.dumps(record, ensure_ascii=False))
            elif not quiet:
                click.echo(summary(explanation, files[0]))
    if len(found) > 1:
        for file in _side_by_side(found, out):
            if not (as_json or quiet):
                click.echo(f"side by side: {file}")
    return problems


def _side_by_side(found: dict[str, list[Any]], folder: Path) -> list[Path]:
    """Write one strip a target with the maps of all methods: `<stem>.<target>.methods.png`."""
    from sise_rt.explanation import compare
    from sise_rt.render import save_png

    files = []
    for explanations in zip(*found.values(), strict=True):
        shown = {
            k: None if isinstance(e, NoEvidence) else e for k, e in zip(found, explanations, strict=True)
        }
        first = next((e for e in shown.values() if e is not None), None)
        if first is not None:
            files.append(folder / f"{Path(first.name).stem}.{first.target}.methods.png")
            save_png(files[-1], compare(shown))
    return files


def check_writable(folder: Path) -> None:
    """Find out before the work, not after it."""
    from sise_rt.files import write_whole

    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".sise-rt-writable"
        write_whole(probe, b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"output folder {str(folder)!r} cannot be written: {error}") from error
