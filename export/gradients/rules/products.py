"""Rules of products of matrices and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from ...ir.types import Dim
from .table import Gradients, rule


@rule("Einsum")
def einsum(op: Builder, g: str, y: str, *inputs: str, equation: str) -> Gradients:
    """The product of the gradient and the other operands, summed to the operand's labels.

    An operand that repeats a label is refused, and so are extents of 1 that are broadcast.
    """
    labels, output = _einsum_labels([len(op.shape(x)) for x in inputs], equation)
    extents: dict[str, Dim] = {}
    for x, names in zip(inputs, labels, strict=True):
        if len(set(names)) < len(names):
            raise UnsupportedOperator(f"Einsum has no rule for the repeated label in {names!r}")
        for name, extent in zip(names, op.shape(x), strict=True):
            if extents.setdefault(name, extent) != extent:
                raise UnsupportedOperator(f"Einsum has no rule for broadcasting: {equation!r}")
    grads = []
    for i, (x, names) in enumerate(zip(inputs, labels, strict=True)):
        terms = [output, *labels[:i], *labels[i + 1 :]]
        shared = "".join(name for name in names if any(name in term for term in terms))
        product = op.Einsum(g, *inputs[:i], *inputs[i + 1 :], equation=f"{','.join(terms)}->{shared}")
        if alone := [axis for axis, name in enumerate(names) if name not in shared]:
            product = op.Expand(op.Unsqueeze(product, op.constant(alone)), op.Shape(x))
        grads.append(product)
    return grads


def _einsum_labels(ranks: Sequence[int], equation: str) -> tuple[list[str], str]:
    """Each operand's and the output's labels, with letters of their own for what an ellipsis stands for."""
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [letter for letter in ascii_letters if letter not in equation]
    hidden = [rank - len(term) + 3 if "..." in term else 0 for rank, term in zip(ranks, terms, strict=True)]
    rest = "".join(free[: max(hidden)])
    terms = [term.replace("...", rest[len(rest) - n :]) for term, n in zip(terms, hidden, strict=True)]
    if not arrow:
        joined = "".join(terms)
        output = "..." + "".join(sorted(n for n in set(joined) - set(rest) if joined.count(n) == 1))
    return terms, output.replace("...", rest)


@rule("Gemm")
def gemm(
    op: Builder,
    g: str,
    y: str,
    a: str,
    b: str,
    c: str | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Gradients:
    """Products with the other factor, transposed as the inputs are."""
    ga = (
        op.Gemm(b, g, alpha=alpha, transA=transB, transB=1)
        if transA
        else op.Gemm(g, b, alpha=alpha, transB=1 - transB)
    )
    gb = (
        op.Gemm(g, a, alpha=alpha, transA=1, transB=transA)
        if transB
        else op.Gemm(a, g, alpha=alpha, transA=1 - transA)
    )
    if not c:
        return ga, gb
    return ga, gb, op.sum_to(op.Mul(g, op.constant(float(beta))), op.shape(y), op.shape(c))


@rule("MatMul")
def matmul(op: Builder, g: str, y: str, a: str, b: str) -> Gradients:
    """Products with the other factor transposed, summed over broadcast leading axes."""
    left, right, lead = op.shape(a), op.shape(b), op.shape(y)
    row, column = len(left) == 1, len(right) == 1  # vectors are matrices of one row and one column
    lead = lead[: len(lead) - 2 + row + column]
    if row:
        a, g, left = op.Unsqueeze(a, op.constant([0])), op.Unsqueeze(g, op.constant([len(lead)])), (1, *left)
    if column:
        b, g, right = op.Unsqueeze(b, op.constant([1])), op.Unsqueeze(g, op.constant([-1])), (*right, 1)
    ga = op.sum_to(op.MatMul(g, _swap_last(op, b, len(right))), lead + left[-2:], left)
    gb = op.sum_to(op.MatMul(_swap_last(op, a, len(left)), g), lead + right[-2:], right)
    return (
        op.Squeeze(ga, op.constant([0])) if row else ga,
        op.Squeeze(gb, op.constant([1])) if column else gb,
    )


def _swap_last(op: Builder, x: str, rank: int) -> str:
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])
