"""Rules of pools: a maximum, a mean or a norm in each window, or of the whole map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from .table import Gradients, divide, rule
from .windows import Windows, spread, windows_of


@rule("MaxPool")
def max_pool(
    op: Builder,
    g: str,
    y: str,
    x: str,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
    storage_order: int = 0,
    auto_pad: str = "NOTSET",
) -> Gradients:
    """Each window's gradient is added at its maximum, which windows may share (MaxUnpool would overwrite)."""
    # A pooling of its own for the indices: the forward one stays on the fast kernel that has none.
    _, indices = op.MaxPool(
        x,
        outputs=2,
        kernel_shape=kernel_shape,
        strides=strides,
        pads=pads,
        dilations=dilations,
        ceil_mode=ceil_mode,
        auto_pad=auto_pad,
    )
    # Indices count through the whole (N, C, H, W) tensor. In rows they serve several gradients of one image.
    size, row, one = op.ReduceProd(op.Shape(x, start=1), keepdims=1), op.constant([0, -1]), op.constant([1])
    shares = op.Reshape(g, row)
    images, gradients = op.Shape(x, end=1), op.Shape(shares, end=1)
    # Where each image starts. A remainder would say the same, at what a division of every index costs.
    starts = op.CumSum(op.Expand(size, op.Concat(images, one, axis=0)), op.constant(0), exclusive=1)
    places = op.Sub(op.Reshape(indices, row), op.Expand(starts, op.Concat(gradients, one, axis=0)))
    zeros = op.Expand(op.constant(0.0), op.Concat(gradients, size, axis=0))
    total = op.ScatterElements(zeros, places, shares, axis=1, reduction="add")
    return (op.reshape_like(total, x),)


@rule("MaxUnpool")
def max_unpool(
    op: Builder,
    g: str,
    y: str,
    x: str,
    indices: str,
    output_shape: str | None = None,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
) -> Gradients:
    """Each value gets what is at its place, also where another one came to lie over it, as torch.

    An `output_shape` other than the one that kernel, strides and pads give is refused.
    """
    rank = len(kernel_shape)
    steps, edges = list(strides or [1] * rank), list(pads or [0] * 2 * rank)
    plain = [
        (op.size(x, 2 + i) - 1) * steps[i] - edges[i] - edges[rank + i] + kernel_shape[i] for i in range(rank)
    ]
    if plain != list(op.shape(y)[2:]):
        raise UnsupportedOperator(
            f"MaxUnpool has a rule for the output's own size {plain}, not for {list(op.shape(y)[2:])}"
        )
    # Indices count through the whole (N, C, H, W) tensor.
    return op.Gather(op.Reshape(g, op.constant([-1])), indices), None, None


@rule("AveragePool")
def average_pool(
    op: Builder,
    g: str,
    y: str,
    x: str,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    auto_pad: str = "NOTSET",
) -> Gradients:
    """Each window's gradient, divided by the window's count, is spread evenly over the window.

    Negative pads are refused.
    """
    windows = windows_of(op, x, y, kernel_shape, strides, pads, dilations, auto_pad)
    counts = _window_counts(op, x, y, kernel_shape, windows, bool(count_include_pad))
    channels = op.size(x, 1)
    ones = op.constant(np.ones((channels, 1, *kernel_shape), op.dtype))
    return (
        spread(
            op, op.Div(g, op.constant(counts.astype(op.dtype))), ones, x, y, kernel_shape, windows, channels
        ),
    )


def _window_counts(
    op: Builder, x: str, y: str, kernel: Sequence[int], windows: Windows, include_pad: bool
) -> np.ndarray:
    """How many positions of the (padded) input each window averages over, (1, 1, *output)."""
    per_axis = []
    for i, (k, s, (begin, end), d) in enumerate(zip(kernel, *windows, strict=True)):
        extent = op.size(x, 2 + i)
        low, high = (-begin, extent + end) if include_pad else (0, extent)
        taps = np.arange(op.size(y, 2 + i))[:, None] * s - begin + np.arange(k) * d
        per_axis.append(((taps >= low) & (taps < high)).sum(axis=1))
    counts = per_axis[0]
    for axis in per_axis[1:]:
        counts = counts[..., None] * axis
    return counts[None, None]


@rule("GlobalAveragePool")
def global_average_pool(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Every position gets an equal share."""
    count = int(np.prod([op.size(x, axis) for axis in range(2, len(op.shape(x)))]))
    return (op.Expand(op.Div(g, op.constant(float(count))), op.Shape(x)),)


@rule("GlobalMaxPool")
def global_max_pool(op: Builder, g: str, y: str, x: str) -> Gradients:
    """One window of the whole map."""
    return max_pool(op, g, y, x, kernel_shape=[op.size(x, axis) for axis in range(2, len(op.shape(x)))])


@rule("LpPool")
def lp_pool(
    op: Builder,
    g: str,
    y: str,
    x: str,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
    auto_pad: str = "NOTSET",
    p: int = 2,
) -> Gradients:
    """Slope sign(x) (|x| / y)^(p - 1) in each window; nothing where the norm is zero, as torch.

    Negative pads are refused.
    """
    windows = windows_of(op, x, y, kernel_shape, strides, pads, dilations, auto_pad)
    channels = op.size(x, 1)
    ones = op.constant(np.ones((channels, 1, *kernel_shape), op.dtype))
    share = g if p == 1 else divide(op, g, _power(op, y, p - 1))
    shared = spread(op, share, ones, x, y, kernel_shape, windows, channels)
    return (op.Mul(shared, _signed_power(op, x, p - 1)),)


@rule("GlobalLpPool")
def global_lp_pool(op: Builder, g: str, y: str, x: str, *, p: int = 2) -> Gradients:
    """One window of the whole map."""
    share = g if p == 1 else divide(op, g, _power(op, y, p - 1))
    return (op.Mul(share, _signed_power(op, x, p - 1)),)


def _power(op: Builder, x: str, n: int) -> str:
    return x if n == 1 else op.Pow(x, op.constant(float(n)))


def _signed_power(op: Builder, x: str, n: int) -> str:
    """Sign(x) |x|^n."""
    if n == 0:
        return op.Sign(x)
    return x if n == 1 else op.Mul(op.Sign(x), _power(op, op.Abs(x), n))
