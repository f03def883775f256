"""`sise-rt methods`."""

from __future__ import annotations

import sys
from typing import Any

import click

from .command import Command


@click.command(cls=Command)
def methods() -> None:
    """List the methods of explain and evaluate, and their options.

    \b
    Example:
      sise-rt methods
    """
    from sise_rt.methods import METHODS, settings_of

    for name, method in METHODS.items():
        what = next(iter((sys.modules[method.__module__].__doc__ or "").splitlines()), "")
        options = [f"{key}={_shown(key, value)}" for key, value in settings_of(name).items()]
        click.echo(f"{name:22} {what}")
        if options:
            click.echo(f"{'':22} options: {':'.join(options)}")


def _shown(key: str, value: Any) -> str:
    """An option's default, and what else it may be, as it is typed."""
    from sise_rt.methods import CHOICES

    if isinstance(value, tuple):
        return "+".join(map(str, value))
    others = [choice for choice in CHOICES.get(key, ()) if choice != value]
    return "|".join([str(value), *others])
