"""`sise-rt explain`, thin over `Explainer.explain_methods`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sise_rt import load
from sise_rt.methods import PRESETS, Request
from sise_rt.metrics.check import require_probabilities
from sise_rt.running.engine import Engine
from sise_rt.running.provider import BF16, VERIFIED
from sise_rt.wording import counted

from .bundle_path import complete_target
from .by_single_file import MODEL, or_by_single_file
from .classes import best_classes, named_classes
from .command import Command
from .console import FAILED_IMAGES, complain, rate, say
from .drawing_options import DRAWING, Drawing
from .explaining import explain_pictures
from .help_pages import HOW, HOW_MUCH, MACHINE, PICTURES, WHAT, WHERE_TO, option
from .method_options import Batch, Methods, of_methods, requested
from .results import Wanted, prepare_folder
from .shared_options import (
    MAX_PIXELS,
    MEMORY,
    PRECISION,
    PROVIDER,
    QUIET,
    THREADS,
    bit_depth,
)
from .signals import starting


@click.command(cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@MODEL
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
    "--report",
    heading=WHERE_TO,
    is_flag=True,
    help="Also write a page, .html, that stands alone: pictures, words, what the model says with the region "
    "hidden, and what an audit asks for.",
)
@DRAWING
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
@or_by_single_file
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
    report: bool,
    drawing: Drawing,
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
    """Explain predictions: a .png to look at, the map as .npy, and a .json record for each image and target.

    Without -t the class with the highest confidence is explained. An image that fails is one line on standard
    error; the others are done, and the exit code is 1.

    \b
    Examples:
      sise-rt explain cat.jpg -m resnet50.sise
      sise-rt explain *.jpg -m resnet50.sise -t tabby -t 242 -o maps --blocks
      sise-rt explain cat.jpg -m resnet50.sise --preset fast
      sise-rt explain cat.jpg -m resnet50.sise -t tabby -t 'tiger cat' --compare
      sise-rt explain cat.jpg -m resnet50.sise --json --mu 0.3 | jq .confidence
      sise-rt explain cat.jpg -m resnet50.sise --method sise,rise --check
    """
    top_k = best_classes(targets, top_k, two=drawing.compare is not None)
    _refuse_clashes(images, out)
    alone = [asked.label for asked in methods] == ["sise"]
    requests = requested(methods, preset, options, blocks=blocks)
    precision = _precision(precision, preset)
    with starting():
        explainer = load(
            bundle, provider, threads, memory, tf32, precision=precision, oversubscribe=oversubscribe
        )
        explainer.require(requests)
    if precision == VERIFIED and not (as_json or quiet):
        _say_precision(explainer.engine)
    if check or (report and explainer.manifest.activation != "none"):
        require_probabilities(explainer.engine)
    indices = named_classes(targets, explainer.manifest, two=drawing.compare is not None)
    prepare_folder(out, images, indices or range(explainer.manifest.classes))
    wanted = Wanted(
        out=out,
        named=not alone,
        check=check,
        blocks=blocks,
        report=report,
        drawing=drawing,
        as_json=as_json,
        quiet=quiet,
    )
    prepare = partial(explainer.prepare, bit_depth=bit_depth, max_pixels=max_pixels)
    answers = partial(explainer.explain_methods, targets=indices or None, methods=requests, top_k=top_k)
    start = time.perf_counter()
    answers = partial(answers, batch_size=batch_size)
    failed = explain_pictures(explainer, images, wanted, prepare, answers, _faster(requests))
    if len(images) - failed > 1 and not (as_json or quiet):
        say(rate(len(images) - failed, time.perf_counter() - start))
    _exit(failed, len(images))


def _exit(failed: int, images: int) -> None:
    if failed:
        complain(f"{failed} of {counted(images, 'image')} failed")
        raise SystemExit(FAILED_IMAGES)


def _faster(requests: Sequence[Request]) -> str:
    """What makes it faster, where that is not said already."""
    limits = {"budget", "max_passes", "max_seconds"}
    exact = any(asked.method.name == "sise" and not limits & {*asked.given} for asked in requests)
    return "--preset fast takes about a tenth of it" if exact else ""


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
