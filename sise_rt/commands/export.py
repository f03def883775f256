"""`sise-rt export`, thin over `sise_rt.export`, which is imported when it runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sise_rt.bundle import PRECISIONS
from sise_rt.manifest import PIXELS
from sise_rt.wording import counted

from .accuracy import tell_accuracy
from .command import Command, spelt_note
from .console import described, parity_line, say, warn
from .help_pages import HOW, WHAT, WHERE_TO, option
from .model_options import import_torch_for, of_model
from .progress import Progress
from .shared_options import QUIET
from .signals import starting
from .single_file import single_file_options

if TYPE_CHECKING:
    from sise_rt.export import Report


@click.command(cls=Command)
@click.argument("source")
@option(
    "--weights",
    heading=WHAT,
    metavar="FILE|DEFAULT|none",
    help="For torchvision:, timm: and factories.",
)
@option("--licence", heading=WHAT, metavar="TEXT", help="Of the weights, kept in the bundle.")
@of_model
@option(
    "--without-gradients",
    heading=HOW,
    is_flag=True,
    help="For a model with an operator that has no gradient rule: all maps are kept, none is selected.",
)
@option(
    "--precision",
    heading=HOW,
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Of the network where masked copies are scored; fp16 is for GPUs, and needs --gate-images.",
)
@option(
    "--gate-images",
    heading=HOW,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Pictures of the kind that the model is for; fp16 is refused if it changes their explanations.",
)
@option(
    "--check-images",
    heading=HOW,
    metavar="FOLDER|CSV",
    type=click.Path(path_type=Path),
    help="Labelled pictures: how often the bundle is right, and whether another preprocessing is better; "
    "see sise-rt accuracy.",
)
@option(
    "-o",
    "--out",
    heading=WHERE_TO,
    type=click.Path(path_type=Path),
    help="The bundle, a folder; by default NAME.sise here.",
)
@option("--overwrite", heading=WHERE_TO, is_flag=True, help="Replace an existing bundle.")
@single_file_options
@QUIET
def export(
    source: str,
    out: Path | None,
    weights: str | None,
    activation: str | None,
    labels: Path | None,
    blocks: list[str] | None,
    output_name: str | None,
    input_size: tuple[int, int] | None,
    without_gradients: bool,
    licence: str | None,
    precision: str,
    gate_images: Path | None,
    check_images: Path | None,
    overwrite: bool,
    quiet: bool,
    **preprocess: Any,
) -> None:
    """Export a trained CNN to a bundle.

    SOURCE is model.onnx, the folder of a published model, torchvision:NAME, timm:NAME, or
    package.module:factory (a function that returns a torch.nn.Module). What is not given comes from the
    model's own files, which are named, else from ImageNet's convention, and is printed and recorded as
    assumed.

    \b
    Examples:
      sise-rt export model.onnx -o model.sise --labels labels.txt
      sise-rt export resnet-50/
      sise-rt export torchvision:resnet50 --weights DEFAULT
      sise-rt export timm:regnety_004 --weights tuned.safetensors
      sise-rt export model.onnx --check-images photos/
      sise-rt export model.onnx --precision fp16 --gate-images photos/
      sise-rt export model.onnx --single-file -o explain.onnx
    """
    with starting():
        from sise_rt import load
        from sise_rt.evaluation.datasets import read_labelled
        from sise_rt.export import export as export_bundle

        import_torch_for(source)
        dataset = None if check_images is None else read_labelled(check_images)
    out = out or Path(f"{_name(source)}.sise")
    with Progress(hidden=quiet or gate_images is None).of("explaining in both precisions") as progress:
        report = export_bundle(
            source,
            out,
            weights=weights,
            activation=activation,
            labels=labels,
            blocks=blocks,
            gradients=not without_gradients,
            output_name=output_name,
            input_size=input_size,
            preprocess=preprocess,
            licence=licence,
            precision=precision,
            gate_images=gate_images,
            progress=progress,
            overwrite=overwrite,
        )
    for warning in report.warnings:
        warn(warning)
    if not quiet:
        _tell(report)
    if dataset is not None:
        tell_accuracy(load(out), out, dataset, quiet=quiet)
    elif not quiet and report.manifest.activation != "none" and report.manifest.assumes(*PIXELS):
        say(f"its preprocessing is assumed; labelled pictures tell whether it is right: {_accuracy(out)}")


def _tell(report: Report) -> None:
    """Print what was made, and how far it can be relied on."""
    from sise_rt.export.proof.parity import allowed_errors

    for note in report.notes:
        say(spelt_note(note), err=True)
    say(*described(report.manifest, report.path))
    say(f"preprocessing: {report.manifest.preprocess.sentence()}")
    parity = report.manifest.parity
    allowed = allowed_errors(parity.quantised, report.manifest.precision)
    say(parity_line(parity.errors, allowed))
    if gate := parity.gate:
        say(
            f"fp16 against fp32 on {counted(gate.images, 'picture')}: explanations correlate at "
            f"{gate.correlation:.4f} in the mean, {gate.lowest_correlation:.4f} at worst; Jaccard "
            f"index of kept maps {gate.jaccard:.4f}; largest value inside the network {gate.peak:.3g}"
        )


def _accuracy(bundle: Path) -> str:
    """The command that tells whether a bundle's preprocessing is right."""
    return f"sise-rt accuracy {shlex.quote(str(bundle))} PHOTOS"


def _name(source: str) -> str:
    """What a bundle is called by its source."""
    path = Path(source)
    if path.is_dir():
        return path.resolve().name
    return Path(source.rpartition(":")[2]).name.removesuffix(".onnx")
