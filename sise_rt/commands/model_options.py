"""Options that say of a model what it does not say itself; the same for `export` and `inspect`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sise_rt.bundle import ACTIVATIONS
from sise_rt.preprocessing import CROP_MODES, INTERPOLATIONS

from .console import bit_depth, whole_number


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
    click.option(
        "--activation",
        type=click.Choice(ACTIVATIONS),
        help="What the outputs are: logits under a softmax (one label) or sigmoid (several), or none: the "
        "output itself is explained. Found out by default.",
    ),
    click.option("--labels", type=click.Path(path_type=Path), help="File with one label a line."),
    click.option(
        "--blocks",
        metavar="A,B,C",
        callback=_names,
        help="Block outputs: tensor names, or module names of a torch model. Found by default.",
    ),
    click.option(
        "--output", "output_name", metavar="NAME", help="Which output to explain, if there are several."
    ),
    click.option("--input-size", type=Size(), help="224 or HEIGHTxWIDTH, where the model leaves it free."),
    click.option(
        "--mean",
        type=Numbers(),
        help="One a channel, after --scale, in the order of --color; as 0.485,0.456,0.406.",
    ),
    click.option("--std", type=Numbers(), help="One a channel, after --scale."),
    click.option("--scale", type=float, help="Pixels are divided by it: 255 for [0, 1], 1 for none."),
    bit_depth(
        "Of the pixels that the model was trained on, 8 by default; --scale is then 2^N - 1 by default."
    ),
    click.option("--crop-pct", type=float, help="Share of the resized side that is cropped, as 0.875."),
    click.option("--crop-mode", type=click.Choice(CROP_MODES), help="squash ignores the aspect ratio."),
    click.option("--interpolation", type=click.Choice(INTERPOLATIONS)),
    click.option(
        "--color", type=click.Choice(["RGB", "BGR", "GRAY"], case_sensitive=False), help="Channel order."
    ),
)


def of_model(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command with the options of a model: those of preprocessing arrive as further keywords."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def import_torch_for(source: str) -> None:
    """Import torch where the source will need it: seconds in which a Ctrl-C can end the process at once."""
    path = Path(source)
    if ":" in source and path.suffix != ".onnx" and not path.is_file():
        import_module("sise_rt.export.intake.from_torch")
