"""Readers of data sets: what is wrong in one is named and collected; the rest is used."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from .coco import read_coco
from .samples import (
    Box,
    DataError,
    Dataset,
    Files,
    Problem,
    Sample,
    Truth,
    number,
    read_named,
    shuffled,
)
from .voc import read_voc

IMAGE_COLUMNS = ("image", "file", "filename", "path")
CLASS_COLUMNS = ("class", "label", "name", "class_name", "class_index")
LABEL_COLUMNS = f"columns for image ({', '.join(IMAGE_COLUMNS)}) and class ({', '.join(CLASS_COLUMNS)})"
MASK = "_mask"
MASK_ENDINGS = (MASK, "_label", "_gt", "_GT", "_seg")
"""What masks in the folder of their pictures have behind the picture's name, before any suffix."""
CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))


def read_dataset(
    folder: Path, form: str, annotations: Path | None = None, only: Iterable[str] | None = None
) -> Dataset:
    """Read a data set.

    Args:
        folder: that holds it.
        form: one of `FORMATS`.
        annotations: the annotation file of `coco` and `csv-boxes`, where it is not found by its name.
        only: names or stems of the pictures to keep, as in VOC's `ImageSets/Main/test.txt`; None keeps all.

    Raises:
        DataError: the folder or its annotation file is missing or unusable, or nothing in it can be used.
    """
    dataset = Dataset(folder)
    files = Files(folder, dataset.problems)
    FORMATS[form](files, dataset, annotations)
    if only is not None:
        _keep(set(only), dataset, files)
    if not dataset.samples:
        first = f"; the first problem: {_shown(dataset.problems[0])}" if dataset.problems else ""
        raise DataError(
            f"{folder}: holds no usable picture as the format {form} expects them{first}", settings=("form",)
        )
    dataset.samples = shuffled(dataset.samples)
    return dataset


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
    return f"{problem.kind}: {problem.where} {problem.detail}".strip()


# -------------------- csv-boxes


def read_csv_boxes(files: Files, dataset: Dataset, annotations: Path | None) -> None:
    """A table with a line for each box, and optionally one with a line for each image.

    The table is `boxes.csv`, or `annotations`. Its columns: the image (`image`, `file`, `filename` or
    `path`), the class (`class`, `label`, `name`, `class_name` or `class_index`), and the corners `x0, y0, x1,
    y1` or `xmin, ymin, xmax, ymax`: edges in pixels, the picture's own being 0 and its width or height.
    Columns `x0_227, ...` hold corners in the picture resized to 227 x 227; they are stretched to the picture
    as it is. Without a class column the class of an image is that of `labels.csv`, which has an image and a
    class column.
    """
    lost: dict[str, str] = {}
    labels = _labels(files, dataset, lost)
    table = annotations.name if annotations is not None else "boxes.csv"
    header, rows = _table(files, annotations, "boxes.csv")
    image, group = _column(header, IMAGE_COLUMNS), _column(header, CLASS_COLUMNS)
    corners, size = _corner_columns(header)
    if image is None or corners is None or (group is None and not labels):
        raise DataError(
            f"{files.folder}: the table of boxes needs columns for image, class and corners (x0, y0, x1, y1 "
            f"or xmin, ymin, xmax, ymax); it has {', '.join(header)[:300] or 'none'}"
        )
    boxes: dict[tuple[str, str], list[Box]] = {}
    broken: set[str] = set()
    for line, row in rows:
        name = (row.get(image) or "").strip()
        path = files.find(name)
        if path is None:
            _lose(lost, name, f"line {line} of {table}")
            continue
        label = (row.get(group) or "").strip() if group else labels.get(path, "")
        try:
            box = tuple(number(row.get(column) or "") for column in corners)
        except ValueError:
            box = ()
        if box and label:
            boxes.setdefault((path, label), []).append(box)  # type: ignore[arg-type]  # four of them
        else:
            detail = f"line {line} has no {'class' if box else 'four corners'}"
            dataset.problems.append(Problem("broken annotation", path, detail))
            broken.add(path)
    present: dict[str, dict[str, Truth | None]] = {path: {label: None} for path, label in labels.items()}
    for (path, label), edges in boxes.items():
        truth = Truth(boxes=tuple(edges), size=size, scaled=size is not None)
        present.setdefault(path, {})[label] = truth
    for path, truths in present.items():
        if not any(truths.values()) and path not in broken:
            dataset.problems.append(Problem("image without annotation", path, "it has a class and no box"))
    dataset.problems += [Problem("annotation without image", *item) for item in lost.items()]
    dataset.add(present, (path for path in files.pictures() if path not in broken))


