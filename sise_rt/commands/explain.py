"""`sise-rt explain`, thin over `Explainer.explain_methods`."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from sise_rt import load
from sise_rt.errors import MethodError
from sise_rt.methods import METHODS, PRESETS, Option, Request, parse, repeated, with_preset
from sise_rt.metrics.check import require_probabilities
from sise_rt.running.engine import Engine
from sise_rt.running.provider import BF16, VERIFIED
from sise_rt.targets import resolve_target
from sise_rt.wording import counted

from .bundle_path import BUNDLE, complete_target
from .command import Command
from .console import FAILED_IMAGES, complain, rate, say
from .explaining import explain_pictures
from .help_pages import HOW, HOW_MUCH, MACHINE, PICTURES, WHAT, WHERE_TO, option
from .results import Wanted, prepare_folder
from .shared_options import (
    MAX_PIXELS,
    MEMORY,
    PRECISION,
    PROVIDER,
    QUIET,
    THREADS,
    bit_depth,
    whole_number,
)
from .signals import starting


class Batch(click.ParamType):
    """`auto`, or a number of masks."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Parse to None for `auto`."""
        if value is None or value == "auto":
            return None
        if (number := whole_number(str(value))) is None:
            self.fail(f"{value!r} is neither auto nor a positive number", param, ctx)
        return number


class Methods(click.ParamType):
    """Comma-separated methods, each with its options."""

    name = "methods"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Methods, behind those that are there."""
        before, comma, last = incomplete.rpartition(",")
        items = METHODS.items()
        return [
            CompletionItem(f"{before}{comma}{name}", help=method.help)
            for name, method in items
            if name.startswith(last)
        ]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Request]:
        """Parse `sise,rise:masks=1000:seed=1`."""
        if isinstance(value, list):
            return value
        try:
            requests = [parse(part.strip()) for part in str(value).split(",") if part.strip()]
        except MethodError as error:
            self.fail(error.message, param, ctx)
        if not requests or repeated(requests):
            self.fail("name at least one method, and none twice", param, ctx)
        return requests


def _number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # a range lets them pass
        raise click.BadParameter(f"{value} is no number")
    return value


def of_methods(heading: str, name: str) -> Callable[[Any], Any]:
    """The click option of an option that methods have, as the record of the first of them tells it."""
    owners = [method for method in METHODS.values() if method.has(name)]
    theirs, names = owners[0].option(name), " and ".join(method.name for method in owners)
    return option(
        f"--{name.replace('_', '-')}",
        heading=heading,
        type=_click_type(theirs),
        callback=_number if theirs.kind is float else None,
        help=f"Of {names}: {theirs.help[0].lower()}{theirs.help[1:].removesuffix('.')}; "
        f"{theirs.off or theirs.default} by default.",
    )


def _click_type(theirs: Option) -> click.ParamType:
    if theirs.choices:
        return click.Choice(theirs.choices)
    limits = theirs.range
    low = None if math.isinf(limits.low) else limits.low
    high = None if math.isinf(limits.high) else limits.high
    open_low = limits.above or bool(theirs.off)  # whoever wants none leaves the option out
    if theirs.kind is int:
        first = None if low is None else int(low) + open_low
        return click.IntRange(first, None if high is None else int(high))
    return click.FloatRange(low, high, min_open=open_low, max_open=limits.below and high is not None)


@click.command(cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@BUNDLE
@option(
    "-t",
    "--target",
    "targets",
    heading=WHAT,
    metavar="TARGET",
    multiple=True,
    shell_complete=complete_target,
    help="Class index or label; may be repeated.",
)
@option(
    "--top-k",
    heading=WHAT,
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Without -t: explain the N best classes.",
)
@option(
    "--method",
    "methods",
    heading=HOW,
    type=Methods(),
    default="sise",
    show_default=True,
    metavar="A,B,...",
    help="Methods, with options as in sise:mu=0.3; several are also put side by side. See sise-rt methods.",
)
@of_methods(HOW, "mu")
@of_methods(HOW, "fusion")
@of_methods(HOW, "scores")
@option(
    "--preset",
    heading=HOW_MUCH,
    type=click.Choice(list(PRESETS)),
    help="Of sise: exact, as by default, or fast, which scores a tenth of the masks as --budget 0.1 does, in "
    "bf16 where --precision verified would.",
)
@of_methods(HOW_MUCH, "budget")
@of_methods(HOW_MUCH, "max_passes")
@of_methods(HOW_MUCH, "max_seconds")
@option(
    "-o",
    "--out",
    heading=WHERE_TO,
    type=click.Path(path_type=Path),
    default="explanations",
    show_default=True,
    help="Output folder.",
)
@option(
    "--check",
    heading=WHERE_TO,
    is_flag=True,
    help="Also record drop, increase, insertion and deletion.",
)
@option(
    "--blocks",
    heading=WHERE_TO,
    is_flag=True,
    help="Also write a strip: picture, every block's map, explanation.",
)
@option(
    "--json",
    "as_json",
    heading=WHERE_TO,
    is_flag=True,
    help="One JSON record a line on standard output.",
)
@QUIET
@bit_depth(PICTURES, "Of pictures that are stored in 16 bits, as 12 of most microscopes and detectors.")
@MAX_PIXELS
@PROVIDER
@PRECISION
@THREADS
@MEMORY
@option(
    "--batch-size",
    heading=MACHINE,
    type=Batch(),
    default="auto",
    show_default=True,
    help="Masks per forward pass.",
)
@option("--tf32", heading=MACHINE, is_flag=True, help="Let CUDA round to TensorFloat-32, which is faster.")
def explain(
    images: tuple[Path, ...],
    bundle: Path,
    targets: tuple[str, ...],
    top_k: int,
    out: Path,
    preset: str | None,
    methods: list[Request],
    check: bool,
    blocks: bool,
    provider: str,
    precision: str,
    batch_size: int | None,
    threads: int | None,
    oversubscribe: bool,
    memory: int | None,
    tf32: bool,
    bit_depth: int | None,
    max_pixels: int,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Explain predictions: an overlay .png, the map as .npy, and a .json record for each image and target.

    Without -t the class with the highest confidence is explained. An image that fails is one line on standard
    error; the others are done, and the exit code is 1.

    \b
    Examples:
      sise-rt explain cat.jpg -m resnet50.sise
      sise-rt explain *.jpg -m resnet50.sise -t tabby -t 242 -o maps --blocks
      sise-rt explain cat.jpg -m resnet50.sise --preset fast
      sise-rt explain cat.jpg -m resnet50.sise --json --mu 0.3 | jq .confidence
      sise-rt explain cat.jpg -m resnet50.sise --method sise,rise --check
    """
    if targets and top_k > 1:
        raise click.UsageError("--top-k explains the best classes and -t the named ones: give one of them")
    _refuse_clashes(images, out)
    alone = [asked.label for asked in methods] == ["sise"]
    requests = _requests(methods, preset, options, blocks=blocks)
    precision = _precision(precision, preset)
    with starting():
        explainer = load(
            bundle, provider, threads, memory, tf32, precision=precision, oversubscribe=oversubscribe
        )
        explainer.require(requests)
    if precision == VERIFIED and not (as_json or quiet):
        _say_precision(explainer.engine)
    if check:
        require_probabilities(explainer.engine)
    indices = list(dict.fromkeys(resolve_target(target, explainer.manifest) for target in targets))
    prepare_folder(out, images, indices or range(explainer.manifest.classes))
    wanted = Wanted(out=out, named=not alone, check=check, blocks=blocks, as_json=as_json, quiet=quiet)
    start = time.perf_counter()
    failed = explain_pictures(
        explainer,
        images,
        wanted,
        partial(explainer.prepare, bit_depth=bit_depth, max_pixels=max_pixels),
        partial(
            explainer.explain_methods,
            targets=indices or None,
            methods=requests,
            top_k=top_k,
            batch_size=batch_size,
        ),
    )
    if len(images) - failed > 1 and not (as_json or quiet):
        say(rate(len(images) - failed, time.perf_counter() - start))
    if failed:
        complain(f"{failed} of {counted(len(images), 'image')} failed")
        raise SystemExit(FAILED_IMAGES)


