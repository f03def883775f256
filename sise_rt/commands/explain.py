"""`sise-rt explain`, thin over `sise_rt.bulk`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sise_rt import Explainer
from sise_rt.bulk.explaining import Asked, Check
from sise_rt.bulk.items import Item
from sise_rt.bulk.keeping import Keep
from sise_rt.bulk.ledger import opened
from sise_rt.bulk.map_shards import MapShards
from sise_rt.bulk.own_files import OwnFiles
from sise_rt.bulk.run import Run, settings_of_run
from sise_rt.methods import PRESETS, Request
from sise_rt.metrics.check import check, check_region, require_probabilities
from sise_rt.wording import counted

from .bundle_path import BUNDLE, complete_target
from .classes import best_classes, named_classes
from .command import Command
from .console import FAILED_IMAGES, complain, say
from .drawing_options import DRAWING, Drawing
from .explaining import Shown, explain_one, explain_run, say_counts
from .help_pages import HOW, HOW_MUCH, PICTURES, WHAT, option
from .machine_options import MACHINE_OPTIONS, Machine
from .many_options import MANY_OPTIONS, Many
from .method_options import Methods, of_methods, requested
from .results import name_of, prepare_folder
from .shared_options import MAX_PIXELS, bit_depth
from .signals import starting
from .writing_options import WRITING, Writing


@click.command(cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, type=click.Path(allow_dash=True))
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
@WRITING
@DRAWING
@MANY_OPTIONS
@bit_depth(PICTURES, "Of pictures that are stored in 16 bits, as 12 of most microscopes and detectors.")
@MAX_PIXELS
@MACHINE_OPTIONS
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
      sise-rt explain --from wrong.csv -m resnet50.sise -o run --only-wrong
      sise-rt explain cat.jpg -m resnet50.sise --json --mu 0.3 | jq .confidence
      sise-rt explain cat.jpg -m resnet50.sise --method sise,rise --check
    """
    top_k = best_classes(targets, top_k, two=drawing.compare is not None)
    alone = [asked.label for asked in methods] == ["sise"]
    requests = requested(methods, preset, options, blocks=writing.blocks)
    machine = machine.for_preset(preset)
    with starting():
        listing = many.named(images, writing.out)
        explainer = machine.load(bundle)
        explainer.require(requests)
    shown = Shown(
        as_json=writing.as_json,
        quiet=writing.quiet,
        check="--check" if writing.check else "--report",
        hint=_faster(requests),
    )
    if not shown.silent:
        machine.say_precision(explainer)
    asked = Asked(
        requests=requests,
        targets=named_classes(targets, explainer.manifest, two=drawing.compare is not None) or None,
        top_k=top_k,
        batch_size=machine.batch_size,
        bit_depth=bit_depth,
        max_pixels=max_pixels,
        only_wrong=many.only_wrong,
        below=many.below_confidence,
        check=_check(explainer, writing, many),
    )
    keep = Keep(
        folder=writing.out,
        outputs=writing.in_files,
        named=not alone,
        map_size=writing.map_size,
        draw=drawing.draw,
        compare=drawing.compare,
    )
    items = many.chosen(listing.items)
    if many.is_run(images, writing):
        failed = run_of_many(explainer, items, asked, keep, shown, writing, drawing, many)
    else:
        prepare_folder(writing.out, [(items[0].stem, name_of(items[0]))], asked.targets or range(explainer.manifest.classes))
        failed = explain_one(explainer, items[0], asked, keep, shown)
    if failed:
        raise SystemExit(FAILED_IMAGES)
