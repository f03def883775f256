"""All pictures of a data set, one after the other, so that an interrupt loses at most one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sise_rt import __version__
from sise_rt.bundle import sha256
from sise_rt.errors import BundleError, MethodError, ProviderError, SiseError
from sise_rt.explainer import Explainer

from .measure import Plan, measure
from .samples import Dataset
from .store import append, open_report, write_table

# Not this picture's fault: the next one would fail too.
FATAL = (BundleError, MethodError, ProviderError)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """What a run has found.

    Attributes:
        records: one a picture, in the order of the data set; see `measure`.
        failed: the message for each picture that could not be used, in the same order.
        settings: all that the numbers depend on.
    """

    records: list[dict[str, Any]]
    failed: dict[str, str]
    settings: dict[str, Any]


def settings_of_run(
    explainer: Explainer, bundle: Path, dataset: Dataset, form: str, plan: Plan
) -> dict[str, Any]:
    """All that the numbers depend on, ready for JSON: folders may move, and the limit may grow.

    The batch size changes no more than the last digits, and may have to fall where memory ran out.
    """
    return {
        "version": __version__,
        "model": explainer.manifest.name,
        "bundle": sha256(bundle / "manifest.json"),
        "provider": explainer.engine.provider,
        "format": form,
        "data": dataset.fingerprint(),
        "targets": {name: list(indices) for name, indices in sorted(plan.targets.items())},
        "methods": list(plan.methods),
        "metrics": list(plan.metrics),
        "max_box_area": plan.max_box_area,
        "step": plan.step,
        "max_pixels": plan.max_pixels,
    }


def run(
    explainer: Explainer,
    dataset: Dataset,
    plan: Plan,
    report: Path,
    settings: dict[str, Any],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Measure every picture that `report` does not have yet, and write results.csv.

    Args:
        explainer: of the bundle.
        dataset: what to measure on.
        plan: what to measure.
        report: the folder for everything that is written.
        settings: from `settings_of_run`.
        limit: only the first pictures.
        progress: called with (pictures done, pictures in all, the next picture), and at the end.

    Raises:
        BundleError: the bundle has not what a method needs, as gradients.
        MethodError: an option of a method is out of its range.
        OutputError: the folder holds other settings, is damaged, or cannot be written.
    """
    done = open_report(report, settings)
    samples = dataset.samples[:limit]
    failed: dict[str, str] = {}
    for position, sample in enumerate(samples):
        if sample.image in done:
            continue
        if progress is not None:
            progress(position, len(samples), sample.image)
        try:
            record = measure(explainer, dataset.folder, sample, plan)
        except FATAL:
            raise
        except SiseError as error:
            failed[sample.image] = str(error)
        except MemoryError:
            failed[sample.image] = "out of memory; try --batch-size 1"
        else:
            append(report, record)
            done[sample.image] = record
    if progress is not None:
        progress(len(samples), len(samples), "")
    records = [done[sample.image] for sample in samples if sample.image in done]
    write_table(report, records, plan.metrics)
    return Outcome(records, failed, settings)
