"""Options that several commands have."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click
from click.shell_completion import CompletionItem

from sise_rt.pictures.reading import MAX_PIXELS as MOST_PIXELS
from sise_rt.preprocessing import DEPTHS
from sise_rt.running.plug_ins import PLUG_IN
from sise_rt.running.provider import PROVIDERS, VERIFIED
from sise_rt.running.providers import PLUG_INS, PRECISIONS

from .help_pages import MACHINE, PICTURES, WHERE_TO, option

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}

PROVIDER_NAMES = ("auto", *PROVIDERS, *PLUG_INS)


def grouped(name: str, make: Callable[..., Any], *options: Decorator) -> Decorator:
    """Give a command several options, which arrive together.

    Args:
        name: of the command's argument that they become.
        make: makes it of their values.
        options: made by `option`, in their order.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def together(**values: Any) -> Any:
            theirs = {argument: values.pop(argument) for argument in arguments}
            return command(**values, **{name: make(**theirs)})

        decorated: Callable[..., Any] = together
        before = len(getattr(command, "__click_params__", ()))
        for add in reversed(options):
            decorated = add(decorated)
        arguments = [str(parameter.name) for parameter in vars(decorated)["__click_params__"][before:]]
        return decorated

    return decorate


class Provider(click.ParamType):
    """The name of a provider, or `plugin:NAME`."""

    name = f"{'|'.join(PROVIDER_NAMES)}|{PLUG_IN}NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it if there can be such a provider."""
        if value not in PROVIDER_NAMES and not str(value).startswith(PLUG_IN):
            self.fail(f"{value!r} is none of {', '.join(PROVIDER_NAMES)} and {PLUG_IN}NAME", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Names that begin so."""
        return [CompletionItem(name) for name in PROVIDER_NAMES if name.startswith(incomplete)]


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
    type=click.Choice((*PRECISIONS, VERIFIED)),
    default=PRECISIONS[0],
    show_default=True,
    help="That masked copies are scored in: bf16 needs a CPU that has it; verified is bf16 where sise-rt "
    "verify found it good enough on such a machine, else fp32.",
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


def bit_depth(heading: str, help_text: str) -> Callable[[Any], Any]:
    """The option of a bit depth."""
    depths = click.IntRange(DEPTHS[0], DEPTHS[-1])
    return option("--bit-depth", heading=heading, type=depths, help=help_text)
