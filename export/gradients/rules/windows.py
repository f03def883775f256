"""Rules of convolutions, and how windows lie on a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from .table import Gradients, computed, rule

# Of each spatial axis: stride, (begin, end) pads, dilation.
Windows = tuple[list[int], list[tuple[int, int]], list[int]]


def windows_of(
    op: Builder,
    x: str,
    y: str,
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
    auto_pad: str,
) -> Windows:
    """How the windows of a convolution or a pool lie on `x`, with `auto_pad` made explicit.

    Negative pads are an `UnsupportedOperator`.
    """
    rank = len(kernel)
    strides, dilations = list(strides or [1] * rank), list(dilations or [1] * rank)
    if auto_pad in ("NOTSET", "VALID", ""):
        flat = list(pads or [0] * 2 * rank) if auto_pad != "VALID" else [0] * 2 * rank
        if min(flat) < 0:
            raise UnsupportedOperator(f"pads {flat} are negative: put a Slice before it instead")
        return strides, list(zip(flat[:rank], flat[rank:], strict=True)), dilations
    explicit = []
    for i in range(rank):
        reach = (op.size(y, 2 + i) - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1
        total = max(reach - op.size(x, 2 + i), 0)
        small, large = total // 2, total - total // 2
        explicit.append((small, large) if auto_pad == "SAME_UPPER" else (large, small))
    return strides, explicit, dilations


def spread(
    op: Builder, g: str, w: str, x: str, y: str, kernel: Sequence[int], windows: Windows, group: int
) -> str:
    """The adjoint of a strided correlation: add `w` times each element of `g` at its window in `x`."""
    strides, pads, dilations = windows
    extents = [op.size(x, 2 + i) for i in range(len(kernel))]
    begins = [p for p, _ in pads]
    if max(strides) == 1:
        # A convolution too, with `g` padded as far as the windows at the edges reach. Its kernels are faster.
        starts = [d * (k - 1) - p for k, d, p in zip(kernel, dilations, begins, strict=True)]
        ends = [h - op.size(y, 2 + i) + p for i, (h, p) in enumerate(zip(extents, begins, strict=True))]
        if min(*starts, *ends) >= 0:
            turned = _turned(op, w, op.size(y, 1), op.size(x, 1), kernel, group)
            return op.Conv(g, turned, dilations=dilations, group=group, pads=[*starts, *ends])
    # reach: how far the windows extend from the start of the padded input
    reach = [
        (op.size(y, 2 + i) - 1) * s + d * (k - 1) + 1
        for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True))
    ]
    ends = [r - h - p for r, h, p in zip(reach, extents, begins, strict=True)]
    if all(end <= begin and begin - end < s for begin, end, s in zip(begins, ends, strides, strict=True)):
        # The usual case. Symmetric pads with an output padding are what every provider's kernel takes.
        return op.ConvTranspose(
            g,
            w,
            strides=strides,
            dilations=dilations,
            group=group,
            pads=begins * 2,
            output_padding=[begin - end for begin, end in zip(begins, ends, strict=True)],
        )
    # Otherwise spread onto the whole padded input, then cut or extend: asymmetric pads are not portable.
    full = op.ConvTranspose(g, w, strides=strides, dilations=dilations, group=group)
    extend = [max(0, -end) for end in ends]
    if any(extend):
        full = op.Pad(full, op.constant([0, 0] + [0] * len(kernel) + [0, 0] + extend))
    axes = list(range(2, 2 + len(kernel)))
    stops = [p + h for p, h in zip(begins, extents, strict=True)]
    return op.Slice(full, op.constant(begins), op.constant(stops), op.constant(axes))


def _turned(op: Builder, w: str, outputs: int, inputs: int, kernel: Sequence[int], group: int) -> str:
    """Convolution weights turned round and from outputs to inputs; ONNX Runtime folds this for constants."""
    spatial = list(range(2, 2 + len(kernel)))
    if group == 1:
        w = op.Transpose(w, perm=[1, 0, *spatial])
    elif not outputs == inputs == group:
        w = op.Reshape(w, op.constant([group, outputs // group, inputs // group, *kernel]))
        w = op.Transpose(w, perm=[0, 2, 1, *(axis + 1 for axis in spatial)])
        w = op.Reshape(w, op.constant([inputs, outputs // group, *kernel]))
    axes = [axis for axis, k in zip(spatial, kernel, strict=True) if k > 1]
    if not axes:
        return w
    last, before_first = [-1] * len(axes), [np.iinfo(np.int64).min] * len(axes)
    return op.Slice(w, op.constant(last), op.constant(before_first), op.constant(axes), op.constant(last))


@rule("Conv")
def conv(
    op: Builder,
    g: str,
    y: str,
    x: str,
    w: str,
    b: str | None = None,
    *,
    kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
) -> Gradients:
    """Transposed convolution, at stride 1 by way of turned weights; computed weights get theirs tap by tap.

    Negative pads are refused.
    """
    kernel = [op.size(w, axis) for axis in range(2, len(op.shape(w)))]
    windows = windows_of(op, x, y, kernel, strides, pads, dilations, auto_pad)
    gw = _weight_gradient(op, g, x, y, kernel, windows, group) if computed(op, w) else None
    others = [axis for axis in range(len(op.shape(y))) if axis != 1]
    gb = op.ReduceSum(g, op.constant(others), keepdims=0) if b and computed(op, b) else None
    return spread(op, g, w, x, y, kernel, windows, group), gw, gb


def _weight_gradient(
    op: Builder, g: str, x: str, y: str, kernel: Sequence[int], windows: Windows, group: int
) -> str:
    """What reaches computed convolution weights: a product of `g` and the input under each tap."""
    rank = len(kernel)
    strides, pads, dilations = windows
    extents = [op.size(y, 2 + i) for i in range(rank)]
    channels, outputs = op.size(x, 1), op.size(y, 1)
    begins, ends = zip(*pads, strict=True)
    padded = op.Pad(x, op.constant([0, 0, *begins, 0, 0, *ends]))
    per_group = op.Reshape(g, op.constant([-1, group, outputs // group, int(np.prod(extents))]))
    taps = []
    for tap in np.ndindex(*kernel):
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, extents, strides, strict=True)]
        under = op.Slice(
            padded, *(op.constant(list(v)) for v in (starts, stops, range(2, 2 + rank), strides))
        )
        under = op.Reshape(under, op.constant([-1, group, channels // group, int(np.prod(extents))]))
        product = op.MatMul(per_group, op.Transpose(under, perm=[0, 1, 3, 2]))
        product = op.ReduceSum(product, op.constant([0]), keepdims=0)
        taps.append(op.Reshape(product, op.constant([outputs, channels // group, 1])))
    return op.Reshape(op.Concat(*taps, axis=2), op.constant([outputs, channels // group, *kernel]))


@rule("ConvTranspose")
def conv_transpose(
    op: Builder,
    g: str,
    y: str,
    x: str,
    w: str,
    b: str | None = None,
    *,
    kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    auto_pad: str = "NOTSET",
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
) -> Gradients:
    """Convolution with the same weights; weights and bias are constants of the network.

    Negative pads are refused.
    """
    kernel = [op.size(w, axis) for axis in range(2, len(op.shape(w)))]
    rank = len(kernel)
    if output_shape or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        steps, spacings = list(strides or [1] * rank), list(dilations or [1] * rank)
        beyond = list(output_padding or [0] * rank)
        borders = []
        for i in range(rank):
            reach = (op.size(x, 2 + i) - 1) * steps[i] + spacings[i] * (kernel[i] - 1) + 1
            total = max(reach + beyond[i] - op.size(y, 2 + i), 0)
            small, large = total // 2, total - total // 2
            begin = small if auto_pad == "SAME_UPPER" else large
            borders.append((begin, reach - op.size(y, 2 + i) - begin))
    else:
        steps, borders, spacings = windows_of(op, x, y, kernel, strides, pads, dilations, auto_pad)
    begins, ends = zip(*borders, strict=True)
    if min(ends) < 0:  # no window reaches the end of the output
        unread = [min(end, 0) for end in ends]
        g = op.Pad(g, op.constant([0] * (2 + rank) + [0, 0, *unread]))
        ends = tuple(max(end, 0) for end in ends)
    gx = op.Conv(g, w, strides=steps, dilations=spacings, group=group, pads=[*begins, *ends])
    return gx, None, None
