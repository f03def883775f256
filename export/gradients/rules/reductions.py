"""Rules of reductions along axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from .table import Gradients, divide, rule


@rule("CumSum")
def cum_sum(
    op: Builder, g: str, y: str, x: str, axis: str, *, exclusive: int = 0, reverse: int = 0
) -> Gradients:
    """The cumulative sum from the other end."""
    return op.CumSum(g, axis, exclusive=exclusive, reverse=1 - reverse), None


@rule("ReduceL1")
def reduce_l1(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """The sign of each position; nothing at zero.

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    return op.Mul(_kept(op, g, reduced, keepdims), op.Sign(x)), None


@rule("ReduceL2")
def reduce_l2(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Slope x / y; nothing where the norm is zero, as torch.

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    g, y = _kept(op, g, reduced, keepdims), _kept(op, y, reduced, keepdims)
    return op.Mul(x, divide(op, g, y)), None


@rule("ReduceLogSum")
def reduce_log_sum(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Slope exp(-y).

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    return op.Expand(_kept(op, op.Mul(g, op.Exp(op.Neg(y))), reduced, keepdims), op.Shape(x)), None


@rule("ReduceLogSumExp")
def reduce_log_sum_exp(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Slope exp(x - y)."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    g, y = _kept(op, g, reduced, keepdims), _kept(op, y, reduced, keepdims)
    return op.Mul(g, op.Exp(op.Sub(x, y))), None


@rule("ReduceMax", "ReduceMin")
def reduce_extreme(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """The positions that reach the output share the gradient evenly, as torch.amax."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    if not reduced:
        return g, None
    reached = op.Equal(x, _kept(op, y, reduced, keepdims))
    reached = op.Where(reached, op.constant(1.0), op.constant(0.0))
    count = op.ReduceSum(reached, op.constant(reduced), keepdims=1)
    return op.Mul(reached, op.Div(_kept(op, g, reduced, keepdims), count)), None


@rule("ReduceMean")
def reduce_mean(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Every position gets an equal share.

    Not over the batch.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    if not reduced:
        return g, None
    count = int(np.prod([op.size(x, axis) for axis in reduced]))
    spread = op.Expand(_kept(op, g, reduced, keepdims), op.Shape(x))
    return op.Div(spread, op.constant(float(count))), None


@rule("ReduceProd")
def reduce_prod(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Each position gets the product of the others, also where some are zero."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    if not reduced:
        return g, None
    where, zero, one = op.constant(reduced), op.constant(0.0), op.constant(1.0)
    absent = op.Equal(x, zero)
    present = op.Where(absent, one, x)
    product = op.ReduceProd(present, where, keepdims=1)
    zeros = op.ReduceSum(op.Where(absent, one, zero), where, keepdims=1)
    slope = op.Where(
        absent,
        op.Where(op.Equal(zeros, one), product, zero),
        op.Where(op.Equal(zeros, zero), op.Div(product, present), zero),
    )
    return op.Mul(_kept(op, g, reduced, keepdims), slope), None


@rule("ReduceSum")
def reduce_sum(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Every position gets the whole gradient."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    return op.Expand(_kept(op, g, reduced, keepdims), op.Shape(x)) if reduced else g, None


@rule("ReduceSumSquare")
def reduce_sum_square(
    op: Builder,
    g: str,
    y: str,
    x: str,
    axes: str | None = None,
    *,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Gradients:
    """Slope 2 x.

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    return op.Mul(_kept(op, g, reduced, keepdims), op.Mul(x, op.constant(2.0))), None


def _reduced(
    op: Builder, x: str, axes: str | None, noop_with_empty_axes: int, ambiguous: bool = False
) -> list[int]:
    """The axes that a reduction reduces, none if it does nothing."""
    rank = len(op.shape(x))
    reduced = sorted(int(axis) % rank for axis in op.value(axes)) if axes else []
    if not reduced and noop_with_empty_axes:
        if ambiguous:  # whether it still squares, say, differs between versions of the specification
            raise UnsupportedOperator("the reduction has no axes and noop_with_empty_axes: give it axes")
        return []
    return reduced or list(range(rank))


def _kept(op: Builder, tensor: str, reduced: Sequence[int], keepdims: int) -> str:
    """A reduction's output with its reduced axes kept."""
    return tensor if keepdims or not reduced else op.Unsqueeze(tensor, op.constant(reduced))
