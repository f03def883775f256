"""The options of how explanations are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
import numpy as np

from sise_rt.comparing import compare as compare_classes
from sise_rt.drawing.palettes import INFERNO, PALETTES
from sise_rt.drawing.sizes import SIZE, SIZES
from sise_rt.explanation import Explanation

from .help_pages import DRAWN, option
from .shared_options import grouped


@dataclass(frozen=True)
class Drawing:
    """How explanations are drawn.

    Attributes:
        draw: makes the PNG of an explanation and its picture, as `Explanation.save` takes it.
        compare: draws two explanations of one picture side by side; None where that is not wanted.
        settings: what was asked for, in plain values.
    """

    draw: Callable[[Explanation, Any], bytes]
    compare: Callable[[Explanation, Explanation], np.ndarray] | None
    settings: dict[str, Any]


class Outline(click.ParamType):
    """A share of the highest value, or `none`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Parse to None for `none`."""
        if value is None or isinstance(value, float) or value == "none":
            return value if isinstance(value, float) else None
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:  # so phrased, because NaN compares false
            self.fail(f"{value!r} is neither none nor a number above 0 and at most 1", param, ctx)
        return share


def _drawing(*, plain: bool, transparent: bool, compare: bool, **look: Any) -> Drawing:
    settings = look | {"plain": plain, "transparent": transparent, "compare": compare}
    side_by_side = partial(compare_classes, **look) if compare else None
    return Drawing(_draw(look, plain, transparent, compare), side_by_side, settings)


def _draw(look: dict[str, Any], plain: bool, transparent: bool, compare: bool) -> Callable[..., bytes]:
    """What makes the PNG of an explanation and its picture; what that does not take, a comparison does.

    Raises:
        click.UsageError: two options contradict each other.
    """
    if plain and transparent:
        raise click.UsageError("--plain and --transparent are two ways to draw: give one of them")
    context = click.get_current_context()
    given = [name for name in look if not compare and context.get_parameter_source(name) is not _DEFAULT]
    takes = {"--plain": ("outline", "palette"), "--transparent": ("palette",)}
    for flag in [name for name, is_set in (("--plain", plain), ("--transparent", transparent)) if is_set]:
        if without := [name for name in given if name not in takes[flag]]:
            raise click.UsageError(f"--{without[0]} says nothing to {flag}")
    if transparent:
        return partial(_transparent, palette=look["palette"])
    if plain:
        return partial(Explanation.plain_png, outline=look["outline"], palette=look["palette"])
    return partial(Explanation.png, **look)


_DEFAULT = click.core.ParameterSource.DEFAULT


def _transparent(explanation: Explanation, _: Any, *, palette: str) -> bytes:
    return explanation.transparent_png(palette=palette)


DRAWING = grouped(
    "drawing",
    _drawing,
    option(
        "--size",
        heading=DRAWN,
        type=click.IntRange(*SIZES),
        default=SIZE,
        show_default=True,
        help="Pixels that the short side of the picture is drawn in, at least.",
    ),
    option(
        "--outline",
        heading=DRAWN,
        type=Outline(),
        metavar="SHARE|none",
        default="0.5",
        show_default=True,
        help="Draw a line around what mattered at least that share of the most.",
    ),
    option(
        "--palette",
        heading=DRAWN,
        type=click.Choice(list(PALETTES)),
        default=INFERNO,
        show_default=True,
        help="Colours of the map; all are safe for colour-blind readers.",
    ),
    option("--plain", heading=DRAWN, is_flag=True, help="Without words, and in the picture's own size."),
    option("--transparent", heading=DRAWN, is_flag=True, help="The map alone, to be laid over the picture."),
    option(
        "--compare",
        heading=DRAWN,
        is_flag=True,
        help="Also draw two classes side by side, and their difference: those of two -t, else the best two.",
    ),
)
