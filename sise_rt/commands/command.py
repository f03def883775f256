"""What every subcommand of `sise-rt` is: a click command that tells an error in the words of its options."""

from __future__ import annotations

from typing import Any

import click

from sise_rt.errors import SiseError
from sise_rt.wording import Note

from .console import UNUSABLE
from .help_pages import Helpful
from .signals import interrupt, on_interrupt

# Options that say the opposite of the argument that they stand for.
OPPOSITES = {"gradients": "--without-gradients"}


class Refusal(click.ClickException):
    """What a command cannot do, in one line on standard error."""

    exit_code = UNUSABLE


class Command(Helpful):
    """A subcommand, whose errors name its options."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it, and raise KeyboardInterrupt at a Ctrl-C.

        Raises:
            Refusal: for every error of sise-rt that the command does not take itself.
        """
        try:
            with on_interrupt(interrupt):
                return super().invoke(ctx)
        except SiseError as error:
            raise Refusal(spelt(error)) from error


def spelt(error: SiseError) -> str:
    """An error's message, and the running command's options for the settings that it is about."""
    return error.told(_options().get)


def spelt_note(note: Note) -> str:
    """A note, and the running command's option that would make it another one."""
    option = note.setting and _options().get(note.setting)
    return f"{note} (see {option})" if option else note


def _options() -> dict[str, str]:
    """The running command's options by the names of arguments in Python; the first of several spellings."""
    options: dict[str, str] = {}
    for parameter in click.get_current_context().command.params:
        for name in parameter.opts:
            if name.startswith("--"):
                options.setdefault(name[2:].replace("-", "_"), name)
                options.setdefault(str(parameter.name), name)
    own = {setting: option for setting, option in OPPOSITES.items() if option in options.values()}
    return options | own
