"""Rules of activation functions."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from .table import Gradients, elementwise, rule


@rule("Celu")
def celu(op: Builder, g: str, y: str, x: str, *, alpha: float = 1.0) -> Gradients:
    """Slope 1 above zero, exp(x / alpha) = y / alpha + 1 elsewhere."""
    below = op.Add(op.Div(y, op.constant(float(alpha))), op.constant(1.0))
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, below)),)


@rule("Clip")
def clip(op: Builder, g: str, y: str, x: str, low: str = "", high: str = "") -> Gradients:
    """Passes strictly inside the bounds, as ReLU6 in torch."""
    # By the output, so that nothing but this operator reads the input, and they are fused.
    inside = [op.Greater(y, low)] if low else []
    inside += [op.Less(y, high)] if high else []
    if inside:
        g = op.Where(op.And(*inside) if len(inside) > 1 else inside[0], g, op.constant(0.0))
    return g, None, None


@rule("Elu")
def elu(op: Builder, g: str, y: str, x: str, *, alpha: float = 1.0) -> Gradients:
    """Slope 1 above zero, alpha exp(x) = y + alpha elsewhere."""
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, op.Add(y, op.constant(float(alpha))))),)


@rule("Gelu")
def gelu(op: Builder, g: str, y: str, x: str, *, approximate: str = "none") -> Gradients:
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
def hard_sigmoid(op: Builder, g: str, y: str, x: str, *, alpha: float = 0.2, beta: float = 0.5) -> Gradients:
    """Slope alpha strictly between 0 and 1."""
    inside = op.And(op.Greater(y, op.constant(0.0)), op.Less(y, op.constant(1.0)))
    return (op.Where(inside, op.Mul(g, op.constant(float(alpha))), op.constant(0.0)),)


@rule("HardSwish")
def hard_swish(op: Builder, g: str, y: str, x: str) -> Gradients:
    """0 below -3, 1 above 3, x / 3 + 1/2 between."""
    slope = op.Add(op.Mul(x, op.constant(1 / 3)), op.constant(0.5))
    slope = op.Where(op.Less(x, op.constant(-3.0)), op.constant(0.0), slope)
    slope = op.Where(op.Greater(x, op.constant(3.0)), op.constant(1.0), slope)
    return (op.Mul(g, slope),)


@rule("LeakyRelu")
def leaky_relu(op: Builder, g: str, y: str, x: str, *, alpha: float = 0.01) -> Gradients:
    """Slope 1 above zero, alpha elsewhere."""
    return (op.Where(op.Greater(x, op.constant(0.0)), g, op.Mul(g, op.constant(float(alpha)))),)


@rule("LogSoftmax")
def log_softmax(op: Builder, g: str, y: str, x: str, *, axis: int = -1) -> Gradients:
    """The gradient less exp(y) sum(g) along the axis."""
    return (op.Sub(g, op.Mul(op.Exp(y), op.ReduceSum(g, op.constant([axis]), keepdims=1))),)


@rule("Mish")
def mish(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope t + x sigmoid(x) (1 - t^2) with t = tanh(softplus(x))."""
    t = op.Tanh(op.Softplus(x))
    bend = op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(op.constant(1.0), op.Mul(t, t)))
    return (op.Mul(g, op.Add(t, bend)),)


@elementwise("PRelu")
def prelu(op: Builder, g: str, y: str, x: str, slope: str) -> Gradients:
    """Slope 1 above zero, the learned one elsewhere, which gets x there."""
    above, zero = op.Greater(x, op.constant(0.0)), op.constant(0.0)
    return op.Where(above, g, op.Mul(g, slope)), op.Where(above, zero, op.Mul(g, x))


@rule("Relu")
def relu(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Passes where the output is positive; nothing at zero, as torch."""
    return (op.Where(op.Greater(y, op.constant(0.0)), g, op.constant(0.0)),)


@rule("Selu")
def selu(
    op: Builder,
    g: str,
    y: str,
    x: str,
    *,
    alpha: float = 1.6732631921768188,
    gamma: float = 1.0507010221481323,
) -> Gradients:
    """Slope gamma above zero, gamma alpha exp(x) = y + gamma alpha elsewhere."""
    below = op.Add(y, op.constant(float(gamma * alpha)))
    slope = op.Where(op.Greater(x, op.constant(0.0)), op.constant(float(gamma)), below)
    return (op.Mul(g, slope),)


@rule("Shrink")
def shrink(op: Builder, g: str, y: str, x: str, *, bias: float = 0.0, lambd: float = 0.5) -> Gradients:
    """Passes outside [-lambd, lambd]."""
    outside = op.Or(op.Less(x, op.constant(-float(lambd))), op.Greater(x, op.constant(float(lambd))))
    return (op.Where(outside, g, op.constant(0.0)),)


@rule("Sigmoid")
def sigmoid(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope y (1 - y)."""
    return (op.Mul(g, op.Mul(y, op.Sub(op.constant(1.0), y))),)


@rule("Softmax")
def softmax(op: Builder, g: str, y: str, x: str, *, axis: int = -1) -> Gradients:
    """Y (g - sum(g y)) along the axis."""
    dot = op.ReduceSum(op.Mul(g, y), op.constant([axis]), keepdims=1)
    return (op.Mul(y, op.Sub(g, dot)),)


@rule("Softplus")
def softplus(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope sigmoid(x)."""
    return (op.Mul(g, op.Sigmoid(x)),)


@rule("Softsign")
def softsign(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / (1 + |x|)^2."""
    root = op.Add(op.constant(1.0), op.Abs(x))
    return (op.Div(g, op.Mul(root, root)),)


@rule("Swish")
def swish(op: Builder, g: str, y: str, x: str, *, alpha: float = 1.0) -> Gradients:
    """Slope s + alpha y (1 - s) with s = sigmoid(alpha x)."""
    s = op.Sigmoid(op.Mul(x, op.constant(float(alpha))))
    bend = op.Mul(op.Mul(y, op.constant(float(alpha))), op.Sub(op.constant(1.0), s))
    return (op.Mul(g, op.Add(s, bend)),)


@rule("Tanh")
def tanh(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / cosh(x)^2 = 4 e / (1 + e)^2, e = exp(-2 |x|): 1 - y^2 loses its digits where y is near 1."""
    e = op.Exp(op.Mul(op.Abs(x), op.constant(-2.0)))
    root = op.Add(op.constant(1.0), e)
    return (op.Mul(g, op.Div(op.Mul(op.constant(4.0), e), op.Mul(root, root))),)


@rule("ThresholdedRelu")
def thresholded_relu(op: Builder, g: str, y: str, x: str, *, alpha: float = 1.0) -> Gradients:
    """Passes above alpha."""
    return (op.Where(op.Greater(x, op.constant(float(alpha))), g, op.constant(0.0)),)
