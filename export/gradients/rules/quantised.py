"""Rules of changes of the element type: casts and quantisation."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from ...ir.types import Shape
from .table import Gradients, rule

# The range of each quantised type.
QUANTISED = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (4, 8, 16)
    for sign in ("", "u")
}
QUANTISED_CODES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}


@rule("Cast")
def cast(
    op: Builder, g: str, y: str, x: str, *, to: int, saturate: int = 1, round_mode: str = "up"
) -> Gradients:
    """The gradient in the input's type.

    Nothing flows back from integers and truth values.
    """
    return (op.CastLike(g, x),)


@rule("CastLike")
def cast_like(
    op: Builder, g: str, y: str, x: str, target: str, *, saturate: int = 1, round_mode: str = "up"
) -> Gradients:
    """The gradient in the input's type."""
    return op.CastLike(g, x), None


@rule("DequantizeLinear")
def dequantize_linear(
    op: Builder,
    g: str,
    y: str,
    x: str,
    scale: str,
    zero_point: str | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Gradients:
    """Slope scale: a quantised tensor's gradient is a float; scale and zero point are constants.

    Per tensor or per axis; blocks are refused.
    """
    return op.Mul(g, _per_axis(op, scale, x, axis, block_size)), None, None


@rule("QuantizeLinear")
def quantize_linear(
    op: Builder,
    g: str,
    y: str,
    x: str,
    scale: str,
    zero_point: str | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Gradients:
    """Straight through the rounding: 1 / scale where the result is inside its type's range, 0 outside.

    Per tensor or per axis, to integers of 4, 8 or 16 bits; blocks and float types are refused.
    """
    kind = op.value(zero_point).dtype.name if zero_point else QUANTISED_CODES.get(output_dtype or 2)
    if kind not in QUANTISED:
        raise UnsupportedOperator(f"QuantizeLinear has a rule for integers of 4 to 16 bits, not for {kind}")
    low, high = QUANTISED[kind]
    scale = _per_axis(op, scale, x, axis, block_size)
    level = op.Round(op.Div(x, scale))
    if zero_point:
        offset = op.constant(op.value(zero_point).astype(op.dtype))
        level = op.Add(level, _per_axis(op, offset, x, axis, block_size, op.shape(zero_point)))
    inside = op.And(
        op.GreaterOrEqual(level, op.constant(float(low))), op.LessOrEqual(level, op.constant(float(high)))
    )
    return op.Where(inside, op.Div(g, scale), op.constant(0.0)), None, None


def _per_axis(
    op: Builder, parameter: str, x: str, axis: int, block_size: int, shape: Shape | None = None
) -> str:
    """A scalar, or one value for each position of an axis, in a form that broadcasts to `x`."""
    shape = op.shape(parameter) if shape is None else shape
    if block_size or len(shape) > 1:
        raise UnsupportedOperator("quantisation in blocks has no rule: quantise per tensor or per axis")
    rank = len(op.shape(x))
    if not shape or shape == (1,):
        return op.Reshape(parameter, op.constant(np.zeros(0, np.int64))) if shape else parameter
    return op.Reshape(parameter, op.constant([-1] + [1] * (rank - 1 - axis % rank)))
