"""All labelled pictures of a data set, with parts hidden that matter; a kill loses the one in hand."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sise_rt.answering import predict
from sise_rt.bulk.items import DONE, FAILED, NO_EVIDENCE, SKIPPED, CatchUp, overlapped
from sise_rt.bulk.ledger import SETTINGS, Ledger, read_results
from sise_rt.bulk.settings import of_model
from sise_rt.bulk.stems import stems_of_ids
from sise_rt.errors import ArgumentError, NoEvidence, OutputError, SiseError
from sise_rt.evaluation.samples import Dataset
from sise_rt.explainer import Explainer
from sise_rt.files import make_folder, whole_file
from sise_rt.methods import Request
from sise_rt.naming import base_name
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import to_original
from sise_rt.pictures.reading import MAX_PIXELS, read_picture
from sise_rt.report.elements import readable
from sise_rt.running.logits import confidences

from .labels import KINDS, ORIGINAL, REST, SALIENT, TABLE, Labelling, table
from .occlusion import FILLS, at_least, highest_share, occluded, random_map

SCHEMA = "sise-rt/augment/1"
"""What run.json is: the number changes where a line of results, or of the table, changes its meaning."""
IMAGES, PAGE = "images", "augment.html"
RANDOM = "random"  # in place of a method: maps that know nothing of the picture
SURE = 0.5  # the confidence of a sigmoid's class that is taken for present
NOTHING = "its map marks nothing, or all of the picture"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made of every picture.

    Attributes:
        request: the method that finds out what is salient; None takes random maps.
        targets: for each class of the data set that the model has, the model's classes.
        area: the share of what the model sees that is salient; None takes the threshold.
        threshold: the value of the map from which on a pixel is salient; None takes the area.
        fill: of `FILLS`.
        salient_label: of `sise_rt.augmenting.labels.SALIENT_LABELS`.
        kept: classes of the model that keep their label whatever is hidden.
        every: whether pictures are taken that the model gets wrong.
        seed: of all that is random.
        batch_size: images a forward pass.
        max_pixels: larger pictures are refused.
        bit_depth: of pictures that are stored in 16 bits; None takes what each file or the model says.
    """

    request: Request | None
    targets: Mapping[str, tuple[int, ...]]
    area: float | None
    threshold: float | None
    fill: str
    salient_label: str
    kept: tuple[int, ...]
    every: bool
    seed: int
    batch_size: int
    max_pixels: int = MAX_PIXELS
    bit_depth: int | None = None

    @property
    def method(self) -> str:
        """What found out what is salient."""
        return RANDOM if self.request is None else self.request.label


@dataclass(frozen=True)
class Job:
    """A picture.

    Attributes:
        id: its path below the data set's folder.
        stem: what its files are called, below the folder of pictures.
        present: the model's classes that it has.
    """

    id: str
    stem: str
    present: tuple[int, ...]


Ready = tuple[Picture, np.ndarray]
"""A picture, and its pixels with all their bits: uint8 or uint16 (H, W, C)."""
Found = tuple[dict[str, Any], np.ndarray | None, np.ndarray | None]
"""What a line tells, what is salient, bool (H, W), and what was seen; None where there is no augmentation."""


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
        return partial(_written, ledger.folder, job, pixels, find(explainer, job, picture, plan), plan)

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


# -------------------- one picture


