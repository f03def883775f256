"""The gradient table: for each operator, its vector-Jacobian product as ONNX operators.

A rule has its operator's ONNX signature (opset 18 and later) behind three leading arguments: the builder
`op`, the gradient `g` of the output, and the output `y`. Inputs are positional, attributes are keywords with
the specification's defaults. It returns an entry for each input (entries past the inputs given are ignored):
a tensor name, or None where the input takes no gradient. An attribute that a rule does not name is an error,
never ignored. To add an operator, write one function here and one case in `tests/test_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from sise_rt.errors import ModelError, UnsupportedOperator

Rule = Callable[..., Sequence[str | None]]
RULES: dict[str, Rule] = {}

# Their outputs do not change when their inputs change a little, so nothing flows back through them.
PIECEWISE_CONSTANT = frozenset(
    "And ArgMax ArgMin BitShift Ceil ConstantOfShape Equal EyeLike Floor Greater GreaterOrEqual IsInf IsNaN "
    "Less LessOrEqual NonZero Not Or Range Round Shape Sign Size Xor".split()
)
# Their rules take lists for `g` and `y`; `g` holds None where an output has no gradient.
SEVERAL_OUTPUTS = frozenset({"Split"})


def vjp(*op_types: str) -> Callable[[Rule], Rule]:
    """Register a rule under literal operator types."""

    def register(rule: Rule) -> Rule:
        for op_type in op_types:
            if op_type in RULES:
                raise ValueError(f"two rules for {op_type}")
            RULES[op_type] = rule
        return rule

    return register


def elementwise(*op_types: str) -> Callable[[Rule], Rule]:
    """Register a rule that may ignore broadcasting: each gradient is summed to its input's shape."""

    def decorate(rule: Rule) -> Rule:
        @wraps(rule)
        def summed(op: Any, g: str, y: str, *inputs: str, **attributes: Any) -> list[str | None]:
            grads = rule(op, g, y, *inputs, **attributes)
            return [
                None if grad is None else op.sum_to(grad, op.shape(y), op.shape(x))
                for grad, x in zip(grads, inputs, strict=True)
            ]

        vjp(*op_types)(summed)
        return rule

    return decorate


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
    # reach: how far the windows extend from the start of the padded input
    reach = [
        (op.size(y, 2 + i) - 1) * s + d * (k - 1) + 1
        for i, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True))
    ]
    ends = [r - h - p for r, h, (p, _) in zip(reach, extents, pads, strict=True)]
    begins = [p for p, _ in pads]
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


@vjp("Conv")
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
    """Transposed convolution with the same weights; weights and bias are constants of the network."""
    kernel = list(op.shape(w)[2:])
    windows = _windows(op, x, y, kernel, strides, pads, dilations, auto_pad)
    return (_spread(op, g, w, x, y, kernel, windows, group), None, None)


@vjp("MaxPool")
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


@vjp("AveragePool")
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
    """Each window's gradient, divided by the window's count, is spread evenly over the window."""
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


@vjp("GlobalAveragePool")
def global_average_pool(op, g, y, x):
    """Every position gets an equal share."""
    count = int(np.prod([op.size(x, axis) for axis in range(2, len(op.shape(x)))]))
    return (op.Expand(op.Div(g, op.constant(float(count))), op.Shape(x)),)


@vjp("GlobalMaxPool")
def global_max_pool(op, g, y, x):
    """One window of the whole map."""
    return max_pool(op, g, y, x, kernel_shape=[op.size(x, axis) for axis in range(2, len(op.shape(x)))])


# ---------------------------------------------------------------------------------------------- activations


@vjp("Clip")
def clip(op, g, y, x, low="", high=""):
    """Passes strictly inside the bounds, as ReLU6 in torch."""
    if low:
        g = op.Where(op.Greater(x, low), g, op.constant(0.0))
    if high:
        g = op.Where(op.Less(x, high), g, op.constant(0.0))
    return g, None, None


@vjp("HardSigmoid")
def hard_sigmoid(op, g, y, x, *, alpha=0.2, beta=0.5):
    """Slope alpha strictly between 0 and 1."""
    inside = op.And(op.Greater(y, op.constant(0.0)), op.Less(y, op.constant(1.0)))
    return (op.Where(inside, op.Mul(g, op.constant(float(alpha))), op.constant(0.0)),)


@vjp("HardSwish")
def hard_swish(op, g, y, x):
    """0 below -3, 1 above 3, x / 3 + 1/2 between."""
    slope = op.Add(op.Mul(x, op.constant(1 / 3)), op.constant(0.5))
    slope = op.Where(op.Less(x, op.constant(-3.0)), op.constant(0.0), slope)
    slope = op.Where(op.Greater(x, op.constant(3.0)), op.constant(1.0), slope)
    return (op.Mul(g, slope),)


