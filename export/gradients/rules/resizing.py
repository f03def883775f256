"""Rules of what makes axes longer or shorter: repeats, borders and resampling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from ..resampling import cubic, interpolation, nearest, padding_sources, source_positions, triangle
from .table import Gradients, multiply_along, put_back, reshape_sizes, rule


@rule("Resize")
def resize(
    op: Builder,
    g: str,
    y: str,
    x: str,
    roi: str | None = None,
    scales: str | None = None,
    sizes: str | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Gradients:
    """The transposed interpolation matrix of each resized axis.

    Every coordinate mode but tf_crop_and_resize, with or without antialias. Refused where rounding decides
    which of two inputs is nearest (asymmetric with round_prefer_ceil, and half_pixel_symmetric).
    """
    shape = op.shape(x)
    rank = len(shape)
    resized = [axis % rank for axis in axes] if axes else list(range(rank))
    if coordinate_transformation_mode == "tf_crop_and_resize":
        raise UnsupportedOperator("Resize has no rule for tf_crop_and_resize: use a Slice and a Resize")
    if mode not in ("nearest", "linear", "cubic"):
        raise UnsupportedOperator(f"Resize has no rule for mode {mode!r}")
    given = op.value(scales).tolist() if scales else []
    if shape == op.shape(y):  # ONNX Runtime copies, whatever a scale that gives the same size asks for
        return g, None, None, None
    factors = dict(zip(resized, given, strict=True)) if given else {}
    if sizes and not factors and keep_aspect_ratio_policy != "stretch":
        wanted = op.value(sizes).tolist()
        pick = min if keep_aspect_ratio_policy == "not_larger" else max
        common = pick(n / op.size(x, axis) for axis, n in zip(resized, wanted, strict=True))
        factors = dict.fromkeys(resized, common)
    for axis in resized:
        if (axis not in factors or factors[axis] == 1.0) and shape[axis] == op.shape(y)[axis]:
            continue
        n, m = op.size(x, axis), op.size(y, axis)
        factor = factors.get(axis, m / n)
        if mode == "nearest":
            matrix = np.eye(n)[nearest(n, m, factor, coordinate_transformation_mode, nearest_mode)]
        else:
            at = source_positions(n, m, factor, coordinate_transformation_mode)
            kernel = triangle if mode == "linear" else partial(cubic, a=cubic_coeff_a)
            shrink = min(factor, 1.0) if antialias else 1.0
            matrix = interpolation(at, n, kernel, shrink, bool(exclude_outside))
        g = multiply_along(op, g, matrix, axis, rank)
    return g, None, None, None


@rule("Expand")
def expand(op: Builder, g: str, y: str, x: str, shape: str) -> Gradients:
    """Summed over what was repeated."""
    return op.sum_to(g, op.shape(y), op.shape(x)), None


@rule("CenterCropPad")
def center_crop_pad(
    op: Builder, g: str, y: str, x: str, shape: str, *, axes: Sequence[int] | None = None
) -> Gradients:
    """Cuts off what was padded, and puts zeros where something was cropped."""
    rank = len(op.shape(x))
    begins, ends = [0] * rank, [0] * rank
    for axis in [axis % rank for axis in axes] if axes else range(rank):
        if op.shape(x)[axis] != op.shape(y)[axis]:
            missing = op.size(x, axis) - op.size(y, axis)
            begins[axis] = missing // 2 if missing > 0 else -(-missing // 2)
            ends[axis] = missing - begins[axis]
    return op.Pad(g, op.constant([*begins, *ends])), None


@rule("Pad")
def pad(
    op: Builder,
    g: str,
    y: str,
    x: str,
    pads: str,
    constant_value: str | None = None,
    axes: str | None = None,
    *,
    mode: str = "constant",
) -> Gradients:
    """Cuts off constants; what was added by reflection, at the edge or by wrapping goes back to its source.

    Negative pads only with constants.
    """
    rank = len(op.shape(x))
    padded = [int(axis) % rank for axis in op.value(axes)] if axes else list(range(rank))
    begins, ends = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    begins[padded], ends[padded] = op.value(pads).reshape(2, -1)
    if mode == "constant":
        return op.Pad(g, op.constant(-np.concatenate([begins, ends]))), None, None, None
    if min(begins.min(), ends.min()) < 0:
        raise UnsupportedOperator(f"Pad has no rule for negative pads in mode {mode}: use a Slice")
    for axis in np.flatnonzero(begins + ends).tolist():
        n = op.size(x, axis)
        taken = padding_sources(np.arange(-begins[axis], n + ends[axis]), n, mode)
        g = put_back(op, g, taken, n, axis, rank)
    return g, None, None, None


@rule("Tile")
def tile(op: Builder, g: str, y: str, x: str, repeats: str) -> Gradients:
    """Summed over the repeats."""
    apart: list[int] = []
    sums: list[int] = []
    for extent, count in zip(reshape_sizes(op.shape(x)), op.value(repeats).tolist(), strict=True):
        if count != 1:
            sums.append(len(apart))
            apart.append(count)
        apart.append(extent)
    return op.ReduceSum(op.Reshape(g, op.constant(apart)), op.constant(sums), keepdims=0) if sums else g, None
