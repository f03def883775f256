"""Readers of data sets: what is wrong in one is named and collected; the rest is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from sise_rt.errors import ArgumentError

from .coco import read_coco
from .masks import read_masks
from .samples import DataError, Dataset, Files, Problem, Sample, shuffled
from .tables import read_csv_boxes, read_csv_labels, read_list
from .voc import read_voc


def read_folder(files: Files, dataset: Dataset, _: Path | None) -> None:
    """Pictures, in a folder for each class or in none, without ground truth."""
    for path in files.pictures():
        classes = PurePosixPath(path).parts[:-1][:1]
        dataset.samples.append(Sample(path, dict.fromkeys(classes)))
    empty = files.folders - {name for sample in dataset.samples for name in sample.present}
    dataset.problems += [Problem("folder without pictures", name) for name in sorted(empty)]


FORMATS: dict[str, Callable[[Files, Dataset, Path | None], None]] = {
    "voc": read_voc,
    "coco": read_coco,
    "csv-boxes": read_csv_boxes,
    "masks": read_masks,
    "csv-labels": read_csv_labels,
    "folder": read_folder,
}
WITHOUT_TRUTH = ("csv-labels", "folder")  # formats that tell classes at most, and not where these are
WITH_FILE = ("coco", "csv-boxes", "csv-labels")  # those with an annotation file


def read_dataset(
    folder: Path, form: str, annotations: Path | None = None, only: Iterable[str] | None = None
) -> Dataset:
    """Read a data set.

    Args:
        folder: that holds it.
        form: one of `FORMATS`.
        annotations: the annotation file of the formats `WITH_FILE`, where it is not found by its name.
        only: names or stems of the pictures to keep, as in VOC's `ImageSets/Main/test.txt`; None keeps all.

    Raises:
        ArgumentError: there is no such format.
        DataError: the folder or its annotation file is missing or unusable, or nothing in it can be used.
    """
    if form not in FORMATS:
        raise ArgumentError(f"no format {form!r}; known are {', '.join(FORMATS)}", settings=("form",))
    dataset = Dataset(folder)
    files = Files(folder, dataset.problems)
    FORMATS[form](files, dataset, annotations)
    dataset.problems += files.others()
    if only is not None:
        _keep(set(only), dataset, files)
    return _usable(dataset, f"{folder}: holds no usable picture as the format {form} expects them")


def _usable(dataset: Dataset, otherwise: str) -> Dataset:
    """The data set in the order of the evaluation.

    Raises:
        DataError: nothing in it can be used, which is said as `otherwise`.
    """
    if not dataset.samples:
        first = f"; the first problem: {_shown(dataset.problems[0])}" if dataset.problems else ""
        raise DataError(f"{otherwise}{first}", settings=("form",))
    dataset.samples = shuffled(dataset.samples)
    return dataset


def read_labelled(data: Path, form: str | None = None) -> Dataset:
    """Read pictures and their classes: a folder with a folder for each class, or a table.

    Args:
        data: the folder; or a list, whose pictures may be anywhere, as `read_list` takes it; or another
            format's annotation file in the folder of the pictures.
        form: one of `FORMATS`; None takes a file, or a `labels.csv` in the folder, for `csv-labels`, and
            anything else for `folder`.

    Raises:
        ArgumentError: there is no such format, or it has no annotation file.
        DataError: as `read_dataset` does; or the pictures of a folder have no classes.
    """
    if data.is_file():
        return _read_file(data, form or "csv-labels")
    dataset = read_dataset(data, form or ("csv-labels" if (data / "labels.csv").is_file() else "folder"))
    if not dataset.classes:
        raise DataError(
            f"{data}: its pictures have no classes: a folder for each class is expected, called by its label "
            "or index, or a labels.csv with a line for each picture: its path, and its class"
        )
    return dataset


def _read_file(data: Path, form: str) -> Dataset:
    if form in FORMATS and form not in WITH_FILE:
        raise ArgumentError(
            f"{data} is a file, and the format {form} has none: name the folder", settings=("form",)
        )
    if form != "csv-labels":
        return read_dataset(data.parent, form, data)
    return _usable(read_list(data), f"{data}: names no picture that can be used, with its class")


def _keep(wanted: set[str], dataset: Dataset, files: Files) -> None:
    """Only the pictures that are wanted, with their problems; a name without a picture is a problem too."""
    usable = set().union(*(_names(sample.image) for sample in dataset.samples))
    dataset.samples = [sample for sample in dataset.samples if wanted & _names(sample.image)]
    dataset.problems = [problem for problem in dataset.problems if wanted & _places(problem)]
    # A picture that is there and cannot be used has its problem already.
    there = set().union(*map(_names, files.pictures()))
    told = there & set().union(*map(_places, dataset.problems))
    dataset.problems += [Problem("image not found", name) for name in sorted(wanted - usable - told)]


def _names(path: str) -> set[str]:
    pure = PurePosixPath(path)
    return {path, pure.name, pure.stem}


def _places(problem: Problem) -> set[str]:
    """Names of the picture of a problem, whose `where` is a path, `path: annotation 12` or `path: a.xml`."""
    return _names(problem.where) | _names(problem.where.rpartition(": ")[0])


def _shown(problem: Problem) -> str:
    return f"{problem.kind}: {problem.where}" + (f" ({problem.detail})" if problem.detail else "")
