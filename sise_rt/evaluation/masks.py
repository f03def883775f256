"""Masks in files, in three layouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath

from .samples import DataError, Dataset, Files, Problem, Sample, Truth
from .tables import LABEL_COLUMNS, read_labels

MASK = "_mask"
MASK_ENDINGS = (MASK, "_label", "_gt", "_GT", "_seg")
"""What masks in the folder of their pictures have behind the picture's name, before any suffix."""


def read_masks(files: Files, dataset: Dataset, _: Path | None) -> None:
    """Pictures with their masks, in one of three layouts.

    MVTec: `test/<class>/000.png` with `ground_truth/<class>/000_mask.png` (AD), or with all that is in the
    folder `ground_truth/<class>/000/` (LOCO). Two folders: `images/000.png` with `masks/000.png`, and
    `labels.csv` for the classes. Else `<class>/.../a.jpg` with `a.png`, or a picture
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
        parts = _by_folder(truths)
        masks = {p: _mvtec_masks(p, paths, parts) for p in tests}
        classes = {path: inside[path][-1] for path in masks}
    elif ("masks",) in tops and ("labels.csv" in files.paths or ("images",) in tops):
        if "labels.csv" not in files.paths:  # the pictures would be taken for a class, and the masks too
            raise DataError(f"{files.folder}: images/ with masks/ needs labels.csv, with {LABEL_COLUMNS}")
        truths = [path for path in pictures if inside[path][:1] == ("masks",)]
        masks = {p: _mask_in_masks(p, paths) for p in pictures if inside[p][:1] == ("images",)}
        lost: dict[str, str] = {}
        classes = read_labels(files, dataset, lost, masks)
        dataset.problems += [Problem("annotation without image", *item) for item in lost.items()]
        named = (_mask_in_masks(f"images/{name.removeprefix('images/')}", paths) for name in lost)
        told = set(chain.from_iterable(named))
        truths = [path for path in truths if path not in told]
    else:
        endings = MASK_ENDINGS
        stems = {_stem(path): path for path in sorted(pictures, key=lambda p: p.endswith(".png"))}
        masks = {path: _mask_beside(path, paths, stems) for path in pictures}
        classes = {path: inside[path][0] for path in masks if inside[path]}
    used = set(chain.from_iterable(masks.values()))
    for path, own in masks.items():
        if path in used:
            continue
        if PurePosixPath(path).stem.endswith(endings):
            dataset.problems.append(Problem("annotation without image", path))
        elif path not in classes:
            dataset.problems.append(Problem("image without annotation", path, "it has no class"))
        else:
            if not own:
                dataset.problems.append(Problem("image without annotation", path, "it has no mask"))
            dataset.samples.append(Sample(path, {classes[path]: Truth(masks=own) if own else None}))
    for path in sorted(set(truths) - used):
        dataset.problems.append(Problem("annotation without image", path))


def _by_folder(paths: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Paths by the folder that they lie in."""
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(str(PurePosixPath(path).parent), []).append(path)
    return {folder: tuple(inside) for folder, inside in folders.items()}


def _mvtec_masks(path: str, paths: set[str], parts: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Of one picture: a file, or all files in a folder."""
    folders = list(PurePosixPath(path).parts)
    folders[len(folders) - 1 - folders[::-1].index("test")] = "ground_truth"
    pure = PurePosixPath(*folders)
    candidates = (pure.with_name(f"{pure.stem}{MASK}{suffix}") for suffix in (".png", pure.suffix))
    return _first((*candidates, pure), paths) or parts.get(str(pure.with_suffix("")), ())


def _mask_in_masks(path: str, paths: set[str]) -> tuple[str, ...]:
    pure = PurePosixPath("masks", *PurePosixPath(path).parts[1:])
    return _first((pure.with_suffix(".png"), pure.with_name(f"{pure.stem}{MASK}.png"), pure), paths)


def _first(candidates: Iterable[PurePosixPath], paths: set[str]) -> tuple[str, ...]:
    """The first that is there, alone; nothing if none is."""
    return next(((str(path),) for path in candidates if str(path) in paths), ())


def _mask_beside(path: str, paths: set[str], stems: Mapping[str, str]) -> tuple[str, ...]:
    stem = _stem(path)
    candidates = (*(stems.get(f"{stem}{ending}") for ending in MASK_ENDINGS), f"{stem}.png")
    return next(((c,) for c in candidates if c in paths and c != path), ())


def _stem(path: str) -> str:
    return str(PurePosixPath(path).with_suffix(""))
