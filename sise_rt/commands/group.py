"""`sise-rt` itself: its subcommands, imported when they are asked for, and what every one ends with."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from sise_rt.wording import printable, reason, short

from .console import UNUSABLE, complain
from .help_pages import Context
from .signals import INTERRUPTED, interrupted

MODULES = {  # of the subcommands, in this package
    "demo": "demo",
    "export": "export",
    "inspect": "inspect",
    "verify": "verify",
    "explain": "explain",
    "methods": "methods",
    "evaluate": "evaluate",
    "providers": "providers",
}


class Group(click.Group):
    """Subcommands that are imported when they are asked for."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, as the help has them."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A subcommand, None where there is no such one."""
        if cmd_name not in MODULES:
            return None
        return getattr(import_module(f".{MODULES[cmd_name]}", __package__), cmd_name)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sise-rt")
def cli() -> None:
    """Explain what a deployed CNN looked at, on ONNX Runtime alone.

    Export a model once; from then on its bundle explains single predictions without any training framework.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command, with the process's arguments by default; gives its exit code.

    0 done, 1 images failed, 2 wrong use or unusable model, 130 interrupted.
    """
    interrupted()  # forgets what ended an earlier one in this process
    _open_standard_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        cli.main(arguments, prog_name="sise-rt", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except BaseException as error:
        if interrupted() or isinstance(error, KeyboardInterrupt | click.Abort):
            complain("interrupted; what was finished is kept")
            return INTERRUPTED
        return _told(error)


def _told(error: BaseException) -> int:
    """Say in one line what ended the command; gives the exit code, and raises what nobody expected."""
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    if isinstance(error, click.ClickException):
        error.message = short(printable(error.message))  # type: ignore[misc]  # click has no other way in
        error.show()
    elif isinstance(error, MemoryError):
        complain("out of memory")
    elif isinstance(error, OSError):  # what concerns a file of the user's has been told before
        complain(f"standard output cannot be written ({reason(error)}); what was finished is kept")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail again
    else:
        raise error
    return UNUSABLE


def _open_standard_streams() -> None:
    """Give a closed standard stream to the null device, before the next file takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
