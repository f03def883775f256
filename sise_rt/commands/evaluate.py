"""`sise-rt evaluate`, thin over `sise_rt.evaluation`."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sise_rt import load
from sise_rt.bulk.claim import claimed
from sise_rt.errors import ArgumentError, MethodError
from sise_rt.evaluation.datasets import WITHOUT_TRUTH, read_dataset
from sise_rt.evaluation.given_maps import MapFolder, map_folder, without_picture
from sise_rt.evaluation.measure import MODEL_METRICS as MODEL
from sise_rt.evaluation.measure import Plan
from sise_rt.evaluation.run import run, settings_of_run
from sise_rt.evaluation.samples import Dataset
from sise_rt.evaluation.store import SUMMARY
from sise_rt.evaluation.summary import summarise
from sise_rt.files import write_whole
from sise_rt.methods import Request, parse, repeated
from sise_rt.metrics.agreement import METRICS as TRUTH
from sise_rt.metrics.check import CURVES, require_probabilities
from sise_rt.wording import counted

from .bundle_path import BUNDLE
from .command import Command
from .console import complain, warn
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
from .evaluation_results import progress_of_images, tell
from .help_pages import HOW, HOW_MUCH, PICTURES, WHAT, WHERE_TO, option
from .sanity import SANITY, require_sanity, sanity_of
from .shared_options import MAX_PIXELS, PRECISION, PROVIDER, QUIET, THREADS, bit_depth
from .signals import starting

if TYPE_CHECKING:
    from sise_rt.evaluation.run import Outcome
    from sise_rt.explainer import Explainer

NEEDED = ("matplotlib", "jinja2")  # for the plots and the page

PAPERS = ("ebpg", "miou", "bbox", "drop", "increase")
"""SISE's own metrics."""