def _lose(lost: dict[str, str], name: str, line: str) -> None:
    """A picture that is not there is named once, with the first line that has it."""
    lost.setdefault(name or line, line if name else "it names no picture")


def _labels(
    files: Files, dataset: Dataset, lost: dict[str, str], among: Collection[str] | None = None
) -> dict[str, str]:
    """The class of each picture that `labels.csv` names; `among` as for `Files.find`, others go to `lost`."""
    if "labels.csv" not in files.paths:
        return {}
    header, rows = _table(files, None, "labels.csv")
    image, group = _column(header, IMAGE_COLUMNS), _column(header, CLASS_COLUMNS)
    if image is None or group is None:
        columns = ", ".join(header)[:300] or "none"
        raise DataError(f"{files.folder}: labels.csv needs {LABEL_COLUMNS}; it has {columns}")
    labels: dict[str, str] = {}
    for line, row in rows:
        name, label = ((row.get(column) or "").strip() for column in (image, group))
        path = files.find(name, among)
        if path is None:
            _lose(lost, name, f"line {line} of labels.csv")
        elif label and labels.setdefault(path, label) != label:
            detail = f"line {line} of labels.csv says {label}, an earlier one {labels[path]}"
            dataset.problems.append(Problem("broken annotation", path, detail[:300]))
    return labels


