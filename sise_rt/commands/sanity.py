"""`sise-rt evaluate --sanity`: the shuffled model, the check, and what is printed of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from sise_rt import load
from sise_rt.evaluation.measure import Plan
from sise_rt.evaluation.samples import Dataset
from sise_rt.evaluation.sanity import FEWEST, check_sanity
from sise_rt.explainer import Explainer
from sise_rt.methods import Request
from sise_rt.wording import counted

from .console import say
from .evaluation_results import progress_of_images
from .help_pages import HOW, option
from .signals import starting

PICTURES = 10  # by default

SANITY = option(
    "--sanity",
    heading=HOW,
    is_flag=False,
    flag_value=PICTURES,
    type=click.IntRange(FEWEST),
    metavar="[N]",
    help=f"Also compare the maps of N pictures ({PICTURES}) with those of the model with a shuffled head.",
)


def require_sanity(count: int | None, requests: Sequence[Request]) -> None:
    """See to it that the check, if it is asked for, can be done before anything is measured.

    Raises:
        UsageError: no method is asked for.
        ModelError: onnx is not installed.
    """
    if count is None:
        return
    if not requests:
        raise click.BadParameter(
            "maps of others do not know the model: name a --method", param_hint="--sanity"
        )
    with starting():
        import sise_rt.export.randomised  # noqa: F401


def sanity_of(
    count: int | None, bundle: Path, explainer: Explainer, dataset: Dataset, plan: Plan, *, quiet: bool
) -> dict[str, Any]:
    """Shuffle the head of a copy of the bundle, compare the methods' maps, and print how they compare.

    Returns:
        The part `sanity` of the summary; nothing where it is not asked for.
    """
    if count is None:
        return {}
    from sise_rt.export.randomised import write_randomised

    sessions = explainer.engine.sessions
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
        layer = write_randomised(bundle, Path(folder))
        shuffled = load(
            folder,
            explainer.engine.provider,
            sessions.threads,
            precision=sessions.precision,
            oversubscribe=True,
        )
        with progress_of_images(quiet) as progress:
            found = check_sanity(explainer, shuffled, dataset, plan, count, progress)
    sanity = {"shuffled": layer, "seed": 0, **found}
    if not quiet:
        for line in sanity_lines(sanity):
            say(line)
    return {"sanity": sanity}


def sanity_lines(sanity: dict[str, Any]) -> Iterator[str]:
    """A line a method."""
    pictures = counted(sanity["pictures"], "picture")
    yield f"maps of {pictures} before and after {sanity['shuffled']} was shuffled:"
    width = max(map(len, sanity["methods"]))
    for name, figures in sanity["methods"].items():
        yield f"  {name:{width}}  {verdict(figures)}"


def verdict(figures: dict[str, Any]) -> str:
    """Whether a method passes, and by which figures."""
    if figures["passes"] is None:
        return "nothing to compare: too few pictures have a map"
    word = "passes" if figures["passes"] else "FAILS "
    ssim = "-" if figures["ssim"] is None else f"{figures['ssim']:.2f}"
    gone = f", {figures['vanished']} vanished" if figures["vanished"] else ""
    return (
        f"{word}  keeps {figures['kept']:5.2f}  rank correlation {figures['spearman']:5.2f} (other pictures "
        f"{figures['others']:5.2f}, limit {figures['limit']:.2f}), SSIM {ssim}{gone}"
    )
