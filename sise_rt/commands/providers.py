"""`sise-rt providers`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sise_rt.errors import SiseError
from sise_rt.running.provider import BF16, FP32
from sise_rt.wording import counted

from .bundle_path import BundlePath
from .command import Command
from .console import say
from .help_pages import WHAT, option

if TYPE_CHECKING:
    from sise_rt.running.engine import Engine
    from sise_rt.running.provider import Provider


@click.command(cls=Command)
@option(
    "-m",
    "--model",
    "bundle",
    heading=WHAT,
    metavar="BUNDLE",
    type=BundlePath(),
    help="Also measure how long a masked copy takes in each.",
)
def providers(bundle: Path | None) -> None:
    """List what can run models here, and how fast each is.

    That is what is installed, what the machine has, and, with a BUNDLE, how long a masked copy takes in each.

    \b
    Examples:
      sise-rt providers
      sise-rt providers -m model.sise
    """
    from sise_rt.running.machine import processor
    from sise_rt.running.plug_ins import devices
    from sise_rt.running.providers import choose, listed
    from sise_rt.running.sessions import available_threads

    lines: dict[str, str] = {}
    usable: dict[str, Provider] = {}
    for name in listed():
        try:
            usable[name] = choose(name)
            lines[name] = str(usable[name])
        except SiseError as error:
            lines[name] = f"no: {error}"
    cores = counted(available_threads(), "core")
    say(f"processor: {processor()}, {cores}", f"devices: {devices()}")
    if bundle is not None:
        times, failures = _measured(bundle, usable)
        fastest = min((took for row in times.values() for took in row.values()), default=0.0)
        for name, row in times.items():
            lines[name] += "".join(
                f"; {precision} {took:.1f} ms a mask{' (fastest)' if took == fastest else ''}"
                for precision, took in row.items()
            )
        for name, failure in failures.items():
            lines[name] = f"no: {failure}"
    say(*(f"{name:<10} {line}" for name, line in lines.items()))


def _measured(
    bundle: Path, usable: dict[str, Provider]
) -> tuple[dict[str, dict[str, float]], dict[str, SiseError]]:
    """Milliseconds a mask of each provider in each precision, and why others cannot run the bundle."""
    from sise_rt.errors import ModelError, ProviderError
    from sise_rt.running.speed import milliseconds

    engines: dict[tuple[str, str], Engine] = {}
    failures: dict[str, SiseError] = {}
    for name, provider in usable.items():
        try:
            for engine in _engines(bundle, name, provider):
                engines[name, engine.sessions.scored_in] = engine
        except (ProviderError, ModelError) as error:
            failures[name] = error
    times: dict[str, dict[str, float]] = {}
    for (name, precision), took in milliseconds(engines).items():
        times.setdefault(name, {})[precision] = took
    return times, failures


def _engines(bundle: Path, name: str, provider: Provider) -> Iterator[Engine]:
    """A bundle on a provider, in every precision that both have."""
    from sise_rt import load

    engine = load(bundle, name).engine
    yield engine
    if BF16 in provider.precisions and engine.manifest.precision == FP32:
        yield load(bundle, name, precision=BF16).engine
