"""All labelled pictures of a data set, with parts hidden that matter; a kill loses the one in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bulk.items import FAILED, CatchUp, overlapped
from sise_rt.bulk.ledger import SETTINGS, Ledger, read_results
from sise_rt.bulk.settings import of_model
from sise_rt.bulk.stems import stems_of_ids
from sise_rt.errors import ArgumentError, OutputError, SiseError
from sise_rt.evaluation.samples import Dataset
from sise_rt.explainer import Explainer
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.reading import read_picture
from sise_rt.report.elements import readable

from .labels import TABLE, Labelling, table
from .one_picture import IMAGES, Job, Plan, find, write, write_forms

SCHEMA = "sise-rt/augment/1"
"""What run.json is: the number changes where a line of results, or of the table, changes its meaning."""
PAGE = "augment.html"

Progress = Callable[[int, int, str], None]


Ready = tuple[Picture, np.ndarray]
"""A picture, and its pixels with all their bits: uint8 or uint16 (H, W, C)."""


def settings_of_run(explainer: Explainer, folder: Path, form: str, plan: Plan) -> dict[str, Any]:
    """All that the files of a run depend on, ready for JSON, but for its pictures and their classes."""
    return {
        "schema": SCHEMA,
        **of_model(explainer),
        "data": readable(str(folder.resolve())),
        "format": form,
        "method": plan.method,
        "settings": {} if plan.request is None else dict(plan.request.settings),
        "area": plan.area,
        "threshold": plan.threshold,
        "fill": plan.fill,
        "salient_label": plan.salient_label,
        "keep_label": list(plan.kept),
        "all": plan.every,
        "seed": plan.seed,
        "batch_size": plan.batch_size,
        "bit_depth": plan.bit_depth,
        "max_pixels": plan.max_pixels,
    }


def jobs_of(dataset: Dataset, plan: Plan) -> list[Job]:
    """The pictures that have a class of the model, in the order of the data set.

    Raises:
        ArgumentError: there is none.
    """
    stems = stems_of_ids([readable(sample.image) for sample in dataset.samples])
    jobs = []
    for sample, stem in zip(dataset.samples, stems, strict=True):
        present = {index for name in sample.present for index in plan.targets.get(name, ())}
        if present:
            jobs.append(Job(sample.image, stem, tuple(sorted(present))))
    if not jobs:
        raise ArgumentError(
            f"no picture in {dataset.folder} has a class that the model has", settings=("class_map",)
        )
    return jobs


def refuse_folder(out: Path, data: Path) -> None:
    """See to it that nothing else is replaced, and that pictures that are made are not read as data.

    Raises:
        OutputError: the folder lies in that of the data set, or holds something else.
    """
    if out.resolve().is_relative_to(data.resolve()):
        raise OutputError(
            f"{out} lies in {data}: the next run would take its pictures for data: give another folder",
            settings=("out",),
        )
    if not (out / SETTINGS).exists():
        for name in (IMAGES, TABLE, PAGE):
            if (out / name).exists():
                raise OutputError(
                    f"{out} has {name} of something else: give another folder", settings=("out",)
                )


def augment(
    explainer: Explainer,
    folder: Path,
    jobs: Sequence[Job],
    plan: Plan,
    ledger: Ledger,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Write the pictures that are not there yet, and a line for each; gives the lines of all jobs, in order.

    A line has `id`, `status`, `files` (below the run's folder, in the order of `KINDS`), `target`, `present`
    and `predicted` (class indices), `confidence` in the target, `area` (the salient share of what is seen;
    None without augmentation), `bit_depth`, and `message`, why there is none. A picture whose classes have
    changed is done anew.

    Args:
        explainer: of the bundle.
        folder: of the data set.
        jobs: from `jobs_of`.
        plan: what is made of each.
        ledger: of the run.
        progress: called with (pictures done, pictures in all, the next picture), and at the end.

    Raises:
        SiseError: what is no picture's fault; what was finished is kept.
    """
    before = {line["id"]: line for line in read_results(ledger.folder)} if ledger.statuses else {}

    def read(job: Job) -> Ready:
        path = folder / job.id
        picture = explainer.prepare(path, bit_depth=plan.bit_depth, max_pixels=plan.max_pixels)
        if picture.bit_depth == 8:
            return picture, picture.pixels
        raster = read_picture(path, channels=explainer.manifest.input.channels, max_pixels=plan.max_pixels)
        return picture, raster.at_depth(picture.bit_depth)

    def work(job: Job, ready: Callable[[], Ready], _: CatchUp) -> Callable[[], dict[str, Any]]:
        if progress is not None:
            progress(places[job.id], len(jobs), job.id)
        picture, pixels = ready()
        return partial(write_forms, ledger.folder, job, pixels, find(explainer, job, picture, plan), plan)

    def tell(job: Job, result: dict[str, Any] | SiseError) -> None:
        if isinstance(result, SiseError):
            result = _failed(job, result)
        ledger.append([result])
        for name in before.get(job.id, {"files": ()})["files"]:
            if name not in result["files"]:
                (ledger.folder / name).unlink(missing_ok=True)

    places = {job.id: place for place, job in enumerate(jobs)}
    overlapped(_left(jobs, ledger, before), read, work, tell)
    if progress is not None:
        progress(len(jobs), len(jobs), "")
    lines = {line["id"]: line for line in read_results(ledger.folder)}
    return [lines[job.id] for job in jobs]


def _left(jobs: Sequence[Job], ledger: Ledger, before: Mapping[str, Any]) -> Iterator[Job]:
    """What is not there yet, or with other classes."""
    for job in jobs:
        if job.id not in ledger.statuses or before[job.id]["present"] != list(job.present):
            yield job


def _failed(job: Job, error: SiseError) -> dict[str, Any]:
    unknown = dict.fromkeys(("target", "predicted", "confidence", "area", "bit_depth"))
    line = {"id": job.id, "status": FAILED, "part": [1, 1], "files": [], "present": list(job.present)}
    return line | unknown | {"message": error.message}


def write_labels(out: Path, lines: Sequence[Mapping[str, Any]], explainer: Explainer, plan: Plan) -> None:
    """Write labels.csv, in the order of the lines.

    Raises:
        OutputError: it cannot be written.
    """
    manifest = explainer.manifest
    names = [manifest.label(index) for index in range(manifest.classes)]
    labelling = Labelling(names, manifest.activation, plan.salient_label, plan.kept)
    write(out / TABLE, table((line for line in lines if line["files"]), labelling, plan.method))
