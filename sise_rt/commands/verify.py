"""`sise-rt verify`."""

from __future__ import annotations

from pathlib import Path

import click

from sise_rt.errors import BundleError

from .command import Command
from .console import PROVIDER, THREADS, parity_line, say
from .signals import starting


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@PROVIDER
@THREADS
def verify(bundle: Path, provider: str, threads: int | None, oversubscribe: bool) -> None:
    """Check a bundle's hashes and schema, and measure its parity with the source again, without the source.

    \b
    Example:
      sise-rt verify resnet50.sise
    """
    with starting():
        from sise_rt import load
        from sise_rt.running.verify import failures, tolerances, verify

        explainer = load(bundle, provider, threads, oversubscribe=oversubscribe)
    manifest = explainer.manifest
    say(f"{len(manifest.files)} files match their hashes, schema {manifest.schema_version}")
    errors = verify(explainer.engine)
    say(parity_line(errors, tolerances(manifest)))
    if failed := failures(errors, tolerances(manifest)):
        raise BundleError(f"{bundle} does not give its source's numbers on this machine: {'; '.join(failed)}")
    say(f"{bundle} is sound on {explainer.engine.provider}")