def _list(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    names = (name.strip() for value in values for name in value.split(","))
    named = tuple(dict.fromkeys(filter(None, names)))
    if values and not named:
        raise click.BadParameter("name at least one")
    return named


def _share(_: click.Context, __: click.Parameter, value: float) -> float:
    if math.isnan(value):  # a range lets it pass
        raise click.BadParameter("a share must lie in (0, 1]")
    return value


@click.command(cls=Command)
@BUNDLE
@option(
    "--data",
    "folder",
    heading=WHAT,
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the data set.",
)
@FORMAT
@ANNOTATIONS
@CLASS_MAP
@option(
    "--method",
    "methods",
    heading=HOW,
    metavar="A,B,...",
    multiple=True,
    callback=_list,
    help=(
        "Methods, with options as in sise:mu=0.3; the first is what the others are compared with. By default "
        "sise, and none with --maps."
    ),
)
@option(
    "--maps",
    heading=HOW,
    metavar="[NAME=]FOLDER",
    multiple=True,
    help=(
        "Measure maps that were made elsewhere: FOLDER/cam1/0001.281.npy of cam1/0001.png and class 281, or "
        "without the class; .npy, or grey .png. May be given several times."
    ),
)
@option(
    "--metric",
    "metrics",
    heading=HOW,
    metavar="A,B,...",
    multiple=True,
    callback=_list,
    help=f"Of {', '.join((*TRUTH, *MODEL))}; by default the paper's five, without ground truth its last two.",
)
@option(
    "--step",
    heading=HOW,
    type=click.IntRange(1),
    help="Pixels a step of insertion and deletion; by default 28 steps.",
)
@SANITY
@option(
    "--limit",
    heading=HOW_MUCH,
    type=click.IntRange(1),
    help="Only N pictures, drawn evenly; more can be added later.",
)
@ONLY
@option(
    "--max-box-area",
    heading=HOW_MUCH,
    type=click.FloatRange(0, 1, min_open=True),
    callback=_share,
    default=1.0,
    show_default=True,
    help="Leave out ground truth that covers more than this share of the model's input.",
)
@option(
    "-o",
    "--out",
    "report",
    heading=WHERE_TO,
    required=True,
    metavar="REPORT",
    type=click.Path(path_type=Path),
    help="Output folder.",
)
@QUIET
@bit_depth(PICTURES, "Of pictures that are stored in 16 bits.")
@MAX_PIXELS
@PROVIDER
@PRECISION
@THREADS
@BATCH_SIZE
def evaluate(
    bundle: Path,
    folder: Path,
    form: str,
    methods: tuple[str, ...],
    maps: tuple[str, ...],
    metrics: tuple[str, ...],
    report: Path,
    annotations: Path | None,
    class_map: Path | None,
    only: Path | None,
    limit: int | None,
    max_box_area: float,
    step: int | None,
    sanity: int | None,
    bit_depth: int | None,
    provider: str,
    precision: str,
    batch_size: int | None,
    threads: int | None,
    oversubscribe: bool,
    max_pixels: int,
    quiet: bool,
) -> None:
    """Measure how good explanations are, on your own model and data.

    ebpg, miou, bbox and pointing-game compare the map of every annotated class with its ground truth; drop,
    increase, insertion and deletion ask the model about the class that it predicts. REPORT gets report.html,
    results.csv and summary.json. Started again, the command does what REPORT does not have yet: after an
    interrupt, for more pictures, methods or metrics, and for pictures that have changed.

    \b
    Examples:
      sise-rt evaluate -m model.sise --data VOC2007 --format voc -o report
      sise-rt evaluate -m model.sise --data parts --format masks -o report
      sise-rt evaluate -m model.sise --data photos --format folder -o report
      sise-rt evaluate -m model.sise --data parts --format masks -o r --maps maps
    """
    metrics = metrics or tuple(name for name in PAPERS if form not in WITHOUT_TRUTH or name in MODEL)
    refuse_format(form, annotations, "evaluate", NEEDED)
    requests, given = _asked(methods, maps, folder, sanity)
    _refuse_metrics(metrics, form, step)
    with starting():
        import sise_rt.evaluation.report  # noqa: F401  which draws: it takes its time

        dataset = read_dataset(folder, form, annotations, names_in(only))
        explainer = load(bundle, provider, threads, precision=precision, oversubscribe=oversubscribe)
    _refuse_model(explainer, metrics, step)
    targets, missing = targets_of(dataset, explainer.manifest, class_map)
    if not targets and set(metrics) & set(TRUTH):
        raise no_class(folder, missing)
    plan = Plan(
        requests=requests,
        metrics=metrics,
        targets=targets,
        max_box_area=max_box_area,
        step=step,
        batch_size=batch_size or fixed_batch(explainer.engine),
        max_pixels=max_pixels,
        bit_depth=bit_depth,
        maps=given,
    )
    with claimed(report):
        try:
            with progress_of_images(quiet) as progress:
                settings = settings_of_run(explainer, form, plan)
                outcome = run(explainer, dataset, plan, report, settings, limit=limit, progress=progress)
        except KeyboardInterrupt:
            complain(f"the same command, given again, goes on with {report}")
            raise
        summary = summarise(outcome, dataset, plan, missing if plan.on_truth else {}, limit)
        summary |= sanity_of(sanity, bundle, explainer, dataset, plan, quiet=quiet)
        _conclude(report, summary, explainer, dataset, plan, outcome)
    tell(summary, outcome, report, quiet=quiet)


def _conclude(
    report: Path,
    summary: dict[str, Any],
    explainer: Explainer,
    dataset: Dataset,
    plan: Plan,
    outcome: Outcome,
) -> None:
    """Write what is made of all pictures, and tell of the maps of others that are none's."""
    from sise_rt.evaluation.report import write_report  # which draws

    write_whole(report / SUMMARY, json.dumps(summary, indent=2, allow_nan=False).encode() + b"\n")
    write_report(report, summary, explainer, dataset, plan, outcome)
    _tell_of_other_files(plan.maps, dataset)


# -------------------- before the work, not after it


def _asked(
    methods: tuple[str, ...], maps: tuple[str, ...], data: Path, sanity: int | None
) -> tuple[tuple[Request, ...], tuple[MapFolder, ...]]:
    requests = _requests(methods or (() if maps else ("sise",)))
    require_sanity(sanity, requests)
    return requests, _maps(maps, data, requests)


def _requests(methods: tuple[str, ...]) -> tuple[Request, ...]:
    try:
        requests = tuple(parse(method) for method in methods)
    except MethodError as error:
        raise click.BadParameter(error.message, param_hint="--method") from error
    if same := repeated(requests):
        one, other = (request.label for request in same)
        raise click.BadParameter(
            f"{one!r} and {other!r} are the same: name one of them", param_hint="--method"
        )
    return requests


def _maps(texts: tuple[str, ...], data: Path, requests: tuple[Request, ...]) -> tuple[MapFolder, ...]:
    try:
        given = tuple(map_folder(text, data) for text in texts)
    except ArgumentError as error:
        raise click.BadParameter(error.message, param_hint="--maps") from error
    for name, count in Counter([*(one.name for one in given), *(each.label for each in requests)]).items():
        if count > 1:
            raise click.BadParameter(f"{name!r} is there twice: give NAME=FOLDER", param_hint="--maps")
    return given


def _tell_of_other_files(given: tuple[MapFolder, ...], dataset: Dataset) -> None:
    for one in given:
        if left := without_picture(one, [sample.image for sample in dataset.samples]):
            warn(f"{one.folder}: {counted(left, 'file')} of no picture in {dataset.folder}")


def _refuse_metrics(metrics: tuple[str, ...], form: str, step: int | None) -> None:
    for name in metrics:
        if name not in (*TRUTH, *MODEL):
            raise click.BadParameter(
                f"no metric {name!r}; known are {', '.join((*TRUTH, *MODEL))}", param_hint="--metric"
            )
        if form in WITHOUT_TRUTH and name in TRUTH:
            raise click.BadParameter(
                f"{name} needs ground truth, which --format {form} has not; without it there are "
                f"{', '.join(MODEL)}",
                param_hint="--metric",
            )
    if step is not None and not set(metrics) & set(CURVES):
        reason = f"only says something to {' and '.join(CURVES)}, which are not among the metrics"
        raise click.BadParameter(reason, param_hint="--step")


def _refuse_model(explainer: Explainer, metrics: tuple[str, ...], step: int | None) -> None:
    if set(metrics) & set(MODEL):
        require_probabilities(explainer.engine)
    pixels = explainer.manifest.input.height * explainer.manifest.input.width
    if step is not None and step > pixels:
        raise click.BadParameter(f"the model's input has {pixels} pixels", param_hint="--step")
