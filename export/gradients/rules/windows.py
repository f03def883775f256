"""The gradient table: for each operator, its vector-Jacobian product as ONNX operators.

A rule has its operator's ONNX signature (opset 18 and later) behind three leading arguments: the builder
`op`, the gradient `g` of the output, and the output `y`. Inputs are positional, attributes are keywords with
the specification's defaults. It returns an entry for each input (entries past the inputs given are ignored):
a tensor name, or None where the input takes no gradient. An attribute that a rule does not name is an error,
never ignored. To add an operator, write one function here and one case in `tests/test_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from string import ascii_letters
from typing import Any

import numpy as np

from sise_rt.errors import ModelError, UnsupportedOperator

from ..resampling import cubic, interpolation, nearest, padding_sources, source_positions, triangle

Rule = Callable[..., Sequence[str | None]]
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
        def summed(op: Any, g: str, y: str, *inputs: str, **attributes: Any) -> list[str | None]:
            grads = function(op, g, y, *inputs, **attributes)
            return [
                None if grad is None else op.sum_to(grad, op.shape(y), op.shape(x))
                for grad, x in zip(grads, inputs, strict=True)
            ]

        rule(*op_types)(summed)
        return function

    return decorate


def _computed(op: Any, name: str) -> bool:
    """Whether an input is computed by the network rather than held as a constant."""
    try:
        op.value(name)
    except ModelError:
        return True
    return False


def _divide(op: Any, a: str, b: str) -> str:
    """A / b, and 0 where b is 0."""
    absent, zero = op.Equal(b, op.constant(0.0)), op.constant(0.0)
    return op.Where(absent, zero, op.Div(a, op.Where(absent, op.constant(1.0), b)))


def _zeros(op: Any, x: str) -> str:
    return op.Expand(op.constant(0.0), op.Shape(x))


def _sizes(shape: Sequence) -> list[int]:
    """A shape as Reshape takes it: the batch is what remains."""
    sizes = [extent if isinstance(extent, int) else -1 for extent in shape]
    if sizes.count(-1) > 1:
        raise UnsupportedOperator(f"two extents of the shape {tuple(shape)} are free, where one may be")
    return sizes


def _along(op: Any, g: str, matrix: np.ndarray, axis: int, rank: int) -> str:
    """Multiply `g` along an axis by a constant (extent of g, new extent) matrix."""
    matrix = matrix.astype(op.dtype)
    if axis == rank - 1:
        return op.MatMul(g, op.constant(matrix))
    if axis == rank - 2:
        return op.MatMul(op.constant(np.ascontiguousarray(matrix.T)), g)
    perm = [i for i in range(rank) if i != axis] + [axis]
    moved = op.MatMul(op.Transpose(g, perm=perm), op.constant(matrix))
    return op.Transpose(moved, perm=[perm.index(i) for i in range(rank)])


def _put_back(op: Any, g: str, indices: np.ndarray, extent: int, axis: int, rank: int) -> str:
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
        return _along(op, g, np.eye(extent)[indices], axis, rank)
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


# ---------------------------------------------------------------------------------------------- windows


def _windows(
    op: Any, x: str, y: str, kernel: Sequence[int], strides: Any, pads: Any, dilations: Any, auto_pad: str
) -> tuple:
    """Strides, (begin, end) pads and dilations per spatial axis, with `auto_pad` made explicit."""
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


def _spread(
    op: Any, g: str, w: str, x: str, y: str, kernel: Sequence[int], windows: tuple, group: int
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


def _turned(op: Any, w: str, outputs: int, inputs: int, kernel: Sequence[int], group: int) -> str:
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
    op,
    g,
    y,
    x,
    w,
    b=None,
    *,
    kernel_shape=None,
    strides=None,
    pads=None,
    dilations=None,
    group=1,
    auto_pad="NOTSET",
):
    """Transposed convolution, at stride 1 by way of turned weights; computed weights get theirs tap by tap.

    Negative pads are refused.
    """
    kernel = list(op.shape(w)[2:])
    windows = _windows(op, x, y, kernel, strides, pads, dilations, auto_pad)
    gw = _weight_gradient(op, g, x, y, kernel, windows, group) if _computed(op, w) else None
    others = [axis for axis in range(len(op.shape(y))) if axis != 1]
    gb = op.ReduceSum(g, op.constant(others), keepdims=0) if b and _computed(op, b) else None
    return _spread(op, g, w, x, y, kernel, windows, group), gw, gb


def _weight_gradient(op, g, x, y, kernel, windows, group):
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
    op,
    g,
    y,
    x,
    w,
    b=None,
    *,
    kernel_shape=None,
    strides=None,
    pads=None,
    dilations=None,
    group=1,
    auto_pad="NOTSET",
    output_padding=None,
    output_shape=None,
):
    """Convolution with the same weights; weights and bias are constants of the network.

    `output_shape`, SAME pads and negative pads are refused.
    """
    if output_shape or auto_pad not in ("NOTSET", "VALID", ""):
        raise UnsupportedOperator("ConvTranspose has a rule for explicit pads only")
    kernel = list(op.shape(w)[2:])
    strides, pads, dilations = _windows(op, x, y, kernel, strides, pads, dilations, auto_pad)
    begins, ends = zip(*pads, strict=True)
    gx = op.Conv(g, w, strides=strides, dilations=dilations, group=group, pads=[*begins, *ends])
    return gx, None, None


@rule("MaxPool")
def max_pool(
    op,
    g,
    y,
    x,
    *,
    kernel_shape,
    strides=None,
    pads=None,
    dilations=None,
    ceil_mode=0,
    storage_order=0,
    auto_pad="NOTSET",
):
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
    flat = op.constant([-1])
    # Indices count through the whole (N, C, H, W) tensor.
    zeros = op.Expand(op.constant(0.0), op.Reshape(op.Size(x), flat))
    total = op.ScatterElements(zeros, op.Reshape(indices, flat), op.Reshape(g, flat), axis=0, reduction="add")
    return (op.reshape_like(total, x),)


@rule("AveragePool")
def average_pool(
    op,
    g,
    y,
    x,
    *,
    kernel_shape,
    strides=None,
    pads=None,
    dilations=None,
    ceil_mode=0,
    count_include_pad=0,
    auto_pad="NOTSET",
):
    """Each window's gradient, divided by the window's count, is spread evenly over the window.

    Negative pads are refused.
    """
    windows = _windows(op, x, y, kernel_shape, strides, pads, dilations, auto_pad)
    counts = _window_counts(op, x, y, kernel_shape, windows, bool(count_include_pad))
    channels = op.size(x, 1)
    ones = op.constant(np.ones((channels, 1, *kernel_shape), op.dtype))
    return (
        _spread(
            op, op.Div(g, op.constant(counts.astype(op.dtype))), ones, x, y, kernel_shape, windows, channels
        ),
    )


def _window_counts(op, x, y, kernel, windows, include_pad):
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
def global_average_pool(op, g, y, x):
    """Every position gets an equal share."""
    count = int(np.prod([op.size(x, axis) for axis in range(2, len(op.shape(x)))]))
    return (op.Expand(op.Div(g, op.constant(float(count))), op.Shape(x)),)


@rule("GlobalMaxPool")
def global_max_pool(op, g, y, x):
    """One window of the whole map."""
    return max_pool(op, g, y, x, kernel_shape=[op.size(x, axis) for axis in range(2, len(op.shape(x)))])


@rule("LpPool")
def lp_pool(
    op,
    g,
    y,
    x,
    *,
    kernel_shape,
    strides=None,
    pads=None,
    dilations=None,
    ceil_mode=0,
    auto_pad="NOTSET",
    p=2,
):
    """Slope sign(x) (|x| / y)^(p - 1) in each window; nothing where the norm is zero, as torch.

    Negative pads are refused.
    """
    windows = _windows(op, x, y, kernel_shape, strides, pads, dilations, auto_pad)
    channels = op.size(x, 1)
    ones = op.constant(np.ones((channels, 1, *kernel_shape), op.dtype))
    share = g if p == 1 else _divide(op, g, _power(op, y, p - 1))
    spread = _spread(op, share, ones, x, y, kernel_shape, windows, channels)
    return (op.Mul(spread, _signed_power(op, x, p - 1)),)


@rule("GlobalLpPool")
def global_lp_pool(op, g, y, x, *, p=2):
    """One window of the whole map."""
    share = g if p == 1 else _divide(op, g, _power(op, y, p - 1))
    return (op.Mul(share, _signed_power(op, x, p - 1)),)


def _power(op, x, n):
    return x if n == 1 else op.Pow(x, op.constant(float(n)))


def _signed_power(op, x, n):
    """Sign(x) |x|^n."""
    if n == 0:
        return op.Sign(x)
    return x if n == 1 else op.Mul(op.Sign(x), _power(op, op.Abs(x), n))


# ---------------------------------------------------------------------------------------------- activations


@rule("Celu")
def celu(op, g, y, x, *, alpha=1.0):
    """Slope 1 above zero, exp(x / alpha) = y / alpha + 1 elsewhere."""
    below = op.Add(op.Div(y, op.constant(float(alpha))), op.constant(1.0))
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, below)),)


@rule("Clip")
def clip(op, g, y, x, low="", high=""):
    """Passes strictly inside the bounds, as ReLU6 in torch."""
    # By the output, so that nothing but this operator reads the input, and they are fused.
    inside = [op.Greater(y, low)] if low else []
    inside += [op.Less(y, high)] if high else []
    if inside:
        g = op.Where(op.And(*inside) if len(inside) > 1 else inside[0], g, op.constant(0.0))
    return g, None, None


@rule("Elu")
def elu(op, g, y, x, *, alpha=1.0):
    """Slope 1 above zero, alpha exp(x) = y + alpha elsewhere."""
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, op.Add(y, op.constant(float(alpha))))),)


@rule("Gelu")
def gelu(op, g, y, x, *, approximate="none"):
    """Slope Phi(x) + x phi(x) of the normal distribution, or that of its tanh approximation."""
    half, one = op.constant(0.5), op.constant(1.0)
    square = op.Mul(x, x)
    if approximate == "none":
        cumulative = op.Mul(half, op.Add(one, op.Erf(op.Mul(x, op.constant(0.5**0.5)))))
        density = op.Mul(op.Exp(op.Mul(square, op.constant(-0.5))), op.constant((2 * np.pi) ** -0.5))
        return (op.Mul(g, op.Add(cumulative, op.Mul(x, density))),)
    if approximate != "tanh":
        raise UnsupportedOperator(f"Gelu has a rule for approximate none and tanh, not for {approximate!r}")
    scale, cubic = (2 / np.pi) ** 0.5, 0.044715
    inner = op.Mul(x, op.Add(op.constant(scale), op.Mul(square, op.constant(scale * cubic))))
    inner_slope = op.Add(op.constant(scale), op.Mul(square, op.constant(3 * scale * cubic)))
    t = op.Tanh(inner)
    bend = op.Mul(op.Sub(one, op.Mul(t, t)), op.Mul(x, inner_slope))
    return (op.Mul(g, op.Mul(half, op.Add(op.Add(one, t), bend))),)


@rule("HardSigmoid")
def hard_sigmoid(op, g, y, x, *, alpha=0.2, beta=0.5):
    """Slope alpha strictly between 0 and 1."""
    inside = op.And(op.Greater(y, op.constant(0.0)), op.Less(y, op.constant(1.0)))
    return (op.Where(inside, op.Mul(g, op.constant(float(alpha))), op.constant(0.0)),)


@rule("HardSwish")
def hard_swish(op, g, y, x):
    """0 below -3, 1 above 3, x / 3 + 1/2 between."""
    slope = op.Add(op.Mul(x, op.constant(1 / 3)), op.constant(0.5))
    slope = op.Where(op.Less(x, op.constant(-3.0)), op.constant(0.0), slope)
    slope = op.Where(op.Greater(x, op.constant(3.0)), op.constant(1.0), slope)
    return (op.Mul(g, slope),)


@rule("LeakyRelu")
def leaky_relu(op, g, y, x, *, alpha=0.01):
    """Slope 1 above zero, alpha elsewhere."""
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, op.constant(float(alpha)))),)


@rule("LogSoftmax")
def log_softmax(op, g, y, x, *, axis=-1):
    """The gradient less exp(y) sum(g) along the axis."""
    return (op.Sub(g, op.Mul(op.Exp(y), op.ReduceSum(g, op.constant([axis]), keepdims=1))),)


@rule("Mish")
def mish(op, g, y, x):
    """Slope t + x sigmoid(x) (1 - t^2) with t = tanh(softplus(x))."""
    t = op.Tanh(op.Softplus(x))
    bend = op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(op.constant(1.0), op.Mul(t, t)))
    return (op.Mul(g, op.Add(t, bend)),)


@elementwise("PRelu")
def prelu(op, g, y, x, slope):
    """Slope 1 above zero, the learned one elsewhere, which gets x there."""
    above, zero = op.Greater(x, op.constant(0.0)), op.constant(0.0)
    return op.Where(above, g, op.Mul(g, slope)), op.Where(above, zero, op.Mul(g, x))


@rule("Relu")
def relu(op, g, y, x):
    """Passes where the output is positive; nothing at zero, as torch."""
    return (op.Where(op.Greater(y, op.constant(0.0)), g, op.constant(0.0)),)


@rule("Selu")
def selu(op, g, y, x, *, alpha=1.6732631921768188, gamma=1.0507010221481323):
    """Slope gamma above zero, gamma alpha exp(x) = y + gamma alpha elsewhere."""
    below = op.Add(y, op.constant(float(gamma * alpha)))
    slope = op.Where(op.Greater(x, op.constant(0.0)), op.constant(float(gamma)), below)
    return (op.Mul(g, slope),)


@rule("Shrink")
def shrink(op, g, y, x, *, bias=0.0, lambd=0.5):
    """Passes outside [-lambd, lambd]."""
    outside = op.Or(op.Less(x, op.constant(-float(lambd))), op.Greater(x, op.constant(float(lambd))))
    return (op.Where(outside, g, op.constant(0.0)),)


@rule("Sigmoid")
def sigmoid(op, g, y, x):
    """Slope y (1 - y)."""
    return (op.Mul(g, op.Mul(y, op.Sub(op.constant(1.0), y))),)


@rule("Softmax")
def softmax(op, g, y, x, *, axis=-1):
    """Y (g - sum(g y)) along the axis."""
    dot = op.ReduceSum(op.Mul(g, y), op.constant([axis]), keepdims=1)
    return (op.Mul(y, op.Sub(g, dot)),)


@rule("Softplus")
def softplus(op, g, y, x):
    """Slope sigmoid(x)."""
    return (op.Mul(g, op.Sigmoid(x)),)


@rule("Softsign")
def softsign(op, g, y, x):
    """Slope 1 / (1 + |x|)^2."""
    root = op.Add(op.constant(1.0), op.Abs(x))
    return (op.Div(g, op.Mul(root, root)),)


@rule("Swish")
def swish(op, g, y, x, *, alpha=1.0):
    """Slope s + alpha y (1 - s) with s = sigmoid(alpha x)."""
    s = op.Sigmoid(op.Mul(x, op.constant(float(alpha))))
    bend = op.Mul(op.Mul(y, op.constant(float(alpha))), op.Sub(op.constant(1.0), s))
    return (op.Mul(g, op.Add(s, bend)),)


@rule("Tanh")
def tanh(op, g, y, x):
    """Slope 1 - y^2."""
    return (op.Mul(g, op.Sub(op.constant(1.0), op.Mul(y, y))),)


@rule("ThresholdedRelu")
def thresholded_relu(op, g, y, x, *, alpha=1.0):
    """Passes above alpha."""
    return (op.Where(op.Greater(x, op.constant(float(alpha))), g, op.constant(0.0)),)


# ---------------------------------------------------------------------------------------------- arithmetic


@rule("Abs")
def abs_(op, g, y, x):
    """The sign; nothing at zero."""
    return (op.Mul(g, op.Sign(x)),)


@rule("Acos")
def acos(op, g, y, x):
    """Slope -1 / sqrt(1 - x^2)."""
    return (op.Neg(op.Div(g, op.Sqrt(op.Sub(op.constant(1.0), op.Mul(x, x))))),)


@rule("Acosh")
def acosh(op, g, y, x):
    """Slope 1 / sqrt(x^2 - 1)."""
    return (op.Div(g, op.Sqrt(op.Sub(op.Mul(x, x), op.constant(1.0)))),)


@elementwise("Add")
def add(op, g, y, a, b):
    """Both inputs get the gradient."""
    return g, g


@rule("Asin")
def asin(op, g, y, x):
    """Slope 1 / sqrt(1 - x^2)."""
    return (op.Div(g, op.Sqrt(op.Sub(op.constant(1.0), op.Mul(x, x)))),)


@rule("Asinh")
def asinh(op, g, y, x):
    """Slope 1 / sqrt(x^2 + 1)."""
    return (op.Div(g, op.Sqrt(op.Add(op.Mul(x, x), op.constant(1.0)))),)


@rule("Atan")
def atan(op, g, y, x):
    """Slope 1 / (1 + x^2)."""
    return (op.Div(g, op.Add(op.constant(1.0), op.Mul(x, x))),)


@rule("Atanh")
def atanh(op, g, y, x):
    """Slope 1 / (1 - x^2)."""
    return (op.Div(g, op.Sub(op.constant(1.0), op.Mul(x, x))),)


@rule("Cos")
def cos(op, g, y, x):
    """Slope -sin(x)."""
    return (op.Neg(op.Mul(g, op.Sin(x))),)


@rule("Cosh")
def cosh(op, g, y, x):
    """Slope sinh(x)."""
    return (op.Mul(g, op.Sinh(x)),)


@elementwise("Div")
def div(op, g, y, a, b):
    """1 / b and -y / b."""
    ga = op.Div(g, b)
    return ga, op.Neg(op.Mul(ga, y))


@rule("Erf")
def erf(op, g, y, x):
    """Slope 2 / sqrt(pi) exp(-x^2)."""
    bell = op.Exp(op.Neg(op.Mul(x, x)))
    return (op.Mul(g, op.Mul(bell, op.constant(2 / np.pi**0.5))),)


@rule("Exp")
def exp(op, g, y, x):
    """Slope y."""
    return (op.Mul(g, y),)


@rule("Log")
def log(op, g, y, x):
    """Slope 1 / x."""
    return (op.Div(g, x),)


@elementwise("Max", "Min")
def extreme(op, g, y, *inputs):
    """The inputs that reach the output share the gradient evenly, as torch.maximum of two."""
    if len(inputs) == 1:
        return [g]
    reached = [op.Where(op.Equal(x, y), op.constant(1.0), op.constant(0.0)) for x in inputs]
    share = op.Div(g, op.Sum(*reached))
    return [op.Mul(share, here) for here in reached]


@elementwise("Mean")
def mean(op, g, y, *inputs):
    """Every input gets an equal share."""
    return [op.Div(g, op.constant(float(len(inputs))))] * len(inputs)


@elementwise("Mul")
def mul(op, g, y, a, b):
    """Each input gets the gradient times the other input."""
    return op.Mul(g, b), op.Mul(g, a)


@rule("Neg")
def neg(op, g, y, x):
    """The negative gradient."""
    return (op.Neg(g),)


@elementwise("Pow")
def power(op, g, y, x, exponent):
    """Slopes e x^(e - 1), and y log(x) for the exponent.

    Where the base is 0, a slope that would be infinite (e below 1) is 0; an exponent whose base is not
    positive gets 0.
    """
    one, zero = op.constant(1.0), op.constant(0.0)
    if _computed(op, exponent):
        e = op.CastLike(exponent, x)
        less = op.Where(op.Equal(e, zero), zero, op.Sub(e, one))
        infinite = op.And(op.Equal(x, zero), op.Less(e, one))
    else:
        constant = op.value(exponent).astype(op.dtype)
        e, less = op.constant(constant), op.constant(np.where(constant == 0, constant, constant - 1))
        infinite = (
            op.And(op.Equal(x, zero), op.constant(np.asarray(constant < 1))) if np.any(constant < 1) else ""
        )
    base = op.Where(infinite, one, x) if infinite else x
    slope = op.Mul(e, op.Pow(base, less))
    if infinite:
        slope = op.Where(infinite, zero, slope)
    positive = op.Greater(x, zero)
    growth = op.Mul(y, op.Log(op.Where(positive, x, one)))
    return op.Mul(g, slope), op.Where(positive, op.Mul(g, growth), zero)


@rule("Reciprocal")
def reciprocal(op, g, y, x):
    """Slope -y^2."""
    return (op.Neg(op.Mul(g, op.Mul(y, y))),)


@rule("Sin")
def sin(op, g, y, x):
    """Slope cos(x)."""
    return (op.Mul(g, op.Cos(x)),)


@rule("Sinh")
def sinh(op, g, y, x):
    """Slope cosh(x)."""
    return (op.Mul(g, op.Cosh(x)),)


@rule("Sqrt")
def sqrt(op, g, y, x):
    """Slope 1 / (2 y); nothing at zero, where torch's is infinite."""
    return (_divide(op, g, op.Mul(op.constant(2.0), y)),)