@vjp("LeakyRelu")
def leaky_relu(op, g, y, x, *, alpha=0.01):
    """Slope 1 above zero, alpha elsewhere."""
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, op.constant(float(alpha)))),)


@vjp("Relu")
def relu(op, g, y, x):
    """Passes where the output is positive; nothing at zero, as torch."""
    return (op.Where(op.Greater(y, op.constant(0.0)), g, op.constant(0.0)),)


@vjp("Sigmoid")
def sigmoid(op, g, y, x):
    """Slope y (1 - y)."""
    return (op.Mul(g, op.Mul(y, op.Sub(op.constant(1.0), y))),)


@vjp("Softmax")
def softmax(op, g, y, x, *, axis=-1):
    """Y (g - sum(g y)) along the axis."""
    dot = op.ReduceSum(op.Mul(g, y), op.constant([axis]), keepdims=1)
    return (op.Mul(y, op.Sub(g, dot)),)


@vjp("Tanh")
def tanh(op, g, y, x):
    """Slope 1 - y^2."""
    return (op.Mul(g, op.Sub(op.constant(1.0), op.Mul(y, y))),)


# ---------------------------------------------------------------------------------------------- arithmetic


@elementwise("Add")
def add(op, g, y, a, b):
    """Both inputs get the gradient."""
    return g, g


@elementwise("Div")
def div(op, g, y, a, b):
    """1 / b and -y / b."""
    ga = op.Div(g, b)
    return ga, op.Neg(op.Mul(ga, y))


@vjp("Exp")
def exp(op, g, y, x):
    """Slope y."""
    return (op.Mul(g, y),)


@elementwise("Mul")
def mul(op, g, y, a, b):
    """Each input gets the gradient times the other input."""
    return op.Mul(g, b), op.Mul(g, a)


@vjp("Neg")
def neg(op, g, y, x):
    """The negative gradient."""
    return (op.Neg(g),)


@elementwise("Pow")
def power(op, g, y, x, exponent):
    """Slope e x^(e - 1) for a constant exponent e, zero where e is."""
    e = op.value(exponent).astype(op.dtype)
    slope = op.Mul(op.constant(e), op.Pow(x, op.constant(np.where(e == 0, e, e - 1))))
    return op.Mul(g, slope), None


@vjp("Sqrt")
def sqrt(op, g, y, x):
    """Slope 1 / (2 y)."""
    return (op.Div(g, op.Mul(op.constant(2.0), y)),)


@elementwise("Sub")
def sub(op, g, y, a, b):
    """The second input gets the negative gradient."""
    return g, op.Neg(g)


@elementwise("Sum")
def sum_(op, g, y, *inputs):
    """Every input gets the gradient."""
    return [g] * len(inputs)


# ---------------------------------------------------------------------------------------------- products


@vjp("BatchNormalization")
def batch_normalization(
    op, g, y, x, scale, bias, mean, var, *, epsilon=1e-5, momentum=0.9, training_mode=0, spatial=1
):
    """Slope scale / sqrt(var + epsilon) per channel."""
    if training_mode:
        raise ModelError("BatchNormalization is in training mode: export the model in evaluation mode")
    slope = op.Div(scale, op.Sqrt(op.Add(var, op.constant(float(epsilon)))))
    trailing = len(op.shape(x)) - 2
    if trailing > 0:
        slope = op.Unsqueeze(slope, op.constant(list(range(1, 1 + trailing))))
    return op.Mul(g, slope), None, None, None, None


@vjp("Gemm")
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


@vjp("MatMul")
def matmul(op, g, y, a, b):
    """Products with the other factor transposed, summed over broadcast leading axes."""
    if len(op.shape(a)) < 2 or len(op.shape(b)) < 2:
        raise UnsupportedOperator("MatMul with a vector has no rule: reshape the vector to a matrix")
    lead = op.shape(y)[:-2]
    ga = op.MatMul(g, _swap_last(op, b))
    gb = op.MatMul(_swap_last(op, a), g)
    return (
        op.sum_to(ga, lead + op.shape(a)[-2:], op.shape(a)),
        op.sum_to(gb, lead + op.shape(b)[-2:], op.shape(b)),
    )


def _swap_last(op, x):
    rank = len(op.shape(x))
    return op.Transpose(x, perm=[*range(rank - 2), rank - 1, rank - 2])


# ---------------------------------------------------------------------------------------------- reductions


