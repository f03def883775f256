"""The `sise-rt` command: its subcommands, and what every one of them ends with."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

import click

from sise_rt.commands.console import INTERRUPTED, UNUSABLE, complain
from sise_rt.commands.demo import demo
from sise_rt.commands.evaluate import evaluate
from sise_rt.commands.explain import explain
from sise_rt.commands.export import export, inspect
from sise_rt.commands.methods import methods
from sise_rt.commands.verify import verify
from sise_rt.wording import printable, short


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sise-rt")
def cli() -> None:
    """Explain what a deployed CNN looked at, on ONNX Runtime alone.

    Export a model once; from then on its bundle explains single predictions without any training framework.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 images failed, 2 wrong use or unusable model, 130 interrupted."""
    _open_standard_streams()
    # An exception, so that half-made files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        cli.main(arguments, prog_name="sise-rt", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(0)
    except click.ClickException as error:
        error.message = short(printable(error.message))  # type: ignore[misc]  # click has no other way in
        error.show()
        sys.exit(UNUSABLE)
    except MemoryError:
        complain("out of memory")
        sys.exit(UNUSABLE)
    except OSError as error:  # what concerns a file of the user's has been told before
        complain(f"standard output cannot be written ({error}); what was finished is kept")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left would fail again
        sys.exit(UNUSABLE)
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; what was finished is kept")
        sys.exit(INTERRUPTED)


def _open_standard_streams() -> None:
    """Give a closed standard stream to the null device, before the next file takes its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


for command in (demo, export, inspect, verify, explain, methods, evaluate):
    cli.add_command(command)
