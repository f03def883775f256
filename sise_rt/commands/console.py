"""What commands share: options, summaries on standard output, progress and complaints on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sise_rt.bundle import DEPTHS, Block, Manifest
from sise_rt.explanation import Explanation
from sise_rt.pictures.reading import MAX_PIXELS as MOST_PIXELS
from sise_rt.running.plug_ins import PLUG_IN
from sise_rt.running.provider import PROVIDERS
from sise_rt.running.providers import PLUG_INS, PRECISIONS
from sise_rt.wording import counted, in_bytes, printable, printable_json, short

from .help_pages import MACHINE, PICTURES, WHERE_TO, option

# Exit codes.
FAILED_IMAGES, UNUSABLE = 1, 2

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}

PROVIDER_NAMES = ("auto", *PROVIDERS, *PLUG_INS)


class Provider(click.ParamType):
    """The name of a provider, or `plugin:NAME`."""

    name = f"{'|'.join(PROVIDER_NAMES)}|{PLUG_IN}NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it if there can be such a provider."""
        if value not in PROVIDER_NAMES and not str(value).startswith(PLUG_IN):
            self.fail(f"{value!r} is none of {', '.join(PROVIDER_NAMES)} and {PLUG_IN}NAME", param, ctx)
        return str(value)


PROVIDER = option(
    "--provider",
    heading=MACHINE,
    type=Provider(),
    metavar="NAME",
    default="auto",
    show_default=True,
    help=f"What runs the model: {', '.join(PROVIDER_NAMES)} or {PLUG_IN}NAME; auto is CUDA where it is "
    "there, else the CPU. See sise-rt providers.",
)
PRECISION = option(
    "--precision",
    heading=MACHINE,
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="That masked copies are scored in; bf16 needs a CPU that has it. See sise-rt verify.",
)


def THREADS(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of how many threads there are."""
    number = option(
        "--threads",
        heading=MACHINE,
        type=click.IntRange(1),
        help="CPU threads; by default, and at most, the cores this process may use.",
    )
    more = option(
        "--oversubscribe",
        heading=MACHINE,
        is_flag=True,
        help="Start more --threads than there are cores.",
    )
    return number(more(command))


def whole_number(text: str) -> int | None:
    """A positive number of at most nine digits, or None; Python itself refuses thousands of digits."""
    return int(text) if re.fullmatch("0*[1-9][0-9]{0,8}", text) else None


class Bytes(click.ParamType):
    """A number of bytes, as in 800MB or 2GB."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Parse to a whole number of bytes."""
        if value is None or isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,18}(?:\.\d+)?) ?([KMG]?)B?", str(value), re.IGNORECASE | re.ASCII)
        if match is None or not (size := int(float(match[1]) * UNITS[match[2].upper()])):
            self.fail(f"{value!r} is no amount of memory; write it as 800MB or 2GB", param, ctx)
        return size


MEMORY = option(
    "--memory",
    heading=MACHINE,
    type=Bytes(),
    help="That the images of a pass may take, besides the model, as in 800MB; 1GB by default. "
    "A --batch-size overrides it.",
)
QUIET = option("--quiet", "-q", heading=WHERE_TO, is_flag=True, help="Print errors only.")
MAX_PIXELS = option(
    "--max-pixels",
    heading=PICTURES,
    type=click.IntRange(1),
    default=MOST_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)


def at_terminal() -> bool:
    """Whether somebody watches standard error, which may be closed."""
    return sys.stderr is not None and sys.stderr.isatty()


def bit_depth(heading: str, help_text: str) -> Callable[[Any], Any]:
    """The option of a bit depth."""
    depths = click.IntRange(DEPTHS[0], DEPTHS[-1])
    return option("--bit-depth", heading=heading, type=depths, help=help_text)


@contextmanager
def progress_bar(label: str, hidden: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar over masks on standard error; none where that is no terminal."""
    if hidden or not at_terminal():
        yield None
        return
    with click.progressbar(length=1, label=printable(label), file=sys.stderr) as bar:

        def show(scored: int, total: int) -> None:
            bar.length, bar.finished = total, False  # the next method begins where the last one ended
            bar.update(scored - bar.pos)

        yield show


def clear_bar() -> None:
    """Make room for a line where a bar may stand; its next step draws it again."""
    if at_terminal():
        click.echo("\r\x1b[K", nl=False, err=True)


def summary(explanation: Explanation, picture: Path) -> list[str]:
    """One line for an explanation, and one for each warning."""
    seconds = sum(explanation.seconds.values())
    how = "" if explanation.method == "sise" else f"{explanation.method}, "
    masks, passes = explanation.masks, explanation.passes
    cost = counted(masks, "mask") if masks else counted(passes, "pass", "passes")
    lines = [
        f"{Path(explanation.name).name}: {explanation.heading()}, {how}{cost} in {seconds:.1f} s -> {picture}"
    ]
    if explanation.check:
        figures = (f"{k} {'-' if v is None else format(v, '.3f')}" for k, v in explanation.check.items())
        lines.append(f"  check: {', '.join(figures)}")
    predicted = explanation.predicted
    if predicted.index != explanation.target:
        highest = "the highest is" if explanation.activation == "none" else "the model predicts"
        lines.append(f"  note: {highest} {predicted.label}, {explanation.said(predicted.confidence)}")
    return [*lines, *(f"  note: {warning}" for warning in explanation.warnings)]


def rate(images: int, seconds: float) -> str:
    """How fast images were explained; seconds each where that is the number a person can picture."""
    seconds = max(seconds, 1e-6)  # a clock may be coarser than the work
    took = f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    speed = f"{seconds / images:.1f} s each"
    if (a_second := images / seconds) >= 1:
        speed = f"{a_second:,.{0 if a_second >= 10 else 1}f} a second"
    return f"{counted(images, 'image')} in {took}, {speed}"


def described(manifest: Manifest, path: Path) -> list[str]:
    """A bundle in a few lines."""
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    image = manifest.input
    return [
        f"{path}: input {image.channels}x{image.height}x{image.width}, "
        f"{counted(manifest.classes, 'class', 'classes')}, {manifest.activation}, opset {manifest.opset}, "
        f"{in_bytes(size)}",
        *block_table(manifest.blocks),
    ]


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
    say(short(f"error: {' '.join(message.split())}"), err=True)
