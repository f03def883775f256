"""Rules of what puts updates into places of a tensor."""

from __future__ import annotations

from collections.abc import Callable

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from .table import Gradients, divide, rule, zeros

Scatter = Callable[[str, str, str], str]  # of a tensor, updates and a reduction
Gather = Callable[[str], str]  # what a tensor has at the places of the updates


@rule("ScatterElements")
def scatter_elements(
    op: Builder, g: str, y: str, x: str, indices: str, updates: str, *, axis: int = 0, reduction: str = "none"
) -> Gradients:
    """The updates get what is at their place, the input the rest; added, all get everything.

    Where several reach a maximum or a minimum they share evenly, as torch's scatter_reduce; a factor gets the
    product of the others at its place, also where some are zero.
    """
    return _scattered(
        op,
        (g, y, x, updates),
        reduction,
        lambda to, parts, how: op.ScatterElements(to, indices, parts, axis=axis, reduction=how),
        lambda of: op.GatherElements(of, indices, axis=axis),
    )


@rule("ScatterND")
def scatter_nd(
    op: Builder, g: str, y: str, x: str, indices: str, updates: str, *, reduction: str = "none"
) -> Gradients:
    """The updates get what is at their place, the input the rest; added, all get everything.

    Where several reach a maximum or a minimum they share evenly, as torch's scatter_reduce; a factor gets the
    product of the others at its place, also where some are zero.
    """
    return _scattered(
        op,
        (g, y, x, updates),
        reduction,
        lambda to, parts, how: op.ScatterND(to, indices, parts, reduction=how),
        lambda of: op.GatherND(of, indices),
    )


def _scattered(
    op: Builder, tensors: tuple[str, str, str, str], reduction: str, scatter: Scatter, gather: Gather
) -> Gradients:
    g, y, x, updates = tensors
    if reduction == "none":
        return scatter(g, zeros(op, updates), "none"), None, gather(g)
    if reduction == "add":
        return g, None, gather(g)
    if reduction not in ("max", "min", "mul"):
        raise UnsupportedOperator(f"there is no rule for the reduction {reduction!r}")
    one, zero = op.constant(1.0), op.constant(0.0)

    def indicator(condition: str) -> str:
        return op.Where(condition, one, zero)

    if reduction == "mul":
        # zero_factors: how many of the factors at each place are zero; product: of those that are not
        absent, parts_absent = op.Equal(x, zero), op.Equal(updates, zero)
        zero_factors = scatter(indicator(absent), indicator(parts_absent), "add")
        product = scatter(op.Where(absent, one, x), op.Where(parts_absent, one, updates), "mul")

        def share(factor: str, missing: str, zeros_there: str, product_there: str, g_there: str) -> str:
            others = op.Div(product_there, op.Where(missing, one, factor))
            alone = op.Equal(op.Sub(zeros_there, indicator(missing)), zero)
            return op.Where(alone, op.Mul(g_there, others), zero)

        return (
            share(x, absent, zero_factors, product, g),
            None,
            share(updates, parts_absent, gather(zero_factors), gather(product), gather(g)),
        )
    reached, parts_reached = indicator(op.Equal(x, y)), indicator(op.Equal(updates, gather(y)))
    portion = divide(op, g, scatter(reached, parts_reached, "add"))
    return op.Mul(portion, reached), None, op.Mul(gather(portion), parts_reached)
