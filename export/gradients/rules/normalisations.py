"""Rules of normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from sise_rt.errors import ModelError

from ...ir.builder import Builder
from .table import Gradients, divide, rule


def _normalise(op: Builder, g: str, x: str, axes: Sequence[int], epsilon: float, centre: bool = True) -> str:
    """The gradient of (x - mean) / sqrt(variance + epsilon) over `axes`; of x / rms without `centre`."""
    where = op.constant(list(axes))

    def average(tensor: str) -> str:
        return op.ReduceMean(tensor, where, keepdims=1)

    if centre:
        x = op.Sub(x, average(x))
    inverse = op.Div(op.constant(1.0), op.Sqrt(op.Add(average(op.Mul(x, x)), op.constant(float(epsilon)))))
    unit = op.Mul(x, inverse)
    rest = op.Sub(g, op.Mul(unit, average(op.Mul(g, unit))))
    # The mean goes last, as that of `unit` is 0 but for the digits that a large mean of x has cost it.
    return op.Mul(inverse, op.Sub(rest, average(rest)) if centre else rest)


@rule("BatchNormalization")
def batch_normalization(
    op: Builder,
    g: str,
    y: str,
    x: str,
    scale: str,
    bias: str,
    mean: str,
    var: str,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
    spatial: int = 1,
) -> Gradients:
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
def group_normalization(
    op: Builder,
    g: str,
    y: str,
    x: str,
    scale: str,
    bias: str,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Gradients:
    """The normalisation's, per group of channels; scale and bias are constants of the network.

    A scale for each group (operator set 18) or for each channel (21).
    """
    channels, trailing = op.size(x, 1), len(op.shape(x)) - 2
    if op.shape(scale)[0] == channels:  # opset 21: a scale for each channel
        g = op.Mul(g, op.Unsqueeze(scale, op.constant(list(range(1, 1 + trailing)))))
    positions = prod(op.size(x, 2 + i) for i in range(trailing))
    grouped = op.constant([-1, num_groups, channels * positions // num_groups])
    g, x_grouped = op.Reshape(g, grouped), op.Reshape(x, grouped)
    if op.shape(scale)[0] != channels:  # opset 18: for each group
        g = op.Mul(g, op.Unsqueeze(scale, op.constant([1])))
    return op.reshape_like(_normalise(op, g, x_grouped, [2], epsilon), x), None, None


@rule("InstanceNormalization")
def instance_normalization(
    op: Builder, g: str, y: str, x: str, scale: str, bias: str, *, epsilon: float = 1e-5
) -> Gradients:
    """The normalisation's, per channel; scale and bias are constants of the network."""
    axes = list(range(2, len(op.shape(x))))
    scaled = op.Mul(g, op.Unsqueeze(scale, op.constant([axis - 1 for axis in axes])))
    return _normalise(op, scaled, x, axes, epsilon), None, None


@rule("LayerNormalization")
def layer_normalization(
    op: Builder,
    g: str,
    y: str,
    x: str,
    scale: str,
    bias: str | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Gradients:
    """The normalisation's, over the last axes; scale and bias are constants of the network.

    Only the first output may be used.
    """
    rank = len(op.shape(x))
    return _normalise(op, op.Mul(g, scale), x, range(axis % rank, rank), epsilon), None, None


@rule("LpNormalization")
def lp_normalization(op: Builder, g: str, y: str, x: str, *, axis: int = -1, p: int = 2) -> Gradients:
    """(g - d sum(g y)) / norm along the axis, d the norm's slope; nothing where the norm is zero."""
    where = op.constant([axis])
    dot = op.ReduceSum(op.Mul(g, y), where, keepdims=1)
    if p == 1:
        norm, slope = op.ReduceL1(x, where, keepdims=1), op.Sign(x)
    else:
        norm, slope = op.ReduceL2(x, where, keepdims=1), y
    return (divide(op, op.Sub(g, op.Mul(slope, dot)), norm),)


@rule("LRN")
def lrn(
    op: Builder,
    g: str,
    y: str,
    x: str,
    *,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    bias: float = 1.0,
) -> Gradients:
    """Slope d^-beta of the channel itself, and -2 alpha beta / size x y / d of each window it is in."""
    channels = op.size(x, 1)
    offset = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    window = ((offset >= -((size - 1) // 2)) & (offset <= size // 2)).astype(op.dtype)
    flat = op.constant([-1, channels, prod(op.size(x, axis) for axis in range(2, len(op.shape(x))))])
    x_flat, y_flat, g_flat = (op.Reshape(tensor, flat) for tensor in (x, y, g))
    energy = op.MatMul(op.constant(window), op.Mul(x_flat, x_flat))
    d = op.Add(op.Mul(energy, op.constant(float(alpha / size))), op.constant(float(bias)))
    around = op.MatMul(op.constant(np.ascontiguousarray(window.T)), op.Div(op.Mul(g_flat, y_flat), d))
    around = op.Mul(op.Mul(around, x_flat), op.constant(float(-2 * alpha * beta / size)))
    own = op.Mul(g_flat, op.Pow(d, op.constant(-float(beta))))
    return (op.reshape_like(op.Add(own, around), x),)


@rule("MeanVarianceNormalization")
def mean_variance_normalization(
    op: Builder, g: str, y: str, x: str, *, axes: Sequence[int] = (0, 2, 3)
) -> Gradients:
    """The normalisation's, over the given axes."""
    axes = [axis % len(op.shape(x)) for axis in axes]
    # The operator adds 1e-9 to the deviation: the same where that is zero, and nothing elsewhere.
    return (_normalise(op, g, x, axes, 1e-18),)


@rule("RMSNormalization")
def rms_normalization(
    op: Builder,
    g: str,
    y: str,
    x: str,
    scale: str,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Gradients:
    """The normalisation's without a mean, over the last axes; the scale is a constant of the network."""
    rank = len(op.shape(x))
    axes = range(axis % rank, rank)
    return _normalise(op, op.Mul(g, scale), x, axes, epsilon, centre=False), None
