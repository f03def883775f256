"""What a gradient rule is, the table of all rules, and what several families share.

A rule is an operator's vector-Jacobian product in ONNX operators. It has the operator's ONNX signature (opset
18 and later) behind three leading arguments: the builder `op`, the gradient `g` of the output, and the output
`y`. Inputs are positional, attributes are keywords with the specification's defaults. It returns an entry for
each input (entries past the inputs given are ignored): a tensor name, or None where the input takes no
gradient. An attribute that a rule does not name is an error, never ignored.

To add an operator, write one function in the file of its family and one case in `test_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from sise_rt.errors import ModelError, UnsupportedOperator

from ...ir.builder import Builder
from ...ir.types import Dim

Gradients = Sequence[str | None]  # one an input: a tensor's name, or None where it takes no gradient
Rule = Callable[..., Gradients]
RULES: dict[str, Rule] = {}

# Their outputs do not change when their inputs change a little, so nothing flows back through them.
PIECEWISE_CONSTANT = frozenset(
    "And ArgMax ArgMin BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil ConstantOfShape Equal "
    "EyeLike Floor Greater GreaterOrEqual Hardmax IsInf IsNaN Less LessOrEqual NonZero Not Or "
    "RandomNormalLike RandomUniformLike Range Round Shape Sign Size Xor".split()
)
# Their rules take lists for `g` and `y`; `g` holds None where an output has no gradient.
SEVERAL_OUTPUTS = frozenset({"Split", "TopK"})


def rule(*op_types: str) -> Callable[[Rule], Rule]:
    """Register a rule under literal operator types."""

    def register(function: Rule) -> Rule:
        for op_type in op_types:
            if op_type in RULES:
                raise ValueError(f"two rules for {op_type}")
            RULES[op_type] = function
        return function

    return register


def elementwise(*op_types: str) -> Callable[[Rule], Rule]:
    """Register a rule that may ignore broadcasting: each gradient is summed to its input's shape."""

    def decorate(function: Rule) -> Rule:
        @wraps(function)
        def summed(op: Builder, g: str, y: str, *inputs: str, **attributes: Any) -> list[str | None]:
            grads = function(op, g, y, *inputs, **attributes)
            return [
                None if grad is None else op.sum_to(grad, op.shape(y), op.shape(x))
                for grad, x in zip(grads, inputs, strict=True)
            ]

        rule(*op_types)(summed)
        return function

    return decorate


def computed(op: Builder, name: str) -> bool:
    """Whether an input is computed by the network rather than held as a constant."""
    try:
        op.value(name)
    except ModelError:
        return True
    return False


def divide(op: Builder, a: str, b: str) -> str:
    """A / b, and 0 where b is 0."""
    absent, zero = op.Equal(b, op.constant(0.0)), op.constant(0.0)
    return op.Where(absent, zero, op.Div(a, op.Where(absent, op.constant(1.0), b)))


def zeros(op: Builder, x: str) -> str:
    """Zeros in the shape of `x`."""
    return op.Expand(op.constant(0.0), op.Shape(x))


def reshape_sizes(shape: Sequence[Dim]) -> list[int]:
    """A shape as Reshape takes it: the batch is what remains."""
    sizes = [extent if isinstance(extent, int) else -1 for extent in shape]
    if sizes.count(-1) > 1:
        raise UnsupportedOperator(f"two extents of the shape {tuple(shape)} are free, where one may be")
    return sizes


def multiply_along(op: Builder, g: str, matrix: np.ndarray, axis: int, rank: int) -> str:
    """Multiply `g` along an axis by a constant (extent of g, new extent) matrix."""
    matrix = matrix.astype(op.dtype)
    if axis == rank - 1:
        return op.MatMul(g, op.constant(matrix))
    if axis == rank - 2:
        return op.MatMul(op.constant(np.ascontiguousarray(matrix.T)), g)
    perm = [i for i in range(rank) if i != axis] + [axis]
    moved = op.MatMul(op.Transpose(g, perm=perm), op.constant(matrix))
    return op.Transpose(moved, perm=[perm.index(i) for i in range(rank)])


def put_back(op: Builder, g: str, indices: np.ndarray, extent: int, axis: int, rank: int) -> str:
    """The adjoint of taking constant `indices` along an axis: add each slice of `g` at its index.

    A gather of slices that go to one place and a sum over the slices that share it: no scatter, which not
    every provider has.
    """
    count = len(indices)
    if (np.diff(indices) == 1).all():
        pads = np.zeros((2, rank), np.int64)
        pads[:, axis] = (indices[0], extent - indices[-1] - 1) if count else (extent, 0)
        return op.Pad(g, op.constant(pads.ravel()))
    shared = np.bincount(indices, minlength=extent).max(initial=0)
    if shared > 4:
        return multiply_along(op, g, np.eye(extent)[indices], axis, rank)
    order, turn = np.argsort(indices, kind="stable"), np.zeros(count, np.int64)
    turn[order] = np.arange(count) - np.searchsorted(indices[order], indices[order])
    pads = np.zeros((2, rank), np.int64)
    pads[1, axis] = 1
    padded = op.Pad(g, op.constant(pads.ravel()))
    parts = []
    for i in range(shared):
        source = np.full(extent, count)
        source[indices[turn == i]] = np.flatnonzero(turn == i)
        parts.append(op.Gather(padded, op.constant(source), axis=axis))
    return parts[0] if len(parts) == 1 else op.Sum(*parts)
