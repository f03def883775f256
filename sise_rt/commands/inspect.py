"""`sise-rt inspect`, thin over `sise_rt.export.examine`, which is imported when a model is looked at."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sise_rt.bundle import MANIFEST, read_bundle
from sise_rt.wording import counted

from .command import Command, spelt, spelt_note
from .console import UNUSABLE, block_table, complain, described, say, warn
from .help_pages import WHAT, option
from .model_options import import_torch_for, of_model
from .signals import starting


@click.command(cls=Command)
@click.argument("source", metavar="BUNDLE|SOURCE")
@option(
    "--weights",
    heading=WHAT,
    metavar="FILE|DEFAULT|none",
    help="For torchvision: and timm:, random by default.",
)
@option(
    "--classes",
    "only_classes",
    heading=WHAT,
    is_flag=True,
    help="Of a bundle: only its classes, an index and a label a line.",
)
@of_model
def inspect(
    source: str,
    only_classes: bool,
    weights: str | None,
    activation: str | None,
    labels: Path | None,
    blocks: list[str] | None,
    output_name: str | None,
    input_size: tuple[int, int] | None,
    **preprocess: Any,
) -> None:
    """Show what a bundle holds, or whether a model can be exported.

    Of a model these are its blocks, what an export would assume, and what it would refuse and why.

    \b
    Examples:
      sise-rt inspect resnet50.sise
      sise-rt inspect resnet50.sise --classes | grep cat
      sise-rt inspect model.onnx
      sise-rt inspect resnet-50/
      sise-rt inspect torchvision:resnet50
    """
    path = Path(source)
    if path.suffix == ".sise" or (path / MANIFEST).is_file():
        _refuse_options(source)
        (_show_classes if only_classes else _show_bundle)(path)
        return
    if only_classes:
        raise click.UsageError(f"{source} is no bundle, whose classes could be shown: export it first")
    with starting():
        from sise_rt.export.examine import examine

        import_torch_for(source)
    examination = examine(
        source,
        weights=weights,
        activation=activation,
        labels=labels,
        output_name=output_name,
        input_size=input_size,
        preprocess=preprocess,
        blocks=blocks,
    )
    if examination.size:
        classes = counted(examination.classes or 0, "class", "classes")
        say(f"input {'x'.join(map(str, examination.size))}, {classes}, {examination.activation}")
    if examination.blocks:
        say(*block_table(examination.blocks))
    for note in examination.notes:
        say(spelt_note(note))
    if examination.preprocess:
        say(f"preprocessing: {examination.preprocess.sentence()}")
    for warning in examination.warnings:
        warn(warning)
    for refusal in examination.refusals:
        complain(spelt(refusal))
    if examination.only_gradients:
        say(f"all other steps work: sise-rt export {shlex.quote(source)} --without-gradients")
    if examination.refusals:
        raise SystemExit(UNUSABLE)
    say(f"can be exported: sise-rt export {shlex.quote(source)}")


def _refuse_options(bundle: str) -> None:
    """Refuse options where a bundle is shown, which says all of it itself."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if isinstance(parameter, click.Option)
        and parameter.name not in (None, "only_classes")
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        verb = "says" if len(given) == 1 else "say"
        raise click.UsageError(
            f"{bundle} is a bundle, which is shown as it is: {', '.join(given)} {verb} nothing to it"
        )


def _show_classes(path: Path) -> None:
    """Print the index and, where it is known, the label of every class."""
    manifest = read_bundle(path)
    say(
        *(
            f"{index} {manifest.labels[index]}" if manifest.labels else f"{index}"
            for index in range(manifest.classes)
        )
    )


def _show_bundle(path: Path) -> None:
    """Print what a bundle says of itself."""
    manifest = read_bundle(path)
    say(*described(manifest, path))
    say(f"preprocessing: {manifest.preprocess.sentence()}")
    if manifest.precision == "fp16":
        say("scores: the network in fp16, all else in fp32")
    if not manifest.has_gradients:
        say("gradients: none (exported --without-gradients): every map that is not flat is a mask")
    origin = [f"{key} {value}" for key, value in asdict(manifest.source).items() if value]
    say(f"source: {', '.join(origin) or 'unknown'}")
    say(f"licence: {manifest.licence or 'unknown'}")
    for line in manifest.described:
        say(line)
    for entry in manifest.amended:
        say(f"amended {entry.time}: {', '.join(entry.before)}")
    for note in manifest.assumed:
        say(f"assumed: {note}")
    for warning in manifest.warnings:
        warn(warning, err=False)
