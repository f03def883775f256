"""`sise-rt accuracy`, and what `export` prints of labelled pictures, thin over `sise_rt.evaluation`."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sise_rt.evaluation.datasets import FORMATS
from sise_rt.pictures.reading import MAX_PIXELS as MOST_PIXELS
from sise_rt.stated import as_option
from sise_rt.wording import counted, probability

from .bundle_path import BundlePath
from .command import Command, spelt
from .console import FAILED_IMAGES, complain, say, warn
from .evaluation_results import few, progress_of_images
from .help_pages import HOW_MUCH, PICTURES, WHAT, option
from .shared_options import MAX_PIXELS, PROVIDER, THREADS, bit_depth
from .signals import starting

if TYPE_CHECKING:
    from sise_rt.evaluation.accuracy import Accuracy, Better
    from sise_rt.evaluation.samples import Dataset
    from sise_rt.explainer import Explainer
    from sise_rt.preprocessing import Preprocess

MANY = 100  # pictures that show every mistake which is tried, see docs/preprocessing.md
SHOWN = 3  # classes that the model has not, which are told of with those that are close
CHANGED = ("color", "scale", "mean", "std", "crop_mode", "crop_pct")  # settings that alternatives change


@click.command(cls=Command)
@click.argument("bundle", type=BundlePath())
@click.argument("data", type=click.Path(path_type=Path))
@option(
    "--format",
    "form",
    heading=WHAT,
    type=click.Choice([*FORMATS]),
    help="How DATA is laid out; by default csv-labels for a file or a folder with a labels.csv, else folder.",
)
@option(
    "--class-map",
    heading=WHAT,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="CSV: a class of DATA, then labels, indices or ranges (151-268) of the model.",
)
@option("--limit", heading=HOW_MUCH, type=click.IntRange(1), help="Only N pictures, drawn evenly.")
@bit_depth(PICTURES, "Of pictures that are stored in 16 bits.")
@MAX_PIXELS
@PROVIDER
@THREADS
def accuracy(
    bundle: Path,
    data: Path,
    form: str | None,
    class_map: Path | None,
    limit: int | None,
    bit_depth: int | None,
    provider: str,
    threads: int | None,
    oversubscribe: bool,
    max_pixels: int,
) -> None:
    """Say how often a bundle is right on labelled pictures, and whether its preprocessing is wrong.

    DATA is a folder with a folder of pictures for each class, called by its label or index, or a CSV file
    with a line for each picture: its path, and its class. Ten pictures show a gross mistake; red and blue
    swapped need some fifty. Other likely preprocessings are tried as well, on at most 100 of the pictures,
    and one that does clearly better is named.

    \b
    Examples:
      sise-rt accuracy model.sise photos/
      sise-rt accuracy model.sise photos/labels.csv --limit 50
    """
    with starting():
        from sise_rt import load
        from sise_rt.evaluation.datasets import read_labelled

        dataset = read_labelled(data, form)
        explainer = load(bundle, provider, threads, oversubscribe=oversubscribe)
    failed = tell_accuracy(
        explainer,
        bundle,
        dataset,
        class_map=class_map,
        limit=limit,
        bit_depth=bit_depth,
        max_pixels=max_pixels,
    )
    if failed:
        raise SystemExit(FAILED_IMAGES)


def tell_accuracy(
    explainer: Explainer,
    bundle: Path,
    dataset: Dataset,
    *,
    class_map: Path | None = None,
    limit: int | None = None,
    bit_depth: int | None = None,
    max_pixels: int = MOST_PIXELS,
    quiet: bool = False,
) -> int:
    """Measure how often a bundle is right on labelled pictures, and print it; gives how many failed.

    Raises:
        SystemExit: no picture could be used.
    """
    from sise_rt.evaluation.accuracy import measure_accuracy
    from sise_rt.evaluation.classes import match_classes, read_class_map

    mapped = {} if class_map is None else read_class_map(class_map)
    targets, missing = match_classes(dataset.classes, explainer.manifest, mapped)
    for reason in list(missing.values())[: SHOWN if targets else 1]:
        (warn if targets else complain)(reason)
    with progress_of_images(quiet) as progress:
        measured = measure_accuracy(
            explainer,
            dataset,
            targets,
            limit=limit,
            bit_depth=bit_depth,
            max_pixels=max_pixels,
            progress=progress,
        )
    for error in measured.failed.values():
        complain(spelt(error))
    say(*accuracy_lines(measured, bundle))
    if left := dict(_left_out(dataset, measured, missing)):
        say("left out: " + ", ".join(f"{counted(count, *what)}" for what, count in left.items()))
    if not measured.pictures:
        raise SystemExit(FAILED_IMAGES)
    if measured.better:
        say(f"to take it: {amending(bundle, explainer.manifest.preprocess, measured.better)}")
    return len(measured.failed)


def accuracy_lines(measured: Accuracy, bundle: Path) -> Iterator[str]:
    """What was measured, in words."""
    if not measured.pictures:
        yield f"{bundle}: no picture could be used"
        return
    share = f"{measured.right} of {counted(measured.pictures, 'picture')}"
    share += f" ({measured.right / measured.pictures:.1%})".replace("%", " %")
    if measured.activation == "none":
        yield f"{bundle}: its output is explained as it is, so there is no accuracy and no confidence"
        if measured.classes > 1:
            yield f"  the highest output is that of the picture's class on {share}"
        yield f"  mean output for the picture's class {measured.own:.4g}"
        return
    if measured.activation == "sigmoid":
        yield f"{bundle}: the class with the highest confidence is one of the picture's on {share}"
        yield (
            f"  mean confidence in the picture's classes {probability(measured.own)}; of these "
            f"{measured.listed:.0%} have at least 0.5"
        )
    else:
        yield f"{bundle}: right on {share}"
        yield (
            f"  mean confidence {probability(measured.own)} in the picture's class, "
            f"{probability(measured.highest)} in the predicted one"
        )
    yield from _compared(measured)


def _compared(measured: Accuracy) -> Iterator[str]:
    """What other preprocessings gave."""
    from sise_rt.evaluation.clearly import FEWEST

    if measured.compared < FEWEST:
        yield f"  too few pictures to tell whether another preprocessing is better: give {FEWEST} or more"
    elif measured.better is None:
        few_show = "; so few show gross mistakes only" if measured.compared < MANY else ""
        yield (
            f"  {measured.tried} other preprocessings were tried on {counted(measured.compared, 'picture')}: "
            f"none is clearly better{few_show}"
        )
        if not measured.right:
            yield (
                "  the labels may be in another order than the model's classes, or the pictures are not "
                "what it was trained for"
            )
    else:
        clear, better = measured.better.clear, measured.better
        yield (
            f"clearly better: {better.words}: right on {clear.right[1]} of {clear.pictures} pictures instead "
            f"of {clear.right[0]}, mean confidence {probability(clear.own[1])} in the picture's class "
            f"instead of {probability(clear.own[0])}"
        )
        yield f"  {better.preprocess.sentence()}"


def _left_out(
    dataset: Dataset, measured: Accuracy, missing: dict[str, str]
) -> Iterator[tuple[tuple[str, str], int]]:
    """What was not used, in words for one and for several, and how many there are."""
    if measured.failed:
        yield ("picture that cannot be used", "pictures that cannot be used"), len(measured.failed)
    if measured.unlabelled:
        of = f" (no class of the model: {few(sorted(missing))})" if missing else ""
        yield (f"picture without a class{of}", f"pictures without a class{of}"), len(measured.unlabelled)
    kinds = Counter(problem.kind for problem in dataset.problems)
    for kind, count in kinds.items():
        where = few([problem.where for problem in dataset.problems if problem.kind == kind])
        yield (f"{kind} ({where})", f"times {kind} ({where})"), count


def amending(bundle: Path, stated: Preprocess, better: Better) -> str:
    """The command that takes a better preprocessing."""
    new = better.preprocess
    said = [name for name in CHANGED if getattr(new, name) != getattr(stated, name)]
    return f"sise-rt amend {shlex.quote(str(bundle))} " + " ".join(
        f"--{name.replace('_', '-')} {_short(getattr(new, name))}" for name in said
    )


def _short(value: Any) -> str:
    """The value of an option, of which one is enough for channels that are alike."""
    alike = isinstance(value, tuple) and len(set(value)) == 1
    return as_option(value[0] if alike else value)