@elementwise("Sub")
def sub(op, g, y, a, b):
    """The second input gets the negative gradient."""
    return g, op.Neg(g)


@elementwise("Sum")
def sum_(op, g, y, *inputs):
    """Every input gets the gradient."""
    return [g] * len(inputs)


@rule("Tan")
def tan(op, g, y, x):
    """Slope 1 + y^2."""
    return (op.Mul(g, op.Add(op.constant(1.0), op.Mul(y, y))),)


# ---------------------------------------------------------------------------------------------- products


@rule("Einsum")
def einsum(op, g, y, *inputs, equation):
    """The product of the gradient and the other operands, summed to the operand's labels.

    An operand that repeats a label is refused, and so are extents of 1 that are broadcast.
    """
    labels, output = _einsum_labels([len(op.shape(x)) for x in inputs], equation)
    extents = {}
    for x, names in zip(inputs, labels, strict=True):
        if len(set(names)) < len(names):
            raise UnsupportedOperator(f"Einsum has no rule for the repeated label in {names!r}")
        for name, extent in zip(names, op.shape(x), strict=True):
            if extents.setdefault(name, extent) != extent:
                raise UnsupportedOperator(f"Einsum has no rule for broadcasting: {equation!r}")
    grads = []
    for i, (x, names) in enumerate(zip(inputs, labels, strict=True)):
        terms = [output, *labels[:i], *labels[i + 1 :]]
        found = "".join(name for name in names if any(name in term for term in terms))
        product = op.Einsum(g, *inputs[:i], *inputs[i + 1 :], equation=f"{','.join(terms)}->{found}")
        if alone := [axis for axis, name in enumerate(names) if name not in found]:
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
def gemm(op, g, y, a, b, c=None, *, alpha=1.0, beta=1.0, transA=0, transB=0):
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
def matmul(op, g, y, a, b):
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


