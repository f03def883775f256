"""`sise-rt explain`, thin over `sise_rt.bulk`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sise_rt import Explainer, load
from sise_rt.bulk.explaining import Asked, Check
from sise_rt.bulk.keeping import Keep
from sise_rt.methods import PRESETS, Request
from sise_rt.metrics.check import check, check_region, require_probabilities

from .bundle_path import complete_target
from .by_single_file import MODEL, or_by_single_file
from .classes import best_classes, named_classes
from .command import Command
from .console import FAILED_IMAGES, say
from .drawing_options import DRAWING, Drawing
from .explaining import explain_one
from .help_pages import HOW, HOW_MUCH, PICTURES, WHAT, option
from .machine_options import MACHINE_OPTIONS, Machine
from .many import explain_many
from .many_options import MANY_OPTIONS, Many
from .method_options import Methods, of_methods, requested
from .on_ray import NOTHING, of_engine
from .ray_options import ENGINE, Engine
from .shared_options import MAX_PIXELS, bit_depth
from .signals import starting
from .writing_options import WRITING, Writing


@click.command(cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, type=click.Path(allow_dash=True))
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
@WRITING
@DRAWING
@MANY_OPTIONS
@bit_depth(PICTURES, "Of pictures that are stored in 16 bits, as 12 of most microscopes and detectors.")
@MAX_PIXELS
@MACHINE_OPTIONS
@ENGINE
@or_by_single_file
def explain(
    images: tuple[str, ...],
    bundle: Path,
    targets: tuple[str, ...],
    top_k: int,
    preset: str | None,
    methods: list[Request],
    writing: Writing,
    drawing: Drawing,
    many: Many,
    machine: Machine,
    engine: Engine,
    bit_depth: int | None,
    max_pixels: int,
    **options: Any,
) -> None:
    """Explain predictions: a .png to look at, the map as .npy, and a .json record for each image and target.

    Without -t the class with the highest confidence is explained. IMAGE is a picture, a folder with all below
    it, a pattern, or - for the names that are on standard input. An image that fails is one line on standard
    error; the others are done, and the exit code is 1. Of many images results.jsonl has a line for each,
    whatever became of it; started again, the command does what is not there yet.

    \b
    Examples:
      sise-rt explain cat.jpg -m resnet50.sise
      sise-rt explain *.jpg -m resnet50.sise -t tabby -t 242 -o maps --blocks
      sise-rt explain cat.jpg -m resnet50.sise --preset fast
      sise-rt explain cat.jpg -m resnet50.sise -t tabby -t 'tiger cat' --compare
      sise-rt explain photos/ -m resnet50.sise -o run
      sise-rt explain photos/ -m resnet50.sise -o run --engine ray --address auto
      sise-rt explain --from wrong.csv -m resnet50.sise -o run --only-wrong
      sise-rt explain cat.jpg -m resnet50.sise --json --mu 0.3 | jq .confidence
      sise-rt explain cat.jpg -m resnet50.sise --method sise,rise --check
    """
    top_k = best_classes(targets, top_k, two=drawing.compare is not None)
    alone = [asked.label for asked in methods] == ["sise"]
    requests = requested(methods, preset, options, blocks=writing.blocks)
    machine = machine.for_preset(preset)
    with starting():
        on_ray = of_engine(engine, images, bundle, machine, writing=writing, drawing=drawing, many=many)
        listing = NOTHING if on_ray and on_ray.stream else many.named(images, writing.out)
        explainer = load(bundle, "cpu") if on_ray else machine.load(bundle)
        explainer.require(requests)
    if not writing.silent:
        machine.say_precision(explainer)
    asked = Asked(
        requests=requests,
        targets=named_classes(targets, explainer.manifest, two=drawing.compare is not None) or None,
        top_k=top_k,
        two=drawing.compare is not None,
        batch_size=machine.batch_size,
        bit_depth=bit_depth,
        max_pixels=max_pixels,
        only_wrong=many.only_wrong,
        below=many.below_confidence,
        check=_check(explainer, writing, many),
    )
    keep = _keep(writing, drawing, named=not alone)
    items = many.chosen(listing.items)
    hint = _faster(requests)
    if on_ray or many.is_run(images, writing.out) or writing.only_of_many:
        say(*() if writing.silent else (f"note: {note}" for note in listing.notes), err=True)
        failed = explain_many(
            explainer,
            items,
            listing.root,
            asked,
            keep,
            writing=writing,
            many=many,
            drawing=drawing.settings,
            hint=hint,
            on_ray=on_ray,
        )
    else:
        failed = explain_one(explainer, items[0], asked, keep, writing, hint)
    if failed:
        raise SystemExit(FAILED_IMAGES)


def _keep(writing: Writing, drawing: Drawing, *, named: bool) -> Keep:
    """What is kept of explanations."""
    return Keep(
        folder=writing.out,
        outputs=writing.in_files,
        named=named,
        map_size=writing.map_size,
        draw=drawing.draw,
        compare=drawing.compare,
    )


def _check(explainer: Explainer, writing: Writing, many: Many) -> Check | None:
    """What asks the model about maps: all of it, or of the regions for a page.

    Raises:
        SiseError: the bundle has no probabilities, which something needs.
    """
    if many.below_confidence is not None and explainer.manifest.activation == "none":
        raise click.UsageError("--below-confidence needs probabilities, and the model's output is none")
    if not writing.check and not (writing.report and explainer.manifest.activation != "none"):
        return None
    require_probabilities(explainer.engine)
    return check if writing.check else check_region


def _faster(requests: Sequence[Request]) -> str:
    """What makes it faster, where that is not said already."""
    limits = {"budget", "max_passes", "max_seconds"}
    exact = any(asked.method.name == "sise" and not limits & {*asked.given} for asked in requests)
    return "--preset fast takes about a tenth of it" if exact else ""
