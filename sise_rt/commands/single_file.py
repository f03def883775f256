"""`sise-rt export --single-file`: one ONNX file that explains its own predictions."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sise_rt.wording import counted, in_bytes

from .command import spelt_note
from .console import parity_line, say, warn
from .help_pages import HOW, option
from .model_options import import_torch_for
from .signals import starting

if TYPE_CHECKING:
    from sise_rt.export.single_file import SingleFileReport

METHODS = ("sise", "grad-cam", "grad-cam++")
OF_BUNDLES = ("without_gradients", "precision", "gate_images", "check_images")
OPTIONS = (
    option(
        "--single-file",
        heading=HOW,
        is_flag=True,
        help="Instead of a bundle, one ONNX file that gives its own explanation, in any language: by default "
        "explain.onnx here. SOURCE may be a bundle too.",
    ),
    option(
        "--method",
        heading=HOW,
        type=click.Choice(METHODS),
        default=METHODS[0],
        show_default=True,
        help="Of a single file; the gradient CAMs take one forward and one backward pass.",
    ),
    option(
        "--with-preprocessing",
        heading=HOW,
        is_flag=True,
        help="A single file takes pixels of a picture of any size, and prepares them itself.",
    ),
    option(
        "--required-inputs",
        heading=HOW,
        is_flag=True,
        help="Target, mu and max_masks of a single file have no defaults, for languages whose ONNX Runtime "
        "cannot give an input that has one, as JavaScript.",
    ),
)


def single_file_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let `export` write a single file as well."""

    @wraps(command)
    def either(
        *, single_file: bool, method: str, with_preprocessing: bool, required_inputs: bool, **given: Any
    ) -> None:
        if single_file:
            _refuse(OF_BUNDLES, "is of bundles, and does not go with --single-file")
            for name in OF_BUNDLES:
                del given[name]
            write_single_file(
                **given,
                method=method,
                preprocessing_inside=with_preprocessing,
                required_inputs=required_inputs,
            )
        else:
            _refuse(("method", "with_preprocessing", "required_inputs"), "goes with --single-file")
            command(**given)

    for add in reversed(OPTIONS):
        either = add(either)
    return either


def _refuse(names: tuple[str, ...], why: str) -> None:
    """Refuse options that are given.

    Raises:
        click.UsageError: names the first.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if parameter.name in names and given:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def write_single_file(source: str, out: Path | None, *, quiet: bool, **given: Any) -> None:
    """Export a model, or the model of a bundle, to a single file, and tell what was made.

    `given` are the arguments of `export_single_file`, those of preprocessing among them.
    """
    with starting():
        from sise_rt.export.single_file import export_single_file

        import_torch_for(source)
    own = "weights activation labels blocks output_name input_size licence overwrite method".split()
    own += ["preprocessing_inside", "required_inputs"]
    arguments = {name: given.pop(name) for name in own}
    preprocess = {name: value for name, value in given.items() if value is not None}
    report = export_single_file(
        source, out or Path("explain.onnx"), preprocess=preprocess or None, **arguments
    )
    for warning in report.warnings:
        warn(warning)
    if not quiet:
        _tell(report)


def _tell(report: SingleFileReport) -> None:
    """Print what was made, and how far it can be relied on."""
    from dataclasses import asdict

    from sise_rt.export.proof.one_graph import ALLOWED
    from sise_rt.export.proof.parity import allowed_errors

    for note in report.notes:
        say(spelt_note(note), err=True)
    facts, parity = report.facts, report.manifest.parity
    blocks = counted(len(facts.blocks), "block")
    say(f"{report.path}: {in_bytes(report.size)}, explains by {facts.method}, {blocks}")
    if not facts.picture:
        say(f"preprocessing, which is the caller's: {facts.preprocessing.sentence()}")
    say(parity_line(parity.errors, allowed_errors(parity.quantised, "fp32")))
    say("against the runtime: " + parity_line(asdict(report.difference), ALLOWED))