def _swap_last(op, x, rank):
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


# --------------------------------------------------------------------------------------------- normalisations


def _normalise(op: Any, g: str, x: str, axes: Sequence[int], epsilon: float, centre: bool = True) -> str:
    """The gradient of (x - mean) / sqrt(variance + epsilon) over `axes`; of x / rms without `centre`."""
    where = op.constant(list(axes))

    def average(tensor: str) -> str:
        return op.ReduceMean(tensor, where, keepdims=1)

    if centre:
        x = op.Sub(x, average(x))
    inverse = op.Div(op.constant(1.0), op.Sqrt(op.Add(average(op.Mul(x, x)), op.constant(float(epsilon)))))
    unit = op.Mul(x, inverse)
    rest = op.Mul(unit, average(op.Mul(g, unit)))
    return op.Mul(inverse, op.Sub(op.Sub(g, average(g)) if centre else g, rest))


@rule("BatchNormalization")
def batch_normalization(
    op, g, y, x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1
):
    """Slope scale / sqrt(var + epsilon) per channel.

    Training mode is refused.
    """
    if training_mode:
        raise ModelError("BatchNormalization is in training mode: export the model in evaluation mode")
    slope = op.Div(scale, op.Sqrt(op.Add(var, op.constant(float(epsilon)))))
    trailing = len(op.shape(x)) - 2
    if trailing > 0:
        slope = op.Unsqueeze(slope, op.constant(list(range(1, 1 + trailing))))
    return op.Mul(g, slope), None, None, None, None


