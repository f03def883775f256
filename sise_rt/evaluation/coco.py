"""COCO's annotation file: polygons, run lengths and boxes of objects in many pictures."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from .samples import Box, DataError, Dataset, Files, Problem, Truth, number, read_named, side

MAX_RUNS = 10_000_000

Key = int | float | str
"""An id."""


def read_coco(files: Files, dataset: Dataset, annotations: Path | None) -> None:
    """An instances file with polygons, run lengths or boxes.

    It is `annotations`, else the only .json in the folder that is called `instances...`, else the only one.

    Raises:
        DataError: there is none, there are several, or it is not COCO's.
    """
    if annotations is None:
        tables = files.ending(".json")
        tables = [p for p in tables if PurePosixPath(p).name.startswith("instances")] or tables
        if len(tables) != 1:
            there = ", ".join(tables[:5]) or "none"
            raise DataError(
                f"{files.folder}: one annotation file is needed, here are {there}: name the file",
                settings=("annotations",),
            )
        annotations = files.folder / tables[0]
    content = read_named(annotations, files)
    try:
        table = _table(content)
    except ValueError as error:
        layout = "COCO's JSON of images, annotations and categories"
        raise DataError(f"{annotations}: is not {layout}: {error}") from error
    present = _present(*table, files, dataset)
    # Pictures that the file does not list mostly belong to another split; they are not named one by one.
    dataset.add(present, ())


def _table(content: bytes) -> tuple[dict[Key, str], list[tuple[Key, dict[str, Any]]], list[Any]]:
    """The names of the categories, the images with their ids, and the annotations.

    Raises:
        ValueError: the file is no such JSON.
    """
    try:
        table = json.loads(content)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is no text in UTF-8") from error
    except ValueError as error:
        raise ValueError("it has a number of thousands of digits") from error
    categories: dict[Key, str] = {}
    for key, item in _by_id(table, "categories"):
        if "name" not in item:
            raise ValueError(f"category {key} has no name")
        categories[key] = str(item["name"])
    return categories, _by_id(table, "images"), _entries(table, "annotations")


def _entries(table: Any, name: str) -> list[Any]:
    entries = table.get(name) if isinstance(table, dict) else None
    if not isinstance(entries, list):
        raise ValueError(f"it has no list of {name}")
    return entries


def _by_id(table: Any, name: str) -> list[tuple[Key, dict[str, Any]]]:
    keyed: list[tuple[Key, dict[str, Any]]] = []
    for position, item in enumerate(_entries(table, name), 1):
        try:
            keyed.append((_key(item, "id"), item))
        except ValueError as error:
            raise ValueError(f"entry {position} of its {name}: {error}") from error
    return keyed


def _key(item: Any, name: str) -> Key:
    if not isinstance(item, dict):
        raise ValueError("it is no object of JSON")
    key = item.get(name)
    if not isinstance(key, int | float | str):
        raise ValueError(f"it has no {name}" if key is None else f"its {name} is no number and no text")
    return key


def _present(
    categories: dict[Key, str],
    listed: list[tuple[Key, dict[str, Any]]],
    objects: list[Any],
    files: Files,
    dataset: Dataset,
) -> dict[str, dict[str, Truth | None]]:
    """The classes of every listed picture that is there, each with its truth; problems go to `dataset`."""
    images = dict(listed)
    paths, sizes = _places(listed, files, dataset)
    parts: dict[tuple[str, str], list[Truth]] = {}
    broken: set[str | None] = set()
    for item in objects:
        where = f"annotation {item.get('id')}" if isinstance(item, dict) else "an annotation"
        path = None
        try:
            key = _key(item, "image_id")
            if key not in images:
                dataset.problems.append(Problem("annotation without image", where, f"image {key}"))
                continue
            path = paths.get(key)
            if place := path or _name(images[key]):
                where = f"{place}: {where}"
            category = _key(item, "category_id")
            if category not in categories:
                raise ValueError(f"category {category} is not in categories")
            part = _truth(item)
        except ValueError as error:
            dataset.problems.append(Problem("broken annotation", where, str(error)[:300]))
            broken.add(path)
            continue
        if path is not None:
            parts.setdefault((path, categories[category]), []).append(part)

    present: dict[str, dict[str, Truth | None]] = {path: {} for path in paths.values()}
    for (path, label), truths in parts.items():
        present[path][label] = Truth(
            boxes=tuple(box for truth in truths for box in truth.boxes),
            polygons=tuple(polygon for truth in truths for polygon in truth.polygons),
            runs=tuple(run for truth in truths for run in truth.runs),
            size=sizes[path],
        )
    for path, classes in present.items():
        if not classes and path not in broken:
            dataset.problems.append(Problem("image without annotation", path, "it has no object"))
    return present


def _places(
    listed: list[tuple[Key, dict[str, Any]]], files: Files, dataset: Dataset
) -> tuple[dict[Key, str], dict[str, tuple[int, int] | None]]:
    """The path of every listed id, and the (height, width) that is stated for each path.

    Of one file that is listed twice under the same name and size the annotations are put together. Where
    two entries contradict each other nobody knows whose annotations are whose: neither is taken.
    """
    entries: dict[Key, tuple[str, tuple[int, int] | None]] = {}
    paths: dict[Key, str] = {}
    first: dict[str, tuple[str, tuple[int, int] | None]] = {}
    broken: set[str] = set()
    for key, item in listed:
        name = _name(item)
        try:
            entry = (name, _size(item))
        except ValueError as error:
            where = name or f"image {key}"
            dataset.problems.append(Problem("broken annotation", where, f"{error}"[:300]))
            continue
        path = files.find(name)
        if entries.setdefault(key, entry) != entry:
            broken.update(filter(None, (paths.get(key), path)))
        elif path is None:
            detail = "" if name else "it has no file_name"
            dataset.problems.append(Problem("annotation without image", name or f"image {key}", detail))
        else:
            paths[key] = path
            if first.setdefault(path, entry) != entry:
                broken.add(path)
    for path in sorted(broken):
        detail = "image listed twice, with other names, sizes or ids"
        dataset.problems.append(Problem("broken annotation", path, detail))
    sizes = {path: size for path, (_, size) in first.items()}
    return {key: path for key, path in paths.items() if path not in broken}, sizes


def _name(item: dict[str, Any]) -> str:
    return str(item.get("file_name", ""))


def _size(item: dict[str, Any]) -> tuple[int, int] | None:
    height, width = side(item.get("height")), side(item.get("width"))
    return (height, width) if height and width else None


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _truth(item: dict[str, Any]) -> Truth:
    """One object's: its segmentation, or its box where it has none."""
    segmentation = item.get("segmentation")
    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if not (isinstance(size, list) and len(size) == 2 and all(map(_whole, size))):
            raise ValueError("run lengths without a size of two whole numbers")
        height, width = size
        if height * width > 1e9:
            raise ValueError(f"run lengths of {width} x {height} pixels, which is too large")
        if not isinstance(counts, list | str):
            raise ValueError("a segmentation with a size and without counts")
        runs = unpacked(counts) if isinstance(counts, str) else [_run(count) for count in counts]
        if any(run < 0 for run in runs) or sum(runs) != height * width:
            raise ValueError("run lengths that do not fill their mask")
        return Truth(runs=((tuple(runs), (height, width)),))
    if segmentation:
        if not (isinstance(segmentation, list) and all(isinstance(part, list) for part in segmentation)):
            raise ValueError("its segmentation is neither polygons nor run lengths")
        polygons = tuple(tuple(number(value) for value in polygon) for polygon in segmentation)
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise ValueError("a polygon of fewer than three corners")
        return Truth(polygons=polygons)
    edges = item.get("bbox")
    if edges is None:
        raise ValueError("it has no segmentation and no bbox")
    if not isinstance(edges, list) or len(edges) != 4:
        raise ValueError("its bbox is not four numbers")
    x, y, width, height = map(number, edges)
    box: Box = (x, y, x + width, y + height)
    return Truth(boxes=(box,))


def _run(count: Any) -> int:
    whole = isinstance(count, int) or (isinstance(count, float) and count.is_integer())
    if isinstance(count, bool) or not whole:
        raise ValueError("a run length that is no whole number")
    return int(count)


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's compressed text.

    By hand, for pycocotools (2.0.11) checks too little: run lengths that are too few give a mask of whatever
    the memory held, and a wrong size, as a polygon's corner far away, ends the process.

    Each run is a number in base 32, its lowest digit first, in characters from `0` on; 32 in a digit says
    that more follow, 16 in the last that the number is negative. From the fourth on a run is the difference
    to the run two before it.

    Raises:
        ValueError: the text ends within a number, or holds other characters.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 30 or len(runs) >= MAX_RUNS:
            raise ValueError("run lengths that cannot be read")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("run lengths that end too early")
    return runs