def _table(
    files: Files, given: Path | None, name: str
) -> tuple[list[str], list[tuple[int, dict[str, str | None]]]]:
    content = _annotation_file(files, given, name)
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        header = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = header
        return header, [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{given or name}: is no text in UTF-8 at byte {error.start + 1}") from error
    except csv.Error as error:
        raise DataError(f"{given or name}: is no table in CSV: {error}") from error


def _annotation_file(files: Files, given: Path | None, name: str) -> bytes:
    """The annotation file that the user named, wherever it is; else the one of that name in the folder."""
    if given is None and name not in files.paths:
        raise DataError(f"{files.folder}: has no {name}: name the file", settings=("annotations",))
    return read_named(given or files.folder / name, files)


def _column(header: list[str], names: Iterable[str]) -> str | None:
    lower = {column.lower(): column for column in header}
    return next((lower[name] for name in names if name in lower), None)


def _corner_columns(header: list[str]) -> tuple[list[str] | None, tuple[int, int] | None]:
    for names in CORNERS:
        if all(name in header for name in names):
            return list(names), None
    for column in header:
        if (match := re.fullmatch(r"x0_([0-9]{1,5})", column)) and int(match[1]):
            stretched = [f"{name}_{match[1]}" for name in CORNERS[0]]
            if all(name in header for name in stretched):
                return stretched, (int(match[1]), int(match[1]))
    return None, None


# -------------------- folder


def read_folder(files: Files, dataset: Dataset, _: Path | None) -> None:
    """Pictures, in a folder for each class or in none, without ground truth."""
    for path in files.pictures():
        classes = PurePosixPath(path).parts[:-1][:1]
        dataset.samples.append(Sample(path, dict.fromkeys(classes)))


# -------------------- masks


def read_masks(files: Files, dataset: Dataset, _: Path | None) -> None:
    """Pictures with a mask each, in one of three layouts. A mask is bright where the class is.

    MVTec: `test/<class>/000.png` with `ground_truth/<class>/000_mask.png`. Two folders: `images/000.png` with
    `masks/000.png`, and `labels.csv` for the classes. Else `<class>/.../a.jpg` with `a.png`, or a picture
    that `MASK_ENDINGS` name, in the same folder.
    """
    pictures = files.pictures()
    paths = set(pictures)
    inside = {path: PurePosixPath(path).parts[:-1] for path in pictures}
    tops = {folders[:1] for folders in inside.values()}
    truths: list[str] = []
    classes: dict[str, str] = {}
    endings: tuple[str, ...] = (MASK,)
    if mvtec := [path for path in pictures if "ground_truth" in inside[path][:-1]]:
        truths = mvtec
        tests = [p for p in pictures if "test" in inside[p][:-1] and "ground_truth" not in inside[p][:-1]]
        masks = {p: _mvtec_mask(p, paths) for p in tests}
        classes = {path: inside[path][-1] for path in masks}
    elif ("masks",) in tops and ("labels.csv" in files.paths or ("images",) in tops):
        if "labels.csv" not in files.paths:  # the pictures would be taken for a class, and the masks too
            raise DataError(f"{files.folder}: images/ with masks/ needs labels.csv, with {LABEL_COLUMNS}")
        truths = [path for path in pictures if inside[path][:1] == ("masks",)]
        masks = {p: _mask_in_masks(p, paths) for p in pictures if inside[p][:1] == ("images",)}
        lost: dict[str, str] = {}
        classes = _labels(files, dataset, lost, masks)
        dataset.problems += [Problem("annotation without image", *item) for item in lost.items()]
        named = {_mask_in_masks(f"images/{name.removeprefix('images/')}", paths) for name in lost}
        truths = [path for path in truths if path not in named]
    else:
        endings = MASK_ENDINGS
        stems = {_stem(path): path for path in sorted(pictures, key=lambda p: p.endswith(".png"))}
        masks = {path: _mask_beside(path, paths, stems) for path in pictures}
        classes = {path: inside[path][0] for path in masks if inside[path]}
    used = {mask for mask in masks.values() if mask}
    for path, mask in masks.items():
        if path in used:
            continue
        if PurePosixPath(path).stem.endswith(endings):
            dataset.problems.append(Problem("annotation without image", path))
        elif path not in classes:
            dataset.problems.append(Problem("image without annotation", path, "it has no class"))
        else:
            if mask is None:
                dataset.problems.append(Problem("image without annotation", path, "it has no mask"))
            dataset.samples.append(Sample(path, {classes[path]: Truth(mask=mask) if mask else None}))
    for path in sorted(set(truths) - used):
        dataset.problems.append(Problem("annotation without image", path))


def _mvtec_mask(path: str, paths: set[str]) -> str | None:
    parts = list(PurePosixPath(path).parts)
    parts[len(parts) - 1 - parts[::-1].index("test")] = "ground_truth"
    pure = PurePosixPath(*parts)
    candidates = (pure.with_name(f"{pure.stem}{MASK}{suffix}") for suffix in (".png", pure.suffix))
    return next((str(c) for c in (*candidates, pure) if str(c) in paths), None)


def _mask_in_masks(path: str, paths: set[str]) -> str | None:
    pure = PurePosixPath("masks", *PurePosixPath(path).parts[1:])
    candidates = (pure.with_suffix(".png"), pure.with_name(f"{pure.stem}{MASK}.png"), pure)
    return next((str(c) for c in candidates if str(c) in paths), None)


def _mask_beside(path: str, paths: set[str], stems: Mapping[str, str]) -> str | None:
    stem = _stem(path)
    candidates = (*(stems.get(f"{stem}{ending}") for ending in MASK_ENDINGS), f"{stem}.png")
    return next((c for c in candidates if c in paths and c != path), None)


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))


FORMATS: dict[str, Callable[[Files, Dataset, Path | None], None]] = {
    "voc": read_voc,
    "coco": read_coco,
    "csv-boxes": read_csv_boxes,
    "masks": read_masks,
    "folder": read_folder,
}