@rule("GroupNormalization")
def group_normalization(op, g, y, x, scale, bias, *, num_groups, epsilon=1e-5, stash_type=1):
    """The normalisation's, per group of channels; scale and bias are constants of the network.

    A scale for each group (operator set 18) or for each channel (21).
    """
    channels, trailing = op.size(x, 1), len(op.shape(x)) - 2
    if op.shape(scale)[0] == channels:  # opset 21: a scale for each channel
        g = op.Mul(g, op.Unsqueeze(scale, op.constant(list(range(1, 1 + trailing)))))
    grouped = op.constant([-1, num_groups, int(np.prod([channels, *op.shape(x)[2:]])) // num_groups])
    g, x_grouped = op.Reshape(g, grouped), op.Reshape(x, grouped)
    if op.shape(scale)[0] != channels:  # opset 18: for each group
        g = op.Mul(g, op.Unsqueeze(scale, op.constant([1])))
    return op.reshape_like(_normalise(op, g, x_grouped, [2], epsilon), x), None, None


@rule("InstanceNormalization")
def instance_normalization(op, g, y, x, scale, bias, *, epsilon=1e-5):
    """The normalisation's, per channel; scale and bias are constants of the network."""
    axes = list(range(2, len(op.shape(x))))
    scaled = op.Mul(g, op.Unsqueeze(scale, op.constant([axis - 1 for axis in axes])))
    return _normalise(op, scaled, x, axes, epsilon), None, None


@rule("LayerNormalization")
def layer_normalization(op, g, y, x, scale, bias=None, *, axis=-1, epsilon=1e-5, stash_type=1):
    """The normalisation's, over the last axes; scale and bias are constants of the network.

    Only the first output may be used.
    """
    rank = len(op.shape(x))
    return _normalise(op, op.Mul(g, scale), x, range(axis % rank, rank), epsilon), None, None


@rule("LpNormalization")
def lp_normalization(op, g, y, x, *, axis=-1, p=2):
    """(g - d sum(g y)) / norm along the axis, d the norm's slope; nothing where the norm is zero."""
    where = op.constant([axis])
    dot = op.ReduceSum(op.Mul(g, y), where, keepdims=1)
    if p == 1:
        norm, slope = op.ReduceL1(x, where, keepdims=1), op.Sign(x)
    else:
        norm, slope = op.ReduceL2(x, where, keepdims=1), y
    return (_divide(op, op.Sub(g, op.Mul(slope, dot)), norm),)


@rule("LRN")
def lrn(op, g, y, x, *, size, alpha=1e-4, beta=0.75, bias=1.0):
    """Slope d^-beta of the channel itself, and -2 alpha beta / size x y / d of each window it is in."""
    channels = op.size(x, 1)
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    window = ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(op.dtype)
    flat = op.constant([-1, channels, int(np.prod(op.shape(x)[2:]))])
    x_flat, y_flat, g_flat = (op.Reshape(tensor, flat) for tensor in (x, y, g))
    energy = op.MatMul(op.constant(window), op.Mul(x_flat, x_flat))
    d = op.Add(op.Mul(energy, op.constant(float(alpha / size))), op.constant(float(bias)))
    around = op.MatMul(op.constant(np.ascontiguousarray(window.T)), op.Div(op.Mul(g_flat, y_flat), d))
    around = op.Mul(op.Mul(around, x_flat), op.constant(float(-2 * alpha * beta / size)))
    own = op.Mul(g_flat, op.Pow(d, op.constant(-float(beta))))
    return (op.reshape_like(op.Add(own, around), x),)


@rule("MeanVarianceNormalization")
def mean_variance_normalization(op, g, y, x, *, axes=(0, 2, 3)):
    """The normalisation's, over the given axes."""
    axes = [axis % len(op.shape(x)) for axis in axes]
    # The operator adds 1e-9 to the deviation: the same where that is zero, and nothing elsewhere.
    return (_normalise(op, g, x, axes, 1e-18),)


@rule("RMSNormalization")
def rms_normalization(op, g, y, x, scale, *, axis=-1, epsilon=1e-5, stash_type=1):
    """The normalisation's without a mean, over the last axes; the scale is a constant of the network."""
    rank = len(op.shape(x))
    axes = range(axis % rank, rank)
    return _normalise(op, op.Mul(g, scale), x, axes, epsilon, centre=False), None


# ---------------------------------------------------------------------------------------------- reductions


@rule("CumSum")
def cum_sum(op, g, y, x, axis, *, exclusive=0, reverse=0):
    """The cumulative sum from the other end."""
    return op.CumSum(g, axis, exclusive=exclusive, reverse=1 - reverse), None


@rule("ReduceL1")
def reduce_l1(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """The sign of each position; nothing at zero.

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    return op.Mul(_kept(op, g, reduced, keepdims), op.Sign(x)), None


@rule("ReduceL2")
def reduce_l2(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Slope x / y; nothing where the norm is zero, as torch.

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    g, y = _kept(op, g, reduced, keepdims), _kept(op, y, reduced, keepdims)
    return op.Mul(x, _divide(op, g, y)), None


@rule("ReduceLogSum")
def reduce_log_sum(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Slope exp(-y).

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    return op.Expand(_kept(op, op.Mul(g, op.Exp(op.Neg(y))), reduced, keepdims), op.Shape(x)), None


@rule("ReduceLogSumExp")
def reduce_log_sum_exp(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Slope exp(x - y)."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    g, y = _kept(op, g, reduced, keepdims), _kept(op, y, reduced, keepdims)
    return op.Mul(g, op.Exp(op.Sub(x, y))), None


@rule("ReduceMax", "ReduceMin")
def reduce_extreme(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """The positions that reach the output share the gradient evenly, as torch.amax."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    if not reduced:
        return g, None
    reached = op.Equal(x, _kept(op, y, reduced, keepdims))
    reached = op.Where(reached, op.constant(1.0), op.constant(0.0))
    count = op.ReduceSum(reached, op.constant(reduced), keepdims=1)
    return op.Mul(reached, op.Div(_kept(op, g, reduced, keepdims), count)), None


@rule("ReduceMean")
def reduce_mean(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
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
def reduce_prod(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
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
def reduce_sum(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Every position gets the whole gradient."""
    reduced = _reduced(op, x, axes, noop_with_empty_axes)
    return op.Expand(_kept(op, g, reduced, keepdims), op.Shape(x)) if reduced else g, None


@rule("ReduceSumSquare")
def reduce_sum_square(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Slope 2 x.

    `noop_with_empty_axes` without axes is refused.
    """
    reduced = _reduced(op, x, axes, noop_with_empty_axes, ambiguous=True)
    return op.Mul(_kept(op, g, reduced, keepdims), op.Mul(x, op.constant(2.0))), None


def _reduced(op, x, axes, noop_with_empty_axes, ambiguous=False):
    """The axes that a reduction reduces, none if it does nothing."""
    rank = len(op.shape(x))
    reduced = sorted(int(axis) % rank for axis in op.value(axes)) if axes else []
    if not reduced and noop_with_empty_axes:
        if ambiguous:  # whether it still squares, say, differs between versions of the specification
            raise UnsupportedOperator("the reduction has no axes and noop_with_empty_axes: give it axes")
        return []
    return reduced or list(range(rank))


def _kept(op, tensor, reduced, keepdims):
    """A reduction's output with its reduced axes kept."""
    return tensor if keepdims or not reduced else op.Unsqueeze(tensor, op.constant(reduced))


# ---------------------------------------------------------------------------------------------- resizing


@rule("Resize")
def resize(
    op,
    g,
    y,
    x,
    roi=None,
    scales=None,
    sizes=None,
    *,
    antialias=0,
    axes=None,
    coordinate_transformation_mode="half_pixel",
    cubic_coeff_a=-0.75,
    exclude_outside=0,
    extrapolation_value=0.0,
    keep_aspect_ratio_policy="stretch",
    mode="nearest",
    nearest_mode="round_prefer_floor",
):
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
    if not factors and keep_aspect_ratio_policy != "stretch":
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
        g = _along(op, g, matrix, axis, rank)
    return g, None, None, None


# ---------------------------------------------------------------------------------------------- structure


@rule("Concat")
def concat(op, g, y, *inputs, axis):
    """Each input gets its own slice."""
    grads, start = [], 0
    for x in inputs:
        stop = start + op.size(x, axis)
        grads.append(op.Slice(g, op.constant([start]), op.constant([stop]), op.constant([axis])))
        start = stop
    return grads


@rule("DepthToSpace")
def depth_to_space(op, g, y, x, *, blocksize, mode="DCR"):
    """Space to depth, in the same order."""
    return (_blocks_to_depth(op, g, op.shape(y), blocksize, mode, x),)


def _blocks_to_depth(op, g, shape, block, mode, x):
    """Move blocks of `g` into channels: block position first (DCR) or channel first (CRD)."""
    batch, channels, height, width = _sizes(shape)
    g = op.Reshape(g, op.constant([batch, channels, height // block, block, width // block, block]))
    return op.reshape_like(
        op.Transpose(g, perm=[0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4]), x
    )


@rule("Dropout")
def dropout(op, g, y, x, ratio=None, training_mode=None, *, seed=None):
    """Does nothing in inference.

    Training mode is refused.
    """
    if training_mode and op.value(training_mode):
        raise ModelError("Dropout is in training mode: export the model in evaluation mode")
    return g, None, None


@rule("Expand")
def expand(op, g, y, x, shape):
    """Summed over what was repeated."""
    return op.sum_to(g, op.shape(y), op.shape(x)), None


@rule("Flatten")
def flatten(op, g, y, x, *, axis=1):
    """The gradient in the input's shape."""
    return (op.reshape_like(g, x),)


@rule("Gather")
def gather(op, g, y, x, indices, *, axis=0):
    """Each slice is added where it was taken from."""
    shape = op.shape(x)
    rank, axis = len(shape), axis % len(shape)
    if _computed(op, indices):
        return _gather_computed(op, g, x, indices, axis), None
    taken, extent = op.value(indices), op.size(x, axis)
    if taken.ndim != 1:
        g = op.Reshape(g, op.constant(_sizes([*shape[:axis], taken.size, *shape[axis + 1 :]])))
    return _put_back(op, g, taken.ravel() % extent, extent, axis, rank), None


def _gather_computed(op, g, x, indices, axis):
    """Scatter slices at indices that the network computes, with their axis moved to the front."""
    rank, count = len(op.shape(x)), len(op.shape(indices))
    front = [axis, *(i for i in range(rank) if i != axis)]
    slices = [*range(axis, axis + count), *range(axis), *range(axis + count, rank - 1 + count)]
    zeros = _zeros(op, op.Transpose(x, perm=front))
    where = op.Unsqueeze(indices, op.constant([-1]))
    g = op.Transpose(g, perm=slices) if slices else g
    total = op.ScatterND(zeros, where, g, reduction="add")
    return op.Transpose(total, perm=[front.index(i) for i in range(rank)])


@rule("GatherElements")
def gather_elements(op, g, y, x, indices, *, axis=0):
    """Each element is added where it was taken from."""
    return op.ScatterElements(_zeros(op, x), indices, g, axis=axis, reduction="add"), None


@rule("GatherND")
def gather_nd(op, g, y, x, indices, *, batch_dims=0):
    """Each slice is added where it was taken from.

    `batch_dims` other than 0 is refused.
    """
    if batch_dims:
        raise UnsupportedOperator(f"GatherND has a rule for batch_dims 0 only, not for {batch_dims}")
    return op.ScatterND(_zeros(op, x), indices, g, reduction="add"), None


@rule("Identity")
def identity(op, g, y, x):
    """The gradient as it is."""
    return (g,)


@rule("Pad")
def pad(op, g, y, x, pads, constant_value=None, axes=None, *, mode="constant"):
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
        g = _put_back(op, g, taken, n, axis, rank)
    return g, None, None, None


@rule("Reshape")
def reshape(op, g, y, x, shape, *, allowzero=0):
    """The gradient in the input's shape."""
    return op.reshape_like(g, x), None


@rule("ScatterElements")
def scatter_elements(op, g, y, x, indices, updates, *, axis=0, reduction="none"):
    """The updates get what is at their place, the input the rest, or everything if they are added.

    Reductions none and add; the others are refused.
    """
    _refuse_reduction("ScatterElements", reduction)
    rest = g if reduction == "add" else op.ScatterElements(g, indices, _zeros(op, updates), axis=axis)
    return rest, None, op.GatherElements(g, indices, axis=axis)


@rule("ScatterND")
def scatter_nd(op, g, y, x, indices, updates, *, reduction="none"):
    """The updates get what is at their place, the input the rest, or everything if they are added.

    Reductions none and add; the others are refused.
    """
    _refuse_reduction("ScatterND", reduction)
    rest = g if reduction == "add" else op.ScatterND(g, indices, _zeros(op, updates))
    return rest, None, op.GatherND(g, indices)


def _refuse_reduction(op_type, reduction):
    if reduction not in ("none", "add"):
        raise UnsupportedOperator(f"{op_type} has a rule for reductions none and add, not for {reduction}")


@rule("Slice")
def slice_(op, g, y, x, starts, ends, axes=None, steps=None):
    """Back to its place among zeros."""
    starts, shape = op.value(starts), list(op.shape(x))
    axes = [int(axis) % len(shape) for axis in op.value(axes)] if axes else list(range(len(starts)))
    steps = op.value(steps).tolist() if steps else [1] * len(axes)
    begins, stops, kept = [0] * len(shape), [0] * len(shape), list(op.shape(y))
    for axis, start, stop, step in zip(axes, starts.tolist(), op.value(ends).tolist(), steps, strict=True):
        if shape[axis] is None and (start, step) == (0, 1) and stop >= np.iinfo(np.int32).max:
            continue  # the whole batch
        extent, count = op.size(x, axis), op.size(y, axis)
        first = range(extent)[slice(start, stop, step)].start
        if step < 0:  # from the other end
            g = op.Slice(
                g,
                op.constant([-1]),
                op.constant([np.iinfo(np.int64).min]),
                op.constant([axis]),
                op.constant([-1]),
            )
            first, step = first + (count - 1) * step, -step
        if step > 1:  # zeros between, by way of an axis of its own
            apart = _sizes(kept)
            g = op.Reshape(g, op.constant([*apart[: axis + 1], 1, *apart[axis + 1 :]]))
            g = op.Pad(
                g, op.constant([0] * (len(shape) + 1 + axis + 1) + [step - 1] + [0] * (len(shape) - axis - 1))
            )
            kept[axis] = apart[axis] = count * step
            g = op.Reshape(g, op.constant(apart))
        begins[axis] = first
        stops[axis] = extent - first - count * step
    return op.Pad(g, op.constant([*begins, *stops])), None, None, None


@rule("SpaceToDepth")
def space_to_depth(op, g, y, x, *, blocksize, mode="DCR"):
    """Depth to space, in the same order."""
    return (op.DepthToSpace(g, blocksize=blocksize, mode=mode),)


@rule("Split")
def split(op, g, y, x, lengths=None, *, axis=0, num_outputs=None):
    """The parts' gradients in a row."""
    parts = [
        gradient or op.Expand(op.constant(0.0), op.Shape(part))
        for gradient, part in zip(g, y, strict=True)
        if part
    ]
    return op.Concat(*parts, axis=axis), None


@rule("Squeeze", "Unsqueeze")
def squeeze(op, g, y, x, axes=None):
    """The gradient in the input's shape."""
    return (op.reshape_like(g, x), None)


@rule("Tile")
def tile(op, g, y, x, repeats):
    """Summed over the repeats."""
    apart, sums = [], []
    for extent, count in zip(_sizes(op.shape(x)), op.value(repeats).tolist(), strict=True):
        if count != 1:
            sums.append(len(apart))
            apart.append(count)
        apart.append(extent)
    return op.ReduceSum(op.Reshape(g, op.constant(apart)), op.constant(sums), keepdims=0) if sums else g, None


@rule("TopK")
def top_k(op, g, y, x, k, *, axis=-1, largest=1, sorted=1):
    """Each value is added where it was taken from; the indices have no gradient."""
    values, _ = g
    return op.ScatterElements(_zeros(op, x), y[1], values, axis=axis, reduction="add"), None


@rule("Transpose")
def transpose(op, g, y, x, *, perm=None):
    """The gradient transposed back."""
    perm = list(perm or reversed(range(len(op.shape(x)))))
    return (op.Transpose(g, perm=[perm.index(axis) for axis in range(len(perm))]),)


@rule("Trilu")
def trilu(op, g, y, x, k=None, *, upper=1):
    """The same triangle."""
    return op.Trilu(g, k, upper=upper), None


@elementwise("Where")
def where(op, g, y, condition, a, b):
    """Each branch gets the gradient where it was chosen."""
    zero = op.constant(0.0)
    return None, op.Where(condition, g, zero), op.Where(condition, zero, g)


# ---------------------------------------------------------------------------------------------- types


FLOATS = frozenset({1, 10, 11, 16})  # float, float16, double, bfloat16
# The range of each quantised type.
QUANTISED = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for bits in (4, 8, 16)
    for sign in ("", "u")
}
QUANTISED_CODES = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 21: "uint4", 22: "int4"}


@rule("Cast")
def cast(op, g, y, x, *, to, saturate=1, round_mode="up"):
    """The gradient in the input's type.

    Only between float types: an integer or a truth value has no gradient.
    """
    if to not in FLOATS:
        raise UnsupportedOperator(f"Cast to the type {to} cuts the gradient: only float types have one")
    # An integer input on the way would come from such a Cast, which is refused.
    return (op.CastLike(g, x),)


@rule("CastLike")
def cast_like(op, g, y, x, target, *, saturate=1, round_mode="up"):
    """The gradient in the input's type."""
    return op.CastLike(g, x), None


@rule("DequantizeLinear")
def dequantize_linear(op, g, y, x, scale, zero_point=None, *, axis=1, block_size=0, output_dtype=0):
    """Slope scale: a quantised tensor's gradient is a float; scale and zero point are constants.

    Per tensor or per axis; blocks are refused.
    """
    return op.Mul(g, _per_axis(op, scale, x, axis, block_size)), None, None


@rule("QuantizeLinear")
def quantize_linear(
    op, g, y, x, scale, zero_point=None, *, axis=1, block_size=0, output_dtype=0, precision=0, saturate=1
):
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


def _per_axis(op, parameter, x, axis, block_size, shape=None):
    """A scalar, or one value for each position of an axis, in a form that broadcasts to `x`."""
    shape = op.shape(parameter) if shape is None else shape
    if block_size or len(shape) > 1:
        raise UnsupportedOperator("quantisation in blocks has no rule: quantise per tensor or per axis")
    rank = len(op.shape(x))
    if not shape or shape == (1,):
        return op.Reshape(parameter, op.constant(np.zeros(0, np.int64))) if shape else parameter
    return op.Reshape(parameter, op.constant([-1] + [1] * (rank - 1 - axis % rank)))
