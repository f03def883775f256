"""Ground truth becomes a mask over the model's input.

The mask is drawn on the original picture and sampled where the model's input lies, at the pixel under the
centre of each input pixel: the inverse of `sise_rt.pictures.placement.to_original`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sise_rt.errors import ArgumentError, ImageError
from sise_rt.pictures.placement import Placement

from .mask_files import read_mask_file
from .samples import Box, Problem, Truth


def to_input(mask: np.ndarray, placement: Placement) -> np.ndarray:
    """Take a mask over the picture to the model's input, by the nearest pixel.

    Args:
        mask: bool (H0, W0), over the original picture.
        placement: of the picture in the model's input.

    Returns:
        bool (H, W); False where the input reaches beyond the picture.

    Raises:
        ArgumentError: the mask has not the picture's size.
    """
    if mask.shape != placement.original:
        raise ArgumentError(f"a mask {mask.shape} does not fit a picture {placement.original}")
    rows, row_there = _nearest(0, placement.top, placement)
    columns, column_there = _nearest(1, placement.left, placement)
    return mask[rows[:, None], columns] & row_there[:, None] & column_there


def _nearest(axis: int, start: int, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """For each input row or column the original's, and whether there is one; in integers, so exact."""
    original, resized = placement.original[axis], placement.resized[axis]
    index = np.arange(placement.input[axis], dtype=np.int64) + start
    there = (index >= 0) & (index < resized)
    return np.clip((2 * index + 1) * original // (2 * resized), 0, original - 1), there


def draw(
    truth: Truth, size: tuple[int, int], folder: Path, where: str, max_pixels: int
) -> tuple[np.ndarray | None, list[Problem]]:
    """Draw a class's truth over its picture.

    Args:
        truth: what the data set says.
        size: the picture's (height, width).
        folder: of the data set, for masks in files.
        where: names the pair in problems.
        max_pixels: larger masks in files are refused.

    Returns:
        bool (height, width), or None where nothing can be compared with; and what was found wrong.
    """
    if truth.size is not None and truth.size != size and not truth.scaled:
        stated = f"annotated at {truth.size[1]} x {truth.size[0]}, the picture has {size[1]} x {size[0]}"
        return None, [Problem("sizes differ", where, stated)]
    if truth.masks:
        return _union(truth.masks, size, folder, where, max_pixels)
    mask = np.zeros(size, bool)
    problems: list[Problem] = []
    for box in truth.boxes:
        _add_box(mask, _stretched(box, truth, size), where, problems)
    for polygon in truth.polygons:
        _add_polygon(mask, _stretched(polygon, truth, size))
    for counts, shape in truth.runs:
        if shape != size or sum(counts) != shape[0] * shape[1]:
            stated = f"a run-length mask of {shape[1]} x {shape[0]} in a picture of {size[1]} x {size[0]}"
            problems.append(Problem("broken annotation", where, stated))
            continue
        values = np.arange(len(counts)) % 2 == 1
        mask |= np.repeat(values, counts).reshape(shape[::-1]).T
    if mask.any():
        return mask, problems
    problems = [problem for problem in problems if problem.kind != "box clipped"]  # to nothing
    if len(problems) < max(1, len(truth.boxes) + len(truth.polygons) + len(truth.runs)):
        problems.append(Problem("empty truth", where, "it covers no pixel's centre"))
    return None, problems


def _stretched(coordinates: Sequence[float], truth: Truth, size: tuple[int, int]) -> list[float]:
    if truth.size is None:
        return list(coordinates)
    factors = size[1] / truth.size[1], size[0] / truth.size[0]
    return [value * factors[i % 2] for i, value in enumerate(coordinates)]


def _add_box(mask: np.ndarray, box: Box | list[float], where: str, problems: list[Problem]) -> None:
    height, width = mask.shape
    x0, y0, x1, y1 = box
    text = f"{x0:g}, {y0:g}, {x1:g}, {y1:g} in {width} x {height}"
    if x1 <= x0 or y1 <= y0:
        problems.append(Problem("broken annotation", where, f"box {text} has no area"))
        return
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        problems.append(Problem("box outside the picture", where, text))
        return
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        problems.append(Problem("box clipped", where, text))
    # Inside are the pixels i with x0 <= i + 0.5 < x1.
    left, top, right, bottom = (max(0, int(np.ceil(edge - 0.5))) for edge in (x0, y0, x1, y1))
    mask[top:bottom, left:right] = True


def _add_polygon(mask: np.ndarray, polygon: Sequence[float]) -> None:
    from skimage.draw import polygon as inside

    points = np.array(polygon, np.float64).reshape(-1, 2) - 0.5
    rows, columns = inside(points[:, 1], points[:, 0], mask.shape)
    mask[rows, columns] = True


def _union(
    paths: Sequence[str], size: tuple[int, int], folder: Path, where: str, max_pixels: int
) -> tuple[np.ndarray | None, list[Problem]]:
    """What any of the masks covers; one that cannot be used leaves the truth unknown."""
    union = np.zeros(size, bool)
    for path in paths:
        try:
            mask = read_mask_file(folder / path, max_pixels)
        except ImageError as error:
            return None, [Problem("broken annotation", where, str(error))]
        if mask.shape != size:
            stated = f"{path} has {mask.shape[1]} x {mask.shape[0]}, the picture {size[1]} x {size[0]}"
            return None, [Problem("sizes differ", where, stated)]
        union |= mask
    return (union, []) if union.any() else (None, [Problem("empty mask", where, ", ".join(paths))])