def find(explainer: Explainer, job: Job, picture: Picture, plan: Plan) -> Found:
    """What of a picture is salient for its class; of several classes for the one the model is surest of.

    Raises:
        SiseError: the model cannot be run on it.
    """
    trust = confidences(predict(explainer.engine, picture.tensor), explainer.manifest.activation)
    target, best = max(job.present, key=lambda index: trust[index]), int(trust.argmax())
    line: dict[str, Any] = {
        "id": job.id,
        "status": DONE,
        "part": [1, 1],
        "files": [],
        "target": target,
        "present": list(job.present),
        "predicted": best,
        "confidence": float(trust[target]),
        "area": None,
        "bit_depth": picture.bit_depth,
        "message": None,
    }
    several = explainer.manifest.activation == "sigmoid"
    right = trust[target] >= SURE if several else best == target
    if not (right or plan.every):
        said = (
            f"the model says {explainer.manifest.label(best)}" if not several else "the model does not see it"
        )
        return line | {"status": SKIPPED, "message": said}, None, None
    try:
        map_ = _map(explainer, job, picture, target, plan)
    except NoEvidence as nothing:
        return line | {"status": NO_EVIDENCE, "message": nothing.message}, None, None
    placed, seen = to_original(map_, picture.placement)
    if plan.area is not None:
        salient = highest_share(placed, seen, plan.area)
    else:
        assert plan.threshold is not None
        salient = at_least(placed, seen, plan.threshold)
    if not salient.any() or (salient == seen).all():
        return line | {"status": NO_EVIDENCE, "message": NOTHING}, None, None
    return line | {"area": float(salient.sum() / seen.sum())}, salient, seen


def _map(explainer: Explainer, job: Job, picture: Picture, target: int, plan: Plan) -> np.ndarray:
    """The map (H, W) float32 over the model's input.

    Raises:
        NoEvidence: nothing speaks for the target.
    """
    if plan.request is None:
        return random_map(picture.placement.input, chance(plan.seed, job.id, RANDOM))
    (answer,) = explainer.explain_methods(picture, [target], [plan.request], batch_size=plan.batch_size)[
        plan.request.label
    ]
    if isinstance(answer, NoEvidence):
        raise answer
    return answer.map


def chance(seed: int, identity: str, use: str) -> np.random.Generator:
    """A source of chance for one picture and use, which does not depend on what was done before."""
    text = f"{seed}:{use}:{identity}".encode("utf-8", "surrogateescape")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))


def _written(out: Path, job: Job, pixels: np.ndarray, found: Found, plan: Plan) -> dict[str, Any]:
    """Write the pictures of a job; gives its line.

    Raises:
        OutputError: one cannot be written; `Unwritable` where no other one could be.
    """
    line, salient, seen = found
    shown = {ORIGINAL: pixels}
    if salient is not None and seen is not None:
        for kind, hidden in ((REST, seen & ~salient), (SALIENT, salient)):
            rng = chance(plan.seed, job.id, kind)
            shown[kind] = occluded(pixels, hidden, FILLS[plan.fill], rng)
    files = []
    for kind in KINDS[: len(shown)]:
        ending, data = encoded(shown[kind])
        files.append(f"{IMAGES}/{base_name(job.stem, line['target'], kind)}{ending}")
        make_folder((out / files[-1]).parent, settings=("out",))
        write(out / files[-1], data)
    return line | {"files": files}


def encoded(pixels: np.ndarray) -> tuple[str, bytes]:
    """A picture (H, W, C) as a file without losses, with its ending: PNG, or NumPy's for what is not RGB."""
    if pixels.shape[2] == 3:
        return ".png", cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()
    buffer = io.BytesIO()
    np.save(buffer, pixels, allow_pickle=False)
    return ".npy", buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write a file whole; what a kill leaves of it has a name that the next run replaces.

    Raises:
        OutputError: it cannot be written; `Unwritable` where no other one could be.
    """
    with whole_file(path, path.with_name(f".{path.name}.tmp")) as file:
        file.write(data)


def write_labels(out: Path, lines: Sequence[Mapping[str, Any]], explainer: Explainer, plan: Plan) -> None:
    """Write labels.csv, in the order of the lines.

    Raises:
        OutputError: it cannot be written.
    """
    manifest = explainer.manifest
    names = [manifest.label(index) for index in range(manifest.classes)]
    labelling = Labelling(names, manifest.activation, plan.salient_label, plan.kept)
    write(out / TABLE, table((line for line in lines if line["files"]), labelling, plan.method))
