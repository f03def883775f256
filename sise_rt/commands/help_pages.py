"""The help of `sise-rt`: options below headings, whole sentences, names in one piece."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

# Headings that several commands have.
WHAT, HOW, HOW_MUCH, WHERE_TO = "What", "How", "How much", "Where to"
PICTURES, MACHINE = "Pictures", "On what machine"

UNBROKEN = "\u2011"  # the hyphen at which no line is broken
LONGEST = 1000  # characters of a sentence
COLUMN = 26  # characters of the names of options, before what they do


class Option(click.Option):
    """An option, and the heading that it stands under in the help of its command.

    Attributes:
        heading: any text; options of one heading stand together, where the first of them is.
    """

    def __init__(self, *names: Any, heading: str, **about: Any):
        super().__init__(*names, **about)
        self.heading = heading
        if self.metavar is None and isinstance(self.type, click.IntRange | click.FloatRange):
            self.metavar = "N" if isinstance(self.type, click.IntRange) else "X"

    def get_help_extra(self, ctx: click.Context) -> Any:
        """What click adds in brackets; a range is told by the letter that stands for the value."""
        extra = super().get_help_extra(ctx)
        if "range" in extra and self.metavar:
            extra["range"] = extra["range"].replace("x", self.metavar)
        return extra


option = partial(click.option, cls=Option)


class Page(click.HelpFormatter):
    """A page of help on which no line ends inside a name, as `--max-passes`, at its hyphen."""

    def write_dl(self, rows: Any, *args: Any, **kwargs: Any) -> None:
        """Write two columns."""
        super().write_dl([(name, _unbroken(text)) for name, text in rows], *args, **kwargs)

    def write_text(self, text: str) -> None:
        """Write paragraphs."""
        super().write_text(_unbroken(text))

    def getvalue(self) -> str:
        """The page, with hyphens that a person may copy."""
        return super().getvalue().replace(UNBROKEN, "-")


def _unbroken(text: str) -> str:
    return text.replace("-", UNBROKEN)


class Context(click.Context):
    """A context whose help is such a page."""

    formatter_class = Page


class Helpful(click.Command):
    """A command with such a page."""

    context_class = Context

    def get_short_help_str(self, limit: int = LONGEST) -> str:
        """The first sentence of its help, however long: a list of commands wraps it."""
        return super().get_short_help_str(LONGEST)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options below their headings; those that have none come last."""
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)):
                rows.setdefault(getattr(parameter, "heading", ""), []).append(row)
        width = min(COLUMN, max(len(name) for below in rows.values() for name, _ in below))
        others = rows.pop("", [])
        for heading, below in (*rows.items(), ("Others" if rows else "Options", others)):
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in below], col_max=COLUMN)
