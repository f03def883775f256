"""Boxes in a table of CSV, and the classes of pictures in another one."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path, PurePath

from .samples import (
    MAX_TABLE,
    Box,
    DataError,
    Dataset,
    Files,
    Problem,
    Truth,
    number,
    read_limited,
    read_named,
)

Rows = list[tuple[int, dict[str, str | None]]]

IMAGE_COLUMNS = ("image", "file", "filename", "path")
CLASS_COLUMNS = ("class", "label", "name", "class_name", "class_index")
LABEL_COLUMNS = f"columns for image ({', '.join(IMAGE_COLUMNS)}) and class ({', '.join(CLASS_COLUMNS)})"
CORNERS = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))


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
    labels = read_labels(files, dataset, lost)
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


def read_csv_labels(files: Files, dataset: Dataset, annotations: Path | None) -> None:
    """A table with a line for each picture and class of it, without ground truth.

    The table is `labels.csv`, or `annotations`. Its columns: the image (`image`, `file`, `filename` or
    `path`) and the class (`class`, `label`, `name`, `class_name` or `class_index`); without a header the
    image comes first and the class second.
    """
    table = annotations.name if annotations is not None else "labels.csv"
    header, rows = _table(files, annotations, "labels.csv")
    present, lost = _classes(dataset, table, header, rows, files.find)
    for name, line in lost.items():
        kind = "image outside of the list's folder" if files.outside(name) else "annotation without image"
        dataset.problems.append(Problem(kind, name, line))
    told = {problem.where for problem in dataset.problems}
    dataset.add(present, (path for path in files.pictures() if path not in told))


def read_list(table: Path) -> Dataset:
    """The pictures that a list names, with their classes, in the columns of `read_csv_labels`.

    Who hands over a list of pictures means these, wherever they are: by whole paths, by paths from the list's
    folder and out of it, through links. Only where a name leads nowhere is that folder searched, as of a data
    set. Files that the list does not name are nobody's concern.

    Raises:
        DataError: it is no such list.
    """
    folder, dataset = table.parent, Dataset(table.parent)
    searched = cache(lambda: Files(folder, []))

    def find(name: str) -> str | None:
        for spelling in (name, name.replace("\\", "/")):
            if name and os.path.isfile(folder / spelling):
                return PurePath(spelling).as_posix()
        return searched().find(name)

    header, rows = _rows(read_limited(table, MAX_TABLE), str(table))
    present, lost = _classes(dataset, table.name, header, rows, find)
    dataset.problems += [Problem("annotation without image", *item) for item in lost.items()]
    dataset.add(present, ())
    return dataset


def _classes(
    dataset: Dataset, table: str, header: list[str], rows: Rows, find: Callable[[str], str | None]
) -> tuple[dict[str, dict[str, Truth | None]], dict[str, str]]:
    """The classes of each picture of a table, and the pictures that are not there, as `_lose` has them.

    Lines without a class are added to the data set's problems.
    """
    image, group = _column(header, IMAGE_COLUMNS), _column(header, CLASS_COLUMNS)
    if None in (image, group) and len(header) == 2 and find(header[0]):
        image, group = header
        rows.insert(0, (1, {image: image, group: group}))
    if image is None or group is None:
        columns = ", ".join(header)[:300] or "none"
        raise DataError(f"{dataset.folder}: {table} needs {LABEL_COLUMNS}; it has {columns}")
    present: dict[str, dict[str, Truth | None]] = {}
    lost: dict[str, str] = {}
    for line, row in rows:
        name, label = ((row.get(column) or "").strip() for column in (image, group))
        path = find(name)
        if path is None:
            _lose(lost, name, f"line {line} of {table}")
        elif label:
            present.setdefault(path, {})[label] = None
        else:
            dataset.problems.append(Problem("broken annotation", path, f"line {line} has no class"))
    return present, lost


def _lose(lost: dict[str, str], name: str, line: str) -> None:
    """A picture that is not there is named once, with the first line that has it."""
    lost.setdefault(name or line, line if name else "it names no picture")


def read_labels(
    files: Files, dataset: Dataset, lost: dict[str, str], among: Collection[str] | None = None
) -> dict[str, str]:
    """The class of each picture that labels.csv names.

    Args:
        files: of the data set; without a labels.csv no picture has a class.
        dataset: problems are added.
        lost: pictures that are not there are added, each with the line that names it.
        among: paths that may be meant, as for `Files.find`.

    Raises:
        DataError: it is no such table.
    """
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


def _table(files: Files, given: Path | None, name: str) -> tuple[list[str], Rows]:
    return _rows(_annotation_file(files, given, name), str(given or name))


def _rows(content: bytes, where: str) -> tuple[list[str], Rows]:
    """The heading of a table, and its lines by their numbers."""
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        header = [column.strip() for column in reader.fieldnames or []]
        reader.fieldnames = header
        return header, [(reader.line_num, row) for row in reader]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: is no text in UTF-8 at byte {error.start + 1}") from error
    except csv.Error as error:
        raise DataError(f"{where}: is no table in CSV: {error}") from error


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
