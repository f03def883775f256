"""`sise-rt amend`, thin over `sise_rt.amending`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .bundle_path import BundlePath
from .command import Command
from .console import say, warn
from .help_pages import WHAT, WHERE_TO, option
from .model_options import of_preprocessing
from .shared_options import QUIET
from .signals import starting

IN_THE_GRAPHS = "it is part of the graphs, which stay as they are: export the model again with it"


def _refuse_activation(_: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.BadParameter(IN_THE_GRAPHS, param=parameter)


@click.command(cls=Command)
@click.argument("bundle", type=BundlePath())
@option(
    "--labels",
    heading=WHAT,
    type=click.Path(path_type=Path),
    help="File with one label a line, JSON, or CSV with a heading.",
)
@option("--licence", heading=WHAT, help="Of the weights.")
@option("--name", heading=WHAT, help="Of the bundle in records.")
@of_preprocessing
@option("--activation", heading=WHAT, hidden=True, expose_value=False, callback=_refuse_activation)
@option(
    "-o",
    "--out",
    heading=WHERE_TO,
    type=click.Path(path_type=Path),
    help="The new bundle; by default NAME.amended.sise beside the old one, which stays.",
)
@option(
    "--overwrite",
    heading=WHERE_TO,
    is_flag=True,
    help="Replace the bundle that --out names, also BUNDLE itself.",
)
@QUIET
def amend(
    bundle: Path,
    out: Path | None,
    labels: Path | None,
    licence: str | None,
    name: str | None,
    overwrite: bool,
    quiet: bool,
    **preprocess: Any,
) -> None:
    """Change what a bundle says of its model, without a new export.

    The graphs stay as they are: what is in them (activation, blocks, input size, precision of the scores)
    takes a new export. What was assumed of a setting goes once it is stated. The new manifest, and every
    record of an explanation, tell what was amended.

    \b
    Examples:
      sise-rt amend model.sise --labels labels.txt
      sise-rt amend model.sise --color BGR --scale 1 --mean 104,117,123 --std 1
      sise-rt amend model.sise -o model.sise --overwrite --licence Apache-2.0
    """
    with starting():
        from sise_rt.amending import amend as amend_bundle

    amended = amend_bundle(
        bundle,
        out,
        labels=labels,
        preprocess=preprocess,
        licence=licence,
        name=name,
        overwrite=overwrite,
    )
    for note in amended.notes:
        say(note, err=True)
    for warning in amended.manifest.warnings:
        warn(warning)
    if quiet:
        return
    changed = amended.manifest.amended[-1]
    say(f"{amended.path}: amended {', '.join(changed.before)}")
    if changed.before.keys() & preprocess.keys():
        say(f"preprocessing: {amended.manifest.preprocess.sentence()}")
