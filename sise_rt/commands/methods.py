"""`sise-rt methods`."""

from __future__ import annotations

import click

from sise_rt.methods import METHODS, Option

from .command import Command
from .console import say


@click.command(cls=Command)
def methods() -> None:
    """List the methods of explain and evaluate, and their options.

    \b
    Example:
      sise-rt methods
    """
    for name, method in METHODS.items():
        say(f"{name:22} {method.help}")
        for option in method.options:
            off = f" {option.default} is {option.off}." if option.off else ""
            say(f"  {_typed(option):30} {option.help}{off}")


def _typed(option: Option) -> str:
    """An option with its default, and what else it may be, as it is typed."""
    if isinstance(option.default, tuple):
        return f"{option.name}={'+'.join(map(str, option.default))}"
    others = (choice for choice in option.choices if choice != option.default)
    return f"{option.name}={'|'.join([str(option.default), *others])}"
