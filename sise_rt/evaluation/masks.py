"""Masks in files, in three layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from .samples import DataError, Dataset, Files, Problem, Sample, Truth
from .tables import LABEL_COLUMNS, read_labels

MASK = "_mask"
MASK_ENDINGS = (MASK, "_label", "_gt", "_GT", "_seg")
"""What masks in the folder of their pictures have behind the picture's name, before any suffix."""


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
        classes = read_labels(files, dataset, lost, masks)
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
