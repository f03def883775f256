"""`sise-rt export` and `sise-rt inspect`, thin over `sise_rt.export`, which is imported when they run."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sise_rt.bundle import ACTIVATIONS, PRECISIONS
from sise_rt.wording import counted

from .command import Command, spelt, spelt_note
from .console import (
    QUIET,
    UNUSABLE,
    bit_depth,
    block_table,
    complain,
    described,
    parity_line,
    progress_bar,
    say,
    whole_number,
)
from .signals import starting


class Numbers(click.ParamType):
    """Comma-separated finite numbers, one a channel."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse `0.485,0.456,0.406`."""
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no comma-separated list of numbers", param, ctx)


class Size(click.ParamType):
    """`224`, or height x width as `240x320`."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse the size as (height, width)."""
        numbers = [whole_number(part) for part in str(value).lower().split("x")]
        height, width = numbers[0], numbers[-1]
        if len(numbers) > 2 or height is None or width is None:
            self.fail(f"{value!r} is no size: give 224, or height x width as 240x320", param, ctx)
        return height, width


def _names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


ACTIVATION = click.option(
    "--activation",
    type=click.Choice(ACTIVATIONS),
    help="What the outputs are: logits under a softmax (one label) or sigmoid (several), or none: the output "
    "itself is explained. Found out by default.",
)
OUTPUT_NAME = click.option(
    "--output", "output_name", metavar="NAME", help="Which output to explain, if there are several."
)
INPUT_SIZE = click.option(
    "--input-size", type=Size(), help="224 or HEIGHTxWIDTH, where the model leaves it free."
)
BLOCKS = click.option(
    "--blocks",
    metavar="A,B,C",
    callback=_names,
    help="Block outputs: tensor names, or module names of a torch model. Found by default.",
)


@click.command(cls=Command)
@click.argument("source")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The bundle, a folder; by default NAME.sise here."
)
@click.option("--weights", metavar="FILE|DEFAULT|none", help="For torchvision:, timm: and factories.")
@ACTIVATION
@click.option("--labels", type=click.Path(path_type=Path), help="File with one label a line.")
@BLOCKS
@OUTPUT_NAME
@INPUT_SIZE
@click.option(
    "--mean",
    type=Numbers(),
    help="One a channel, after --scale, in the order of --color; as 0.485,0.456,0.406.",
)
@click.option("--std", type=Numbers(), help="One a channel, after --scale.")
@click.option("--scale", type=float, help="Pixels are divided by it: 255 for [0, 1], 1 for none.")
@bit_depth("Of the pixels that the model was trained on, 8 by default; --scale is then 2^N - 1 by default.")
@click.option("--crop-pct", type=float, help="Share of the resized side that is cropped, as 0.875.")
@click.option("--crop-mode", type=click.Choice(["center", "squash"]), help="squash ignores the aspect ratio.")
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]))
@click.option(
    "--color", type=click.Choice(["RGB", "BGR", "GRAY"], case_sensitive=False), help="Channel order."
)
@click.option(
    "--without-gradients",
    is_flag=True,
    help="For a model with an operator that has no gradient rule: all maps are kept, none is selected.",
)
@click.option("--licence", help="Of the weights, kept in the bundle.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Of the network where masked copies are scored; fp16 is for GPUs, and needs --gate-images.",
)
@click.option(
    "--gate-images",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Pictures of the kind that the model is for; fp16 is refused if it changes their explanations.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
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
    overwrite: bool,
    quiet: bool,
    **preprocess: Any,
) -> None:
    """Export a trained CNN to a bundle.

    SOURCE is model.onnx, torchvision:NAME, timm:NAME, or package.module:factory (a function that returns a
    torch.nn.Module). What is not given comes from the source's own metadata, else from ImageNet's convention,
    and is printed and recorded as assumed.

    \b
    Examples:
      sise-rt export model.onnx -o model.sise --labels labels.txt
      sise-rt export torchvision:resnet50 --weights DEFAULT
      sise-rt export timm:regnety_004 --weights finetuned.safetensors --labels labels.txt
      sise-rt export model.onnx --precision fp16 --gate-images photos/
    """
    with starting():
        from sise_rt.export import export as export_bundle
        from sise_rt.export.proof.parity import allowed_errors

        _import_torch_for(source)
    out = out or Path(f"{Path(source.rpartition(':')[2]).name.removesuffix('.onnx')}.sise")
    with progress_bar("explaining in both precisions", hidden=quiet or gate_images is None) as progress:
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
        say(f"warning: {warning}", err=True)
    if quiet:
        return
    for note in report.notes:
        say(spelt_note(note), err=True)
    say(*described(report.manifest, report.path))
    parity = report.manifest.parity
    allowed = allowed_errors(parity.quantised, report.manifest.precision)
    say(parity_line(parity.errors, allowed))
    if gate := parity.gate:
        say(
            f"fp16 against fp32 on {counted(gate.images, 'picture')}: explanations correlate at "
            f"{gate.correlation:.4f} in the mean, {gate.lowest_correlation:.4f} at worst; Jaccard "
            f"index of kept maps {gate.jaccard:.4f}; largest value inside the network {gate.peak:.3g}"
        )


