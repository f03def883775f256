"""Phase 4 (SISE) as ONNX operators: maps are normalised, parted by Otsu's threshold, and fused.

In float64 throughout, all blocks at once. The runtime's `sise_rt.phases.fusion` does the same in NumPy.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.pictures.flatness import CONSTANT

from ..ir.builder import Builder

BINS = 256
EACH_MAP = np.array([1, 2], np.int64)  # the axes of (B, H, W) that are one map's


def double(value: float) -> np.ndarray:
    """A constant in float64."""
    return np.array(value, np.float64)


def normalised(op: Builder, maps: str) -> tuple[str, str]:
    """Maps (B, H, W) min-max normalised to [0, 1], and which of them have a shape: bool (B, 1, 1).

    A flat map's range is judged against its own values; it becomes zero, as does one that is not finite.
    """
    axes = op.constant(EACH_MAP)
    low, high = op.ReduceMin(maps, axes, keepdims=1), op.ReduceMax(maps, axes, keepdims=1)
    span, zero = op.Sub(high, low), op.constant(double(0))
    largest = op.Max(op.Abs(low), op.Abs(high))
    wide = op.GreaterOrEqual(span, op.Mul(largest, op.constant(double(CONSTANT))))
    shaped = op.And(op.Greater(span, zero), wide)
    scaled = op.Div(op.Sub(maps, low), op.Where(shaped, span, op.constant(double(1))))
    return op.Where(shaped, scaled, zero), shaped


def activated_regions(op: Builder, maps: str, count: int, pixels: int) -> str:
    """Where maps (B, H, W) in [0, 1], which reach both ends, are above Otsu's threshold: bool (B, H, W).

    To the last digit `skimage.filters.threshold_otsu` with 256 bins: whole counts, the product of the two
    sides' counts in float32, the rest of the variance in float64, and of equal variances the first.
    """
    place = op.Min(op.Floor(op.Mul(maps, op.constant(double(BINS)))), op.constant(double(BINS - 1)))
    starts = BINS * np.arange(count, dtype=np.int64)[:, None, None]
    bins = op.Add(op.Cast(place, to=TensorProto.INT64), op.constant(starts))
    flat = op.Reshape(bins, op.constant([-1]))
    counts = op.ScatterElements(
        _filled(op, count * BINS, 0), flat, _filled(op, count * pixels, 1), axis=0, reduction="add"
    )
    counts, across = op.Reshape(counts, op.constant([count, BINS])), op.constant(1)
    centres = op.constant(2 * np.arange(BINS, dtype=np.int64)[None] + 1)  # in half bins
    below, moment = op.CumSum(counts, across), op.CumSum(op.Mul(counts, centres), across)
    first, last, end = op.constant([0]), op.constant([BINS - 1]), op.constant([BINS])
    axis = op.constant([1])
    whole = op.Slice(moment, last, end, axis)
    below, moment = (op.Slice(sums, first, last, axis) for sums in (below, moment))
    above = op.Sub(op.constant(pixels), below)
    sides = op.Mul(op.Cast(below, to=TensorProto.FLOAT), op.Cast(above, to=TensorProto.FLOAT))
    apart = op.Sub(_mean(op, moment, below), _mean(op, op.Sub(whole, moment), above))
    variance = op.Mul(op.Cast(sides, to=TensorProto.DOUBLE), op.Mul(apart, apart))
    best = op.Cast(op.ArgMax(variance, axis=1, keepdims=1), to=TensorProto.DOUBLE)
    threshold = op.Mul(op.Add(best, op.constant(double(0.5))), op.constant(double(1 / BINS)))
    return op.Greater(maps, op.Unsqueeze(threshold, op.constant([2])))


def _mean(op: Builder, moment: str, weight: str) -> str:
    """A side's mean; 0 of an empty one, which only a flat map has."""
    some = op.Max(weight, op.constant(1))
    return op.Div(op.Cast(moment, to=TensorProto.DOUBLE), op.Cast(some, to=TensorProto.DOUBLE))


def _filled(op: Builder, size: int, value: int) -> str:
    filling: onnx.TensorProto = helper.make_tensor("value", TensorProto.INT64, [1], [value])
    return op.ConstantOfShape(op.constant([size]), value=filling)


def fused(op: Builder, maps: str, usable: str, regions: str, count: int) -> str:
    """E_1 = U_1, E_b = (E_{b-1} + U_b) * region(U_b) over the usable maps (Fig. 5): (1, H, W).

    Args:
        op: adds the nodes.
        maps: U_b, (B, H, W) in [0, 1].
        usable: which of them count, bool (B, 1, 1).
        regions: of each map, bool (B, H, W).
        count: B.
    """
    explanation = before = ""
    for block in range(count):
        index = op.constant([block])
        map_, use, region = (op.Gather(stack, index, axis=0) for stack in (maps, usable, regions))
        region = op.Cast(region, to=TensorProto.DOUBLE)
        if not explanation:
            explanation, before = map_, use  # zero where it is not usable
            continue
        both = op.Where(before, op.Mul(op.Add(explanation, map_), region), map_)
        explanation, before = op.Where(use, both, explanation), op.Or(before, use)
    return explanation
