"""Derivatives that are measured operator by operator, against derivatives by hand."""

import numpy as np
import pytest
from onnx import helper
from sise_rt.export.proof.tangents import Way, carry

from sise_rt.errors import ModelError

CENTRAL = Way()
rng = np.random.default_rng(0)


def derivative(nodes, values, direction, wanted, way=CENTRAL):
    return carry(nodes, {"": 18}, values, {"x": direction}, wanted, way)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs, [output], output, **attributes)


def test_kinks_of_the_layers_behind_are_not_crossed():
    """sum over relu(1000 (x - 0.5)): units that lie a ten-thousandth from the kink keep their side."""
    x = np.array([0.5001, 0.4999, 2.0, -1.0], np.float32)
    scaled = (1000 * (x - np.float32(0.5))).astype(np.float32)
    factor, shift = np.float32(1000), np.float32(0.5)
    values = {
        "x": x,
        "shift": shift,
        "factor": factor,
        "a": x - shift,
        "b": scaled,
        "y": np.maximum(scaled, 0),
    }
    nodes = [node("Sub", ["x", "shift"], "a"), node("Mul", ["a", "factor"], "b"), node("Relu", ["b"], "y")]
    slope = derivative(nodes, values, np.ones(4), "y")
    np.testing.assert_allclose(slope, [1000, 0, 1000, 0], rtol=1e-6)


def test_one_side_where_the_other_is_outside_the_domain():
    x = np.array([0.0, 1.0, 4.0], np.float32)
    values = {"x": x, "p": np.float32(2.5), "y": x**2.5}
    slope = derivative([node("Pow", ["x", "p"], "y")], values, np.ones(3), "y")
    np.testing.assert_allclose(slope, 2.5 * x**1.5, atol=1e-6)


@pytest.mark.parametrize(("side", "slope"), [("both", 0.5), ("least", 0.0), ("most", 1.0)])
def test_sides_of_a_kink(side, slope):
    values = {"x": np.zeros(1, np.float32), "y": np.zeros(1, np.float32)}
    measured = derivative([node("Relu", ["x"], "y")], values, np.ones(1), "y", Way(side=side))
    assert measured == pytest.approx(slope)


def test_both_factors_move():
    x = rng.standard_normal((3, 3)).astype(np.float32)
    v = rng.standard_normal((3, 3))
    for op, right in (("MatMul", x @ v + v @ x), ("Mul", 2 * x * v)):
        y = x @ x if op == "MatMul" else x * x
        slope = derivative([node(op, ["x", "x"], "y")], {"x": x, "y": y}, v, "y")
        np.testing.assert_allclose(slope, right, atol=1e-5)


def test_masked_values_do_not_drown_the_others():
    x = rng.standard_normal(6).astype(np.float32)
    mask = np.array([0, -1e9, 0, 0, -np.inf, 0], np.float32)
    masked = x + mask
    e = np.exp(masked.astype(np.float64) - masked[np.isfinite(masked)].max())
    p = e / e.sum()
    values = {"x": x, "mask": mask, "a": masked, "y": p.astype(np.float32)}
    nodes = [node("Add", ["x", "mask"], "a"), node("Softmax", ["a"], "y", axis=-1)]
    v = rng.standard_normal(6)
    np.testing.assert_allclose(derivative(nodes, values, v, "y"), p * (v - p @ v), atol=1e-5)


def test_what_does_not_depend_on_it_does_not_move():
    values = {"x": np.ones(2, np.float32), "z": np.ones(2, np.float32), "y": np.ones(2, np.float32)}
    assert not derivative([node("Relu", ["z"], "y")], values, np.ones(2), "y").any()


def test_an_operator_that_cannot_run_alone_is_an_error():
    values = {"x": np.ones(2, np.float32), "y": np.ones(2, np.float32)}
    with pytest.raises(ModelError, match="NoSuchOperator"):
        derivative([node("NoSuchOperator", ["x"], "y")], values, np.ones(2), "y")


def test_small_values_beside_large_ones():
    x = np.array([1e-18, 1e-6, 1.0, 1e3], np.float32)
    values = {"x": x, "p": np.float32(1 / 3), "y": np.cbrt(x)}
    slope = derivative([node("Pow", ["x", "p"], "y")], values, np.ones(4), "y")
    np.testing.assert_allclose(slope, x.astype(np.float64) ** (-2 / 3) / 3, rtol=1e-5)
    values |= {"y": x / x}
    ratio = carry(
        [node("Div", ["x", "z"], "y")], {"": 18}, values | {"z": x}, {"x": x, "z": 2 * x}, "y", CENTRAL
    )
    np.testing.assert_allclose(ratio, -1, rtol=1e-5)
