"""`sise-rt augment`, thin over `sise_rt.augmenting`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sise_rt import load
from sise_rt.augmenting.labels import RANDOM, SALIENT_LABELS, TABLE
from sise_rt.augmenting.occlusion import FILLS
from sise_rt.augmenting.one_picture import Plan, write
from sise_rt.augmenting.page import Told, page
from sise_rt.augmenting.run import PAGE, jobs_of, refuse_folder, settings_of_run, write_labels
from sise_rt.augmenting.run import augment as augment_pictures
from sise_rt.bulk.items import DONE, FAILED, NO_EVIDENCE, SKIPPED
from sise_rt.bulk.ledger import opened
from sise_rt.errors import ArgumentError, MethodError
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.methods import Request, parse
from sise_rt.methods.requests import PRESETS, with_preset
from sise_rt.targets import resolve_target
from sise_rt.wording import counted

from .bundle_path import BUNDLE
from .command import Command
from .console import FAILED_IMAGES, complain, say
from .data_set import (
    ANNOTATIONS,
    BATCH_SIZE,
    CLASS_MAP,
    FORMAT,
    ONLY,
    fixed_batch,
    names_in,
    no_class,
    refuse_format,
    targets_of,
)
from .evaluation_results import few, progress_of_images
from .help_pages import HOW, HOW_MUCH, PICTURES, WHERE_TO, option
from .method_options import finite
from .shared_options import MAX_PIXELS, PRECISION, PROVIDER, QUIET, THREADS, bit_depth, grouped
from .signals import starting

if TYPE_CHECKING:
    from sise_rt.evaluation.samples import Dataset

FAST = "fast"  # the preset of methods that have one
AREA = 0.2  # of what the model sees
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)

MAKING = grouped(
    "making",
    dict,
    option(
        "--method",
        heading=HOW,
        metavar="METHOD",
        default="sise",
        show_default=True,
        help=f"That finds what is salient, with options as in sise:mu=0.3; {RANDOM} is the control.",
    ),
    option(
        "--preset",
        heading=HOW,
        type=click.Choice([*PRESETS]),
        help=f"Of methods that score masks: {FAST} by default.",
    ),
    option(
        "--area",
        heading=HOW,
        type=SHARE,
        callback=finite,
        help=f"The share of what the model sees that is salient, its highest values; {AREA} by default.",
    ),
    option(
        "--threshold",
        heading=HOW,
        type=click.FloatRange(0, 1, min_open=True),
        callback=finite,
        help="In place of --area: salient is where the map has at least this value.",
    ),
    option(
        "--fill",
        heading=HOW,
        type=click.Choice([*FILLS]),
        default="inpaint",
        show_default=True,
        help="What takes the place of hidden pixels: see docs/training.md.",
    ),
    option(
        "--salient-label",
        heading=HOW,
        type=click.Choice([*SALIENT_LABELS]),
        default=next(iter(SALIENT_LABELS)),
        show_default=True,
        help="Of pictures whose salient part is hidden.",
    ),
    option(
        "--keep-label",
        "kept",
        heading=HOW,
        metavar="CLASS",
        multiple=True,
        help="A class that keeps its label whatever is hidden, as one that says that nothing is wrong.",
    ),
    option(
        "--all",
        "every",
        heading=HOW_MUCH,
        is_flag=True,
        help="Also hide parts of pictures that the model gets wrong.",
    ),
    option(
        "--seed",
        heading=HOW,
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help=f"Of noise, and of --method {RANDOM}.",
    ),
)


@click.command(cls=Command)
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@BUNDLE
@FORMAT
@ANNOTATIONS
@CLASS_MAP
@MAKING
@option("--limit", heading=HOW_MUCH, type=click.IntRange(1), help="Only N pictures, drawn evenly.")
@ONLY
@option(
    "-o",
    "--out",
    heading=WHERE_TO,
    required=True,
    type=click.Path(path_type=Path),
    help="Output folder.",
)
@option("--retry-failed", heading=WHERE_TO, is_flag=True, help="Try again what failed before.")
@QUIET
@bit_depth(PICTURES, "Of pictures that are stored in 16 bits.")
@MAX_PIXELS
@PROVIDER
@PRECISION
@THREADS
@BATCH_SIZE
def augment(
    data: Path,
    bundle: Path,
    form: str,
    annotations: Path | None,
    class_map: Path | None,
    only: Path | None,
    limit: int | None,
    out: Path,
    making: dict[str, Any],
    retry_failed: bool,
    bit_depth: int | None,
    provider: str,
    precision: str,
    batch_size: int | None,
    threads: int | None,
    oversubscribe: bool,
    max_pixels: int,
    quiet: bool,
) -> None:
    """Make training pictures of labelled ones, with what matters hidden, or all else.

    Of each picture of DATA that the model gets right OUT/images has three: the picture, the same with what
    is not salient hidden, and with what is salient hidden. OUT/labels.csv has their labels, for any
    framework, and OUT/augment.html shows twenty, to be looked at first. Started again, the command does what
    OUT does not have yet.

    \b
    Examples:
      sise-rt augment photos -m model.sise --format folder -o out
      sise-rt augment VOC2007 -m model.sise --format voc -o out --area 0.1
      sise-rt augment photos -m model.sise --format folder -o out2 --method random
    """
    refuse_format(form, annotations, "augment")
    request = _request(making.pop("method"), making.pop("preset"))
    _refuse_salience(request, making)
    with starting():
        dataset = read_dataset(data, form, annotations, names_in(only))
        refuse_folder(out, data)
        explainer = load(bundle, provider, threads, precision=precision, oversubscribe=oversubscribe)
    if explainer.manifest.activation == "none":
        raise ArgumentError(f"{bundle} explains its output as it is, and has no classes to label pictures by")
    if request is not None:
        explainer.require([request])
    targets, missing = targets_of(dataset, explainer.manifest, class_map)
    if not targets:
        raise no_class(data, missing)
    making["kept"] = tuple(sorted({resolve_target(name, explainer.manifest) for name in making["kept"]}))
    plan = Plan(
        request=request,
        targets=targets,
        batch_size=batch_size or fixed_batch(explainer.engine),
        max_pixels=max_pixels,
        bit_depth=bit_depth,
        **making,
    )
    jobs, settings = jobs_of(dataset, plan)[:limit], settings_of_run(explainer, data, form, plan)
    try:
        with opened(out, settings, retry_failed=retry_failed) as ledger:
            with progress_of_images(quiet) as progress:
                lines = augment_pictures(explainer, data, jobs, plan, ledger, progress)
            manifest = explainer.manifest
            classes = [manifest.label(index) for index in range(manifest.classes)]
            write_labels(out, lines, explainer, plan)
            words = SALIENT_LABELS[plan.salient_label]
            told = Told(manifest.name, plan.method, words, settings, plan.max_pixels)
            write(out / PAGE, page(out, lines, classes, told))
    except KeyboardInterrupt:
        complain(f"the same command, given again, goes on with {out}")
        raise
    if not quiet:
        say(*_summary(lines, dataset, missing), f"{out / TABLE}", f"{out / PAGE}")
    _conclude(lines)


def _request(method: str, preset: str | None) -> Request | None:
    """The method, as fast as it can be where nothing else is said; None for random maps."""
    if method == RANDOM:
        if preset is not None:
            raise click.BadParameter(f"says nothing to {RANDOM}", param_hint="--preset")
        return None
    try:
        asked = parse(method)
        sets = [name for each in PRESETS.values() for name in each]
        if preset is None and all(asked.method.has(name) and name not in asked.given for name in sets):
            preset = FAST
        return with_preset([asked], preset, ())[0]
    except MethodError as error:
        hint = "--preset" if "preset" in error.settings else "--method"
        raise click.BadParameter(error.message, param_hint=hint) from error


def _refuse_salience(request: Request | None, making: dict[str, Any]) -> None:
    """See to it that either an area or a threshold says what is salient."""
    if making["area"] is not None and making["threshold"] is not None:
        raise click.UsageError("--area and --threshold both say what is salient: give one of them")
    if request is None and making["threshold"] is not None:
        raise click.UsageError(
            f"--threshold says nothing to --method {RANDOM}, whose values mean nothing: give the --area "
            "that it is to have"
        )
    if making["threshold"] is None and making["area"] is None:
        making["area"] = AREA


def _summary(
    lines: Sequence[Mapping[str, Any]], dataset: Dataset, missing: Mapping[str, str]
) -> Iterator[str]:
    """What became of the pictures, and what was left out."""
    counts = Counter(line["status"] for line in lines)
    files = sum(len(line["files"]) for line in lines)
    yield (
        f"{counted(len(lines), 'labelled picture')}: {counts[DONE]} occluded in both ways; the original "
        f"alone of {counts[SKIPPED]} that the model gets wrong and {counts[NO_EVIDENCE]} without evidence; "
        f"{counts[FAILED]} failed; {counted(files, 'file')}"
    )
    kinds = Counter(problem.kind for problem in dataset.problems)
    left = [f"{kind} {count}" for kind, count in kinds.items()]
    if missing:
        without = sum(not set(sample.present) - set(missing) for sample in dataset.samples)
        left.append(f"pictures without a class of the model {without} ({few(sorted(missing))})")
    if left:
        yield f"left out: {', '.join(left)}"


def _conclude(lines: Sequence[Mapping[str, Any]]) -> None:
    """Say what went wrong; that anything did is the exit code."""
    failed = [line for line in lines if line["status"] == FAILED]
    for line in failed:
        complain(line["message"] if line["id"] in line["message"] else f"{line['id']}: {line['message']}")
    if failed:
        complain(f"{len(failed)} of {counted(len(lines), 'image')} failed; --retry-failed tries again")
    none = not any(line["status"] == DONE for line in lines)
    if none:
        complain(
            "no picture was occluded: the model gets none right, or nothing speaks for their classes (see "
            "sise-rt accuracy, and --all)"
        )
    if failed or none:
        raise SystemExit(FAILED_IMAGES)