def _precision(given: str, preset: str | None) -> str:
    """What masked copies are scored in: the preset's own where nobody said."""
    source = click.get_current_context().get_parameter_source("precision")
    return VERIFIED if preset == "fast" and source is ParameterSource.DEFAULT else given


def _say_precision(engine: Engine) -> None:
    """Say that scores are rounded where nobody asked for that by name."""
    if engine.sessions.precision == BF16:
        say(f"note: masked copies are scored in bf16 by {engine.provider}, as verified", err=True)


def _refuse_clashes(images: Sequence[Path], out: Path) -> None:
    """Refuse pictures of one stem."""
    clashes = [stem for stem, count in Counter(image.stem for image in images).items() if count > 1]
    if clashes:
        raise click.UsageError(
            f"several images are called {clashes[0]!r} and would overwrite each other's results in {out}"
        )


def _requests(
    methods: list[Request], preset: str | None, options: dict[str, Any], *, blocks: bool
) -> list[Request]:
    """The methods with what the preset and the options set; one of them has blocks where they are wanted."""
    given = {name: value for name, value in options.items() if value is not None}
    methods = with_preset(methods, preset, given)
    for name, value in given.items():
        methods = _with_option(methods, name, value)
    if blocks and not any(asked.method.blocks for asked in methods):
        raise click.UsageError(f"--blocks: no maps of single blocks from {', '.join(map(str, methods))}")
    return methods


def _with_option(methods: list[Request], name: str, value: Any) -> list[Request]:
    """The methods, with an option for those that have it and do not set it themselves."""
    option = f"--{name.replace('_', '-')} {value}"
    takes = [asked.method.has(name) and name not in asked.given for asked in methods]
    if not any(takes) and (own := [str(asked) for asked in methods if name in asked.given]):
        raise click.UsageError(f"{option}, but {', '.join(own)} says otherwise: give one of them")
    if not any(takes):
        raise click.UsageError(f"{option.split()[0]} says nothing to {', '.join(map(str, methods))}")
    methods = [
        asked.having(name, value) if take else asked for asked, take in zip(methods, takes, strict=True)
    ]
    if repeated(methods):
        raise click.UsageError(f"{option} makes two of the methods the same")
    return methods
