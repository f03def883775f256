"""Options that say of a model what it does not say itself: of `export`, `inspect` and `amend`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sise_rt.bundle import ACTIVATIONS
from sise_rt.preprocessing import CROP_MODES, INTERPOLATIONS

from .help_pages import WHAT, option
from .shared_options import bit_depth, whole_number

PREPROCESSING = "Preprocessing, where the model does not say it itself"


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


OPTIONS = (
    option(
        "--activation",
        heading=WHAT,
        type=click.Choice(ACTIVATIONS),
        help="What the outputs are: logits under a softmax (one label) or sigmoid (several), or none: the "
        "output itself is explained. Found out by default.",
    ),
    option(
        "--labels",
        heading=WHAT,
        type=click.Path(path_type=Path),
        help="File of labels: one a line, JSON, or CSV with a heading.",
    ),
    option(
        "--blocks",
        heading=WHAT,
        metavar="A,B,C",
        callback=_names,
        help="Block outputs: tensor names, or module names of a torch model. Found by default.",
    ),
    option(
        "--output",
        "output_name",
        heading=WHAT,
        metavar="NAME",
        help="Which output to explain, if there are several.",
    ),
    option(
        "--input-size",
        heading=PREPROCESSING,
        type=Size(),
        help="224 or HEIGHTxWIDTH, where the model leaves it free.",
    ),
)
OF_PREPROCESSING = (
    option(
        "--mean",
        heading=PREPROCESSING,
        type=Numbers(),
        help="One a channel, after --scale, in the order of --color; as 0.485,0.456,0.406.",
    ),
    option("--std", heading=PREPROCESSING, type=Numbers(), help="One a channel, after --scale."),
    option(
        "--scale",
        heading=PREPROCESSING,
        type=float,
        metavar="X",
        help="Pixels are divided by it: 255 for [0, 1], 1 for none.",
    ),
    bit_depth(
        PREPROCESSING,
        "Of the pixels that the model was trained on, 8 by default; --scale is then 2^N - 1 by default.",
    ),
    option(
        "--crop-pct",
        heading=PREPROCESSING,
        type=float,
        metavar="X",
        help="Share of the resized side that is cropped, as 0.875.",
    ),
    option(
        "--crop-mode",
        heading=PREPROCESSING,
        type=click.Choice(CROP_MODES),
        help="How a picture of another shape fits; squash ignores the aspect ratio.",
    ),
    option(
        "--interpolation",
        heading=PREPROCESSING,
        type=click.Choice(INTERPOLATIONS),
        help="How a picture is resized.",
    ),
    option(
        "--color",
        heading=PREPROCESSING,
        type=click.Choice(["RGB", "BGR", "GRAY"], case_sensitive=False),
        help="Order of the channels.",
    ),
)


def of_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the options of a model: those of preprocessing arrive as further keywords."""
    for decorate in reversed((*OPTIONS, *OF_PREPROCESSING)):
        command = decorate(command)
    return command


def of_preprocessing(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the options of preprocessing alone."""
    for decorate in reversed(OF_PREPROCESSING):
        command = decorate(command)
    return command


def import_torch_for(source: str) -> None:
    """Import torch where the source will need it: seconds in which a Ctrl-C can end the process at once."""
    path = Path(source)
    if ":" in source and path.suffix != ".onnx" and not path.is_file():
        import_module("sise_rt.export.intake.from_torch")
