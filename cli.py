"""The way into the `sise-rt` command, which imports nothing before a Ctrl-C is taken."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in a process of its own, which ends with its exit code."""
    try:
        from sise_rt.commands.signals import take_signals

        take_signals()
    except KeyboardInterrupt:
        sys.exit(130)
    import warnings

    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries warn of, as of odd pictures, is none of our output
    from sise_rt.commands.group import run

    sys.exit(run())