@vjp("ReduceMean")
def reduce_mean(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Every position gets an equal share."""
    spread, count = _spread_reduced(op, g, x, axes, keepdims, noop_with_empty_axes)
    return (op.Div(spread, op.constant(float(count))), None)


@vjp("ReduceSum")
def reduce_sum(op, g, y, x, axes=None, *, keepdims=1, noop_with_empty_axes=0):
    """Every position gets the whole gradient."""
    return _spread_reduced(op, g, x, axes, keepdims, noop_with_empty_axes, counted=False)[0], None


def _spread_reduced(op, g, x, axes, keepdims, noop_with_empty_axes, counted=True):
    """The gradient of a reduction's output at every reduced position, and how many positions share one."""
    rank = len(op.shape(x))
    reduced = sorted(int(axis) % rank for axis in op.value(axes)) if axes else []
    if not reduced and noop_with_empty_axes:
        return g, 1
    reduced = reduced or list(range(rank))
    if not keepdims:
        g = op.Unsqueeze(g, op.constant(reduced))
    count = int(np.prod([op.size(x, axis) for axis in reduced])) if counted else 0
    return op.Expand(g, op.Shape(x)), count


# ---------------------------------------------------------------------------------------------- structure


@vjp("Concat")
def concat(op, g, y, *inputs, axis):
    """Each input gets its own slice."""
    grads, start = [], 0
    for x in inputs:
        stop = start + op.size(x, axis)
        grads.append(op.Slice(g, op.constant([start]), op.constant([stop]), op.constant([axis])))
        start = stop
    return grads


@vjp("Dropout")
def dropout(op, g, y, x, ratio=None, training_mode=None, *, seed=None):
    """Does nothing in inference."""
    if training_mode and op.value(training_mode):
        raise ModelError("Dropout is in training mode: export the model in evaluation mode")
    return g, None, None


@vjp("Flatten")
def flatten(op, g, y, x, *, axis=1):
    """The gradient in the input's shape."""
    return (op.reshape_like(g, x),)


@vjp("Identity")
def identity(op, g, y, x):
    """The gradient as it is."""
    return (g,)


@vjp("Pad")
def pad(op, g, y, x, pads, constant_value=None, axes=None, *, mode="constant"):
    """Cuts off what was added, and puts zeros where a negative pad had cut."""
    if mode != "constant":
        raise UnsupportedOperator(f"Pad has a rule for mode constant only, not for {mode}")
    rank = len(op.shape(x))
    padded = [int(axis) % rank for axis in op.value(axes)] if axes else list(range(rank))
    begins, ends = np.zeros(rank, np.int64), np.zeros(rank, np.int64)
    begins[padded], ends[padded] = op.value(pads).reshape(2, -1)
    return op.Pad(g, op.constant(-np.concatenate([begins, ends]))), None, None, None


@vjp("Reshape")
def reshape(op, g, y, x, shape, *, allowzero=0):
    """The gradient in the input's shape."""
    return op.reshape_like(g, x), None


@vjp("Slice")
def slice_(op, g, y, x, starts, ends, axes=None, steps=None):
    """Back to its place among zeros."""
    starts, shape = op.value(starts), list(op.shape(x))
    axes = [int(axis) % len(shape) for axis in op.value(axes)] if axes else list(range(len(starts)))
    steps = op.value(steps).tolist() if steps else [1] * len(axes)
    if min(steps) < 1:
        raise UnsupportedOperator("Slice has a rule for positive steps only")
    begins, stops, kept = [0] * len(shape), [0] * len(shape), list(op.shape(y))
    for axis, start, stop, step in zip(axes, starts.tolist(), op.value(ends).tolist(), steps, strict=True):
        if shape[axis] is None and (start, step) == (0, 1) and stop >= np.iinfo(np.int32).max:
            continue  # the whole batch
        extent, count = op.size(x, axis), op.size(y, axis)
        if step > 1:  # zeros between, by way of an axis of its own
            apart = [-1 if d is None else d for d in kept]
            g = op.Reshape(g, op.constant([*apart[: axis + 1], 1, *apart[axis + 1 :]]))
            g = op.Pad(
                g, op.constant([0] * (len(shape) + 1 + axis + 1) + [step - 1] + [0] * (len(shape) - axis - 1))
            )
            kept[axis] = apart[axis] = count * step
            g = op.Reshape(g, op.constant(apart))
        begins[axis] = max(start + extent, 0) if start < 0 else min(start, extent)
        stops[axis] = extent - begins[axis] - count * step
    return op.Pad(g, op.constant([*begins, *stops])), None, None, None, None


@vjp("Split")
def split(op, g, y, x, lengths=None, *, axis=0, num_outputs=None):
    """The parts' gradients in a row."""
    parts = [
        gradient or op.Expand(op.constant(0.0), op.Shape(part))
        for gradient, part in zip(g, y, strict=True)
        if part
    ]
    return op.Concat(*parts, axis=axis), None


@vjp("Squeeze", "Unsqueeze")
def squeeze(op, g, y, x, axes=None):
    """The gradient in the input's shape."""
    return (op.reshape_like(g, x), None)


@vjp("Transpose")
def transpose(op, g, y, x, *, perm=None):
    """The gradient transposed back."""
    perm = list(perm or reversed(range(len(op.shape(x)))))
    return (op.Transpose(g, perm=[perm.index(axis) for axis in range(len(perm))]),)
