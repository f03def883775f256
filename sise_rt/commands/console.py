"""What commands say: summaries on standard output, warnings and complaints on standard error."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sise_rt.targets import FEW
from sise_rt.wording import counted, in_bytes, printable, printable_json, short

from .checking import check_lines
from .progress import speed

if TYPE_CHECKING:
    from sise_rt.bundle import Block, Manifest
    from sise_rt.explanation import Explanation

# Exit codes.
FAILED_IMAGES, UNUSABLE = 1, 2

HINTS = {"sure-of-nothing": ": see sise-rt accuracy"}  # what a command adds to a caution, by its code
COLOURS = {"error": "red", "warning": "yellow"}


def summary(explanation: Explanation, name: str, file: Path | None) -> list[str]:
    """One line for an explanation, from the picture's name to its file if it has one, and one a warning."""
    seconds = sum(explanation.seconds.values())
    how = "" if explanation.method == "sise" else f"{explanation.method}, "
    masks, guessed = explanation.masks, explanation.guessed
    cost = counted(masks, "mask") if masks else counted(explanation.passes, "pass", "passes")
    if guessed:
        cost = f"{masks} of {counted(masks + guessed, 'mask')}"
    lines = [
        f"{name}: {explanation.heading()}, {how}{cost} in {seconds:.1f} s"
        f"{'' if file is None else f' -> {file}'}"
    ]
    lines += [f"  check: {line}" for line in check_lines(explanation)]
    predicted = explanation.predicted
    if predicted.index != explanation.target:
        highest = "the highest is" if explanation.activation == "none" else "the model predicts"
        lines.append(f"  note: {highest} {predicted.label}, {explanation.said(predicted.confidence)}")
    return [*lines, *(f"  note: {warning}{HINTS.get(warning.code, '')}" for warning in explanation.warnings)]


def rate(images: int, seconds: float) -> str:
    """How fast images were explained."""
    took = f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    return f"{counted(images, 'image')} in {took}, {speed(images, seconds)}"


def described(manifest: Manifest, path: Path) -> list[str]:
    """A bundle in a few lines."""
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    image = manifest.input
    return [
        f"{path}: input {image.channels}x{image.height}x{image.width}, "
        f"{counted(manifest.classes, 'class', 'classes')}, {manifest.activation}, opset {manifest.opset}, "
        f"{in_bytes(size)}",
        *block_table(manifest.blocks),
        labels_line(manifest),
    ]


def labels_line(manifest: Manifest) -> str:
    """Whether a bundle has labels, how many, and the first of them."""
    if not manifest.labels:
        return "labels: none: classes are called by their indices"
    more = "; ..." if manifest.classes > FEW else ""
    return f"labels: {len(manifest.labels)}: {'; '.join(manifest.labels[:FEW])}{more}"


def block_table(blocks: Sequence[Block]) -> list[str]:
    """One line a block."""
    rows = [
        f"  {b.name:<8} {counted(b.channels, 'map'):>10}{' ' * (b.channels == 1)}  "
        f"{b.height:>4}x{b.width:<4} {b.tensor}"
        for b in blocks
    ]
    maps = sum(b.channels for b in blocks)
    return [f"{counted(len(blocks), 'block')}, {counted(maps, 'map')}", *rows]


def parity_line(errors: Mapping[str, float], tolerances: Mapping[str, float]) -> str:
    """The errors of a parity measurement, each with what is allowed."""
    figures = (f"{name} {error:.1e} (allowed {tolerances[name]:g})" for name, error in errors.items())
    return "largest relative error: " + ", ".join(figures)


def say(*lines: str, err: bool = False) -> None:
    """Print lines, whatever is in them: file names, labels and names of tensors come from anywhere."""
    for line in lines:
        click.echo(printable(line), err=err)


def say_json(record: Mapping[str, Any]) -> None:
    """Print a record as one line of JSON, with nothing in it that a terminal would act upon."""
    click.echo(printable_json(json.dumps(record, ensure_ascii=False)))


def complain(message: str) -> None:
    """One line on standard error."""
    _say_as("error", short(" ".join(message.split())), err=True)


def warn(message: str, *, err: bool = True) -> None:
    """One line, of what changes the meaning of a result."""
    _say_as("warning", message, err=err)


def _say_as(kind: str, message: str, *, err: bool) -> None:
    """A line that begins with its kind, which is coloured where a terminal shows colours and nobody minds."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    click.echo(
        f"{click.style(f'{kind}:', COLOURS[kind])} {printable(message)}",
        err=err,
        color=False if plain else None,  # None is click's: where the stream is a terminal
    )
