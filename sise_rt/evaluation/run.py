"""All pictures of a data set, one after the other, so that an interrupt loses at most the one at work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from sise_rt.bulk.items import CatchUp, overlapped
from sise_rt.bulk.settings import of_model
from sise_rt.bundle import sha256
from sise_rt.errors import BundleError, SiseError
from sise_rt.explainer import Explainer
from sise_rt.pictures.picture import Picture

from .measure import Plan, measure, read_picture
from .samples import Dataset, Sample
from .store import append, open_report, write_table

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        records: one a picture, in the order of the data set, with the plan's methods and metrics; see
            `measure`.
        failed: for each picture that could not be used the reason, in the same order.
        changed: pictures that were measured again, because they or their annotations are not what they were.
        settings: all that the numbers depend on.
    """

    records: list[dict[str, Any]]
    failed: dict[str, SiseError]
    changed: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class _Job:
    """What is to be measured of a picture.

    Attributes:
        position: among all pictures.
        sample: the picture and its classes.
        lacking: what the report does not have of it yet.
        mark: its fingerprint.
        given: the marks of the maps of others, by their names.
        before: its record so far.
    """

    position: int
    sample: Sample
    lacking: Plan
    mark: str
    given: dict[str, str]
    before: Mapping[str, Any] | None

    @property
    def told(self) -> dict[str, Any]:
        """What its record tells beside what `measure` does."""
        methods, metrics = list(self.lacking.methods), list(self.lacking.metrics)
        return {"fingerprint": self.mark, "methods": methods, "metrics": metrics, "maps": self.given}


def settings_of_run(explainer: Explainer, form: str, plan: Plan) -> dict[str, Any]:
    """What the numbers of every picture depend on, ready for JSON.

    Folders may move, pictures and their classes may change (`fingerprint`), methods and metrics may be added.
    The batch size changes no more than the last digits, and may have to fall where memory ran out. Of methods
    with `max_seconds` they depend on the machine as well.
    """
    return {
        **of_model(explainer),
        "format": form,
        "max_box_area": plan.max_box_area,
        "step": plan.step,
        "max_pixels": plan.max_pixels,
        "bit_depth": plan.bit_depth,
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
    """Measure what `report` does not have yet of every picture, and write results.csv.

    Args:
        explainer: of the bundle.
        dataset: what to measure on.
        plan: what to measure.
        report: the folder for everything that is written, `claimed` by the caller.
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
    failed: dict[str, SiseError] = {}
    changed: list[str] = []

    def read(job: _Job) -> Picture:
        return read_picture(explainer, dataset.folder, job.sample, job.lacking)

    def work(job: _Job, picture: Callable[[], Picture], _: CatchUp) -> Callable[[], dict[str, Any]]:
        if progress is not None:
            progress(job.position, len(samples), job.sample.image)
        record = measure(explainer, picture(), dataset.folder, job.sample, job.lacking)
        return partial(_append, report, _joined(job.before, record | job.told))

    def tell(job: _Job, result: dict[str, Any] | SiseError) -> None:
        if isinstance(result, SiseError):
            failed[job.sample.image] = result
        else:
            done[job.sample.image] = result

    overlapped(_jobs(dataset.folder, samples, plan, done, changed), read, work, tell)
    if progress is not None:
        progress(len(samples), len(samples), "")
    records = [narrowed(done[sample.image], plan) for sample in samples if sample.image in done]
    write_table(report, records, plan.metrics)
    return Outcome(records, failed, tuple(changed), settings)


def _jobs(
    folder: Path,
    samples: Sequence[Sample],
    plan: Plan,
    done: dict[str, dict[str, Any]],
    changed: list[str],
) -> Iterator[_Job]:
    """What is left to do; the record of a changed picture leaves `done`, and its name joins `changed`."""
    listed = {maps.name: maps.listed() for maps in plan.maps}
    for position, sample in enumerate(samples):
        mark, before = fingerprint(folder, sample, plan), done.get(sample.image)
        if before is not None and before.get("fingerprint") != mark:
            changed.append(sample.image)
            del done[sample.image]
            before = None
        given = {maps.name: maps.mark(sample.image, listed[maps.name]) for maps in plan.maps}
        before = _with_the_same_maps(before, given)
        lacking = still_to_do(before, plan)
        if lacking.methods:
            lacked = {maps.name: given[maps.name] for maps in lacking.maps}
            yield _Job(position, sample, lacking, mark, lacked, before)


def _with_the_same_maps(before: Mapping[str, Any] | None, given: Mapping[str, str]) -> dict[str, Any] | None:
    """A record without the rows of maps that have changed since, or that were a method's of that name."""
    if before is None:
        return None
    changed = {name for name, mark in given.items() if before.get("maps", {}).get(name) != mark}
    return {
        **before,
        "methods": [method for method in before["methods"] if method not in changed],
        "rows": [row for row in before["rows"] if row["method"] not in changed],
    }


def _append(report: Path, record: dict[str, Any]) -> dict[str, Any]:
    append(report, record)
    return record


def fingerprint(folder: Path, sample: Sample, plan: Plan) -> str:
    """The sha256 of a picture, its annotations, masks in files included, and what its classes are called."""
    targets = [(name, plan.targets.get(name)) for name in sorted(sample.present)]
    masks = [path for _, truth in sorted(sample.present.items()) if truth is not None for path in truth.masks]
    files = [_hash(folder / path) for path in (sample.image, *masks)]
    return hashlib.sha256(f"{sample!r} {targets} {files}".encode("utf-8", "backslashreplace")).hexdigest()


def _hash(path: Path) -> str:
    try:
        return sha256(path)
    except BundleError:  # it is named when its picture's turn comes
        return "unreadable"


def still_to_do(before: Mapping[str, Any] | None, plan: Plan) -> Plan:
    """What a picture's record lacks of a plan: no methods if nothing.

    Of methods that are added the record's own metrics are measured; for metrics that are added the plan's
    methods are run again, as maps are not kept.
    """
    if before is None:
        return plan
    metrics = before["metrics"]
    if set(plan.metrics) <= set(metrics):
        requests = tuple(asked for asked in plan.requests if asked.label not in before["methods"])
        maps = tuple(given for given in plan.maps if given.name not in before["methods"])
        return replace(plan, requests=requests, maps=maps, metrics=tuple(metrics))
    return replace(plan, metrics=tuple(dict.fromkeys([*metrics, *plan.metrics])))


def _joined(before: Mapping[str, Any] | None, record: dict[str, Any]) -> dict[str, Any]:
    """A record with the methods of the one before it, if that has its metrics."""
    if before is None or before["metrics"] != record["metrics"]:
        return record
    joined = {key: [*before[key], *record[key]] for key in ("methods", "rows")}
    return record | joined | {"maps": {**before.get("maps", {}), **record["maps"]}}


def narrowed(record: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """A record with the plan's methods and metrics only, in the plan's order; rows without a metric go."""
    rows = []
    for row in record["rows"]:
        asked = {name: row["metrics"][name] for name in plan.metrics if name in row["metrics"]}
        if asked and row["method"] in plan.methods:
            curves = {name: curve for name, curve in row["curves"].items() if name in asked}
            rows.append(row | {"metrics": asked, "curves": curves})
    pairs = list(dict.fromkeys((row["class"], row["target"]) for row in rows))
    order = {key: i for i, key in enumerate(product(pairs, plan.methods))}
    rows.sort(key=lambda row: order[(row["class"], row["target"]), row["method"]])
    return record | {"rows": rows}
