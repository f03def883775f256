"""Rules of arithmetic and of functions of one number."""

from __future__ import annotations

import numpy as np

from ...ir.builder import Builder
from .table import Gradients, computed, divide, elementwise, rule


@rule("Abs")
def abs_(op: Builder, g: str, y: str, x: str) -> Gradients:
    """The sign; nothing at zero."""
    return (op.Mul(g, op.Sign(x)),)


@rule("Acos")
def acos(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope -1 / sqrt(1 - x^2)."""
    return (op.Neg(op.Div(g, op.Sqrt(op.Sub(op.constant(1.0), op.Mul(x, x))))),)


@rule("Acosh")
def acosh(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / sqrt(x^2 - 1)."""
    return (op.Div(g, op.Sqrt(op.Sub(op.Mul(x, x), op.constant(1.0)))),)


@elementwise("Add")
def add(op: Builder, g: str, y: str, a: str, b: str) -> Gradients:
    """Both inputs get the gradient."""
    return g, g


@rule("Asin")
def asin(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / sqrt(1 - x^2)."""
    return (op.Div(g, op.Sqrt(op.Sub(op.constant(1.0), op.Mul(x, x)))),)


@rule("Asinh")
def asinh(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / sqrt(x^2 + 1)."""
    return (op.Div(g, op.Sqrt(op.Add(op.Mul(x, x), op.constant(1.0)))),)


@rule("Atan")
def atan(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / (1 + x^2)."""
    return (op.Div(g, op.Add(op.constant(1.0), op.Mul(x, x))),)


@rule("Atanh")
def atanh(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / (1 - x^2)."""
    return (op.Div(g, op.Sub(op.constant(1.0), op.Mul(x, x))),)


@rule("Cos")
def cos(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope -sin(x)."""
    return (op.Neg(op.Mul(g, op.Sin(x))),)


@rule("Cosh")
def cosh(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope sinh(x)."""
    return (op.Mul(g, op.Sinh(x)),)


@elementwise("Div")
def div(op: Builder, g: str, y: str, a: str, b: str) -> Gradients:
    """1 / b and -y / b."""
    ga = op.Div(g, b)
    return ga, op.Neg(op.Mul(ga, y))


@rule("Erf")
def erf(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 2 / sqrt(pi) exp(-x^2)."""
    bell = op.Exp(op.Neg(op.Mul(x, x)))
    return (op.Mul(g, op.Mul(bell, op.constant(2 / np.pi**0.5))),)


@rule("Exp")
def exp(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope y."""
    return (op.Mul(g, y),)


@rule("Log")
def log(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / x."""
    return (op.Div(g, x),)


@elementwise("Max", "Min")
def extreme(op: Builder, g: str, y: str, *inputs: str) -> Gradients:
    """The inputs that reach the output share the gradient evenly, as torch.maximum of two."""
    if len(inputs) == 1:
        return [g]
    reached = [op.Where(op.Equal(x, y), op.constant(1.0), op.constant(0.0)) for x in inputs]
    share = op.Div(g, op.Sum(*reached))
    return [op.Mul(share, here) for here in reached]


@elementwise("Mean")
def mean(op: Builder, g: str, y: str, *inputs: str) -> Gradients:
    """Every input gets an equal share."""
    return [op.Div(g, op.constant(float(len(inputs))))] * len(inputs)


@elementwise("Mul")
def mul(op: Builder, g: str, y: str, a: str, b: str) -> Gradients:
    """Each input gets the gradient times the other input."""
    return op.Mul(g, b), op.Mul(g, a)


@rule("Neg")
def neg(op: Builder, g: str, y: str, x: str) -> Gradients:
    """The negative gradient."""
    return (op.Neg(g),)


@elementwise("Pow")
def power(op: Builder, g: str, y: str, x: str, exponent: str) -> Gradients:
    """Slopes e x^(e - 1), and y log(x) for the exponent.

    Where the base is 0, a slope that would be infinite (e below 1) is 0; an exponent whose base is not
    positive gets 0.
    """
    one, zero = op.constant(1.0), op.constant(0.0)
    if computed(op, exponent):
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
def reciprocal(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope -y^2."""
    return (op.Neg(op.Mul(g, op.Mul(y, y))),)


@rule("Sin")
def sin(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope cos(x)."""
    return (op.Mul(g, op.Cos(x)),)


@rule("Sinh")
def sinh(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope cosh(x)."""
    return (op.Mul(g, op.Cosh(x)),)


@rule("Sqrt")
def sqrt(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 / (2 y); nothing at zero, where torch's is infinite."""
    return (divide(op, g, op.Mul(op.constant(2.0), y)),)


@elementwise("Sub")
def sub(op: Builder, g: str, y: str, a: str, b: str) -> Gradients:
    """The second input gets the negative gradient."""
    return g, op.Neg(g)


@elementwise("Sum")
def sum_(op: Builder, g: str, y: str, *inputs: str) -> Gradients:
    """Every input gets the gradient."""
    return [g] * len(inputs)


@rule("Tan")
def tan(op: Builder, g: str, y: str, x: str) -> Gradients:
    """Slope 1 + y^2."""
    return (op.Mul(g, op.Add(op.constant(1.0), op.Mul(y, y))),)
