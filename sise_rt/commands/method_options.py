"""The options of `sise-rt explain` that are about methods, and the methods that they make."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from sise_rt.errors import MethodError
from sise_rt.methods import METHODS, Option, Request, parse, repeated, with_preset

from .help_pages import option
from .shared_options import whole_number


class Batch(click.ParamType):
    """`auto`, or a number of masks."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Parse to None for `auto`."""
        if value is None or value == "auto":
            return None
        if (number := whole_number(str(value))) is None:
            self.fail(f"{value!r} is neither auto nor a positive number", param, ctx)
        return number


class Methods(click.ParamType):
    """Comma-separated methods, each with its options."""

    name = "methods"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Methods, behind those that are there."""
        before, comma, last = incomplete.rpartition(",")
        items = METHODS.items()
        return [
            CompletionItem(f"{before}{comma}{name}", help=method.help)
            for name, method in items
            if name.startswith(last)
        ]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Request]:
        """Parse `sise,rise:masks=1000:seed=1`."""
        if isinstance(value, list):
            return value
        try:
            requests = [parse(part.strip()) for part in str(value).split(",") if part.strip()]
        except MethodError as error:
            self.fail(error.message, param, ctx)
        if not requests or repeated(requests):
            self.fail("name at least one method, and none twice", param, ctx)
        return requests


def finite(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no number."""
    if value is not None and not math.isfinite(value):  # a range lets them pass
        raise click.BadParameter(f"{value} is no number")
    return value


def of_methods(heading: str, name: str) -> Callable[[Any], Any]:
    """The click option of an option that methods have, as the record of the first of them tells it."""
    owners = [method for method in METHODS.values() if method.has(name)]
    theirs, names = owners[0].option(name), " and ".join(method.name for method in owners)
    return option(
        f"--{name.replace('_', '-')}",
        heading=heading,
        type=_click_type(theirs),
        callback=finite if theirs.kind is float else None,
        help=f"Of {names}: {theirs.help[0].lower()}{theirs.help[1:].removesuffix('.')}; "
        f"{theirs.off or theirs.default} by default.",
    )


def _click_type(theirs: Option) -> click.ParamType:
    if theirs.choices:
        return click.Choice(theirs.choices)
    limits = theirs.range
    low = None if math.isinf(limits.low) else limits.low
    high = None if math.isinf(limits.high) else limits.high
    open_low = limits.above or bool(theirs.off)  # whoever wants none leaves the option out
    if theirs.kind is int:
        first = None if low is None else int(low) + open_low
        return click.IntRange(first, None if high is None else int(high))
    return click.FloatRange(low, high, min_open=open_low, max_open=limits.below and high is not None)


def requested(
    methods: list[Request], preset: str | None, options: dict[str, Any], *, blocks: bool
) -> list[Request]:
    """The methods with what the preset and the options set; one of them has blocks where they are wanted."""
    given = {name: value for name, value in options.items() if value is not None}
    methods = with_preset(methods, preset, given)
    for name, value in given.items():
        methods = _with_option(methods, name, value)
    if blocks and not any(asked.method.blocks for asked in methods):
        raise click.UsageError(f"--blocks: no maps of single blocks from {', '.join(map(str, methods))}")
    return methods


def _with_option(methods: list[Request], name: str, value: Any) -> list[Request]:
    """The methods, with an option for those that have it and do not set it themselves."""
    option = f"--{name.replace('_', '-')} {value}"
    takes = [asked.method.has(name) and name not in asked.given for asked in methods]
    if not any(takes) and (own := [str(asked) for asked in methods if name in asked.given]):
        raise click.UsageError(f"{option}, but {', '.join(own)} says otherwise: give one of them")
    if not any(takes):
        raise click.UsageError(f"{option.split()[0]} says nothing to {', '.join(map(str, methods))}")
    methods = [
        asked.having(name, value) if take else asked for asked, take in zip(methods, takes, strict=True)
    ]
    if repeated(methods):
        raise click.UsageError(f"{option} makes two of the methods the same")
    return methods