@click.command(cls=Command)
@click.argument("source", metavar="BUNDLE|SOURCE")
@click.option("--weights", metavar="FILE|DEFAULT|none", help="For torchvision: and timm:, random by default.")
@ACTIVATION
@BLOCKS
@OUTPUT_NAME
@INPUT_SIZE
def inspect(
    source: str,
    weights: str | None,
    activation: str | None,
    blocks: list[str] | None,
    output_name: str | None,
    input_size: tuple[int, int] | None,
) -> None:
    """Show the blocks of a bundle or a model, and what an export would refuse and why.

    \b
    Examples:
      sise-rt inspect resnet50.sise
      sise-rt inspect model.onnx
      sise-rt inspect torchvision:resnet50
    """
    path = Path(source)
    if path.is_dir() or path.suffix == ".sise":
        from sise_rt.bundle import read_bundle

        manifest = read_bundle(path)
        say(*described(manifest, path))
        settings = manifest.preprocess
        say(
            f"preprocessing: {settings.crop_mode} crop {settings.crop_pct:g}, {settings.interpolation}, "
            f"{settings.color}, {settings.bit_depth} bits, scale {settings.scale:g}, mean {settings.mean}, "
            f"std {settings.std}"
        )
        if manifest.precision == "fp16":
            say("scores: the network in fp16, all else in fp32")
        if not manifest.has_gradients:
            say("gradients: none (exported --without-gradients): every map that is not flat is a mask")
        origin = [f"{key} {value}" for key, value in asdict(manifest.source).items() if value]
        say(f"source: {', '.join(origin) or 'unknown'}")
        say(f"licence: {manifest.licence or 'unknown'}")
        for note in manifest.assumed:
            say(f"assumed: {note}")
        for warning in manifest.warnings:
            say(f"warning: {warning}")
        return
    with starting():
        from sise_rt.export.examine import examine

        _import_torch_for(source)
    examination = examine(
        source,
        weights=weights,
        activation=activation,
        output_name=output_name,
        input_size=input_size,
        blocks=blocks,
    )
    if examination.size:
        classes = counted(examination.classes or 0, "class", "classes")
        say(f"input {'x'.join(map(str, examination.size))}, {classes}, {examination.activation}")
    if examination.blocks:
        say(*block_table(examination.blocks))
    for note in examination.notes:
        say(spelt_note(note))
    for warning in examination.warnings:
        say(f"warning: {warning}", err=True)
    for refusal in examination.refusals:
        complain(spelt(refusal))
    if examination.only_gradients:
        say(f"all other steps work: sise-rt export {source} --without-gradients")
    if examination.refusals:
        raise SystemExit(UNUSABLE)
    say(f"can be exported: sise-rt export {source}")


def _import_torch_for(source: str) -> None:
    """Import torch where the source will need it: seconds in which a Ctrl-C can end the process at once."""
    path = Path(source)
    if ":" in source and path.suffix != ".onnx" and not path.is_file():
        import_module("sise_rt.export.intake.from_torch")
