"""`sise-rt` itself: its subcommands, imported when they are asked for, and what every one ends with."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import click
from click.exceptions import NoArgsIsHelpError

from sise_rt.wording import reason

from .console import UNUSABLE, complain, say
from .help_pages import Context
from .signals import INTERRUPTED, interrupted

MODULES = {  # of the subcommands, in this package, in the order of a first use
    "demo": "demo",
    "export": "export",
    "inspect": "inspect",
    "accuracy": "accuracy",
    "amend": "amend",
    "verify": "verify",
    "explain": "explain",
    "evaluate": "evaluate",
    "augment": "augment",
    "serve": "serve",
    "methods": "methods",
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The subcommand that is called.

        Raises:
            click.UsageError: there is no such one; with those that are spelt much like it.
        """
        name = args[0]
        if name not in MODULES and not name.startswith("-") and not ctx.resilient_parsing:
            near = get_close_matches(name, MODULES, 1)
            help_with = f"did you mean {near[0]}?" if near else f"there are {', '.join(MODULES)}"
            ctx.fail(f"no command {name!r}: {help_with}")
        return super().resolve_command(ctx, args)


def _version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print the versions and end, where they were asked for."""
    if asked and not context.resilient_parsing:
        from .versions import versions

        say(*versions())
        context.exit()


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Say of what version all is, and which providers there are.",
)
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
    if isinstance(error, NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    elif isinstance(error, click.ClickException):
        if isinstance(error, click.UsageError) and error.ctx is not None:
            usage, path = error.ctx.get_usage(), error.ctx.command_path
            click.echo(f"{usage}\nTry '{path} --help' for help.\n", err=True)
        complain(error.format_message())
    elif isinstance(error, MemoryError):
        complain("out of memory")
    elif isinstance(error, OSError) and error.filename is not None:  # as of a name that is too long
        complain(f"{error.filename} cannot be read: {reason(error)}")
    elif isinstance(error, OSError):
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
