"""COCO's annotation file: polygons, run lengths and boxes of objects in many pictures."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any, TypeGuard

from .samples import MAX_TABLE, Box, DataError, Dataset, Files, Problem, Truth, number, read_limited, side

MAX_RUNS = 10_000_000


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
            found = ", ".join(tables[:5]) or "none"
            raise DataError(
                f"{files.folder}: one annotation file is needed, here are {found}: name it with --annotations"
            )
        annotations = files.folder / tables[0]
    present = parse_coco(read_limited(annotations, MAX_TABLE), files, dataset)
    for path, truths in present.items():
        if not truths:
            dataset.problems.append(Problem("image without annotation", path, "it has no object"))
    # Pictures that the file does not list mostly belong to another split; they are not named one by one.
    dataset.add(present, ())


def parse_coco(content: bytes, files: Files, dataset: Dataset) -> dict[str, dict[str, Truth | None]]:
    """The classes of every listed picture that is there, each with its truth.

    Args:
        content: of the file, an object with `images`, `annotations` and `categories`.
        files: the folder's.
        dataset: gets the problems.

    Raises:
        DataError: the file is no such JSON.
    """
    try:
        table = json.loads(content)
        categories = {item["id"]: str(item["name"]) for item in table["categories"]}
        listed = [(item["id"], item) for item in table["images"]]
        images = dict(listed)
        objects = list(table["annotations"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"the annotation file is not COCO's JSON of images, annotations and categories: {error!r}"
        ) from error
    paths, sizes = _places(listed, files, dataset)
    parts: dict[tuple[str, str], list[Truth]] = {}
    for item in objects:
        where = f"annotation {item.get('id')}" if isinstance(item, dict) else "an annotation"
        try:
            key = item["image_id"]
            if key not in images:
                dataset.problems.append(Problem("annotation without image", where, f"image {key}"))
                continue
            if place := paths.get(key) or _name(images[key]):
                where = f"{place}: {where}"
            label, part = categories[item["category_id"]], _truth(item)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            dataset.problems.append(
                Problem("broken annotation", where, f"{type(error).__name__}: {error}"[:300])
            )
            continue
        if key in paths:
            parts.setdefault((paths[key], label), []).append(part)

    present: dict[str, dict[str, Truth | None]] = {path: {} for path in paths.values()}
    for (path, label), found in parts.items():
        present[path][label] = Truth(
            boxes=tuple(box for part in found for box in part.boxes),
            polygons=tuple(polygon for part in found for polygon in part.polygons),
            runs=tuple(run for part in found for run in part.runs),
            size=sizes[path],
        )
    return present


def _places(
    listed: list[tuple[Any, dict[str, Any]]], files: Files, dataset: Dataset
) -> tuple[dict[Any, str], dict[str, tuple[int, int] | None]]:
    """The path of every listed id, and the (height, width) that is stated for each path.

    Of one file that is listed twice under the same name and size the annotations are put together. Where
    two entries contradict each other nobody knows whose annotations are whose: neither is taken.
    """
    entries: dict[Any, tuple[str, tuple[int, int] | None]] = {}
    paths: dict[Any, str] = {}
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
            dataset.problems.append(Problem("annotation without image", name or f"image {key}"))
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
        height, width = segmentation["size"]
        if not (_whole(height) and _whole(width) and height * width <= 1e9):
            raise ValueError(f"a mask of size {segmentation['size']}")
        counts = segmentation["counts"]
        runs = unpacked(counts) if isinstance(counts, str) else [_run(count) for count in counts]
        if any(run < 0 for run in runs) or sum(runs) != height * width:
            raise ValueError("run lengths that do not fill their mask")
        return Truth(runs=((tuple(runs), (height, width)),))
    if segmentation:
        polygons = tuple(tuple(number(value) for value in polygon) for polygon in segmentation)
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise ValueError("a polygon of fewer than three corners")
        return Truth(polygons=polygons)
    x, y, width, height = (number(value) for value in item["bbox"])
    box: Box = (x, y, x + width, y + height)
    return Truth(boxes=(box,))


def _run(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int | float) or count != int(count):
        raise ValueError(f"{count!r} is no run length")
    return int(count)


def unpacked(text: str) -> list[int]:
    """Run lengths from COCO's compressed text.

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
