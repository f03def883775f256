"""Intervals of outputs: what is given for random inputs never leaves them, and they say what they should."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sise_rt.export.canonical.bounds import FREE, output_bounds
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.network import Graph, Network, to_model
from sise_rt.export.ir.types import TensorType

from sise_rt.running.runtime import onnxruntime

INF = np.inf


def network_of(build):
    op = Builder("t_", {}, {})
    op.Identity(build(op, "images"), names=("logits",))
    graph = Graph("g", tuple(op.nodes), ("images",), ("logits",))
    types = {name: TensorType(TensorProto.FLOAT, ("N", 4)) for name in ("images", "logits")}
    return Network(graph, dict(op.constants), types, {"": 18}, "")


def to(op, value):
    return op.constant(np.float32(value))


def quantised(op, x, zero=0):
    scale, zero = to(op, 0.01), op.constant(np.array(zero, np.uint8))
    return op.DequantizeLinear(op.QuantizeLinear(x, scale, zero), scale, zero)


CASES = {
    "free": (lambda op, x: op.Mul(x, to(op, -2)), FREE),
    "sigmoid": (lambda op, x: op.Sigmoid(x), (0, 1)),
    "relu": (lambda op, x: op.Relu(x), (0, INF)),
    "clip": (lambda op, x: op.Clip(x, to(op, -1), to(op, 6)), (-1, 6)),
    "shifted tanh": (lambda op, x: op.Div(op.Add(op.Tanh(x), to(op, 1)), to(op, 2)), (0, 1)),
    "one minus": (lambda op, x: op.Sub(to(op, 1), op.Sigmoid(x)), (0, 1)),
    "percent": (lambda op, x: op.Mul(op.Sigmoid(x), to(op, 100)), (0, 100)),
    "power": (lambda op, x: op.Pow(op.Sigmoid(x), to(op, 0.5)), (0, 1)),
    "odds": (lambda op, x: op.Reciprocal(op.Add(to(op, 1), op.Exp(x))), (0, 1)),
    "quotient": (lambda op, x: op.Div(to(op, 1), op.Add(to(op, 1), op.Relu(x))), (0, 1)),
    "by what may be zero": (lambda op, x: op.Div(to(op, 1), x), FREE),
    "log of sigmoid": (lambda op, x: op.Log(op.Sigmoid(x)), (-INF, 0)),
    "softplus": (lambda op, x: op.Softplus(x), (0, INF)),
    "absolute": (lambda op, x: op.Abs(op.Tanh(x)), (0, 1)),
    "joined": (lambda op, x: op.Concat(op.Sigmoid(x), op.Tanh(x), axis=1), (-1, 1)),
    "largest": (lambda op, x: op.Max(op.Tanh(x), to(op, 0)), (0, 1)),
    "average": (
        lambda op, x: op.MatMul(op.Sigmoid(x), op.constant(np.full((4, 1), 0.25, np.float32))),
        (0, 1),
    ),
    "weights": (lambda op, x: op.MatMul(x, op.constant(np.ones((4, 1), np.float32))), FREE),
    "rounded sigmoid": (lambda op, x: quantised(op, op.Sigmoid(x)), (0, 1)),
    "rounded logits": (lambda op, x: quantised(op, x, 128), FREE),
    "unknown": (lambda op, x: op.Celu(op.Sigmoid(x)), None),
}


@pytest.mark.parametrize("name", CASES)
def test_bounds(name):
    build, expected = CASES[name]
    network = network_of(build)
    bounds = output_bounds(network)
    assert bounds == (expected if expected is None else pytest.approx(expected))
    model = to_model(network.graph, network)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    session = onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = 20 * np.random.default_rng(0).standard_normal((500, 4)).astype("f4")
    given = session.run(None, {"images": images})[0]
    if bounds is not None:
        assert bounds[0] - 1e-6 <= given.min()
        assert given.max() <= bounds[1] + 1e-6


def test_an_operator_of_another_domain_is_not_known():
    network = network_of(lambda op, x: op.Sigmoid(x))
    network.graph.nodes[0].CopyFrom(helper.make_node("Sigmoid", ["images"], ["y"], domain="mine"))
    network.graph.nodes[1].CopyFrom(helper.make_node("Identity", ["y"], ["logits"]))
    assert isinstance(network.graph.nodes[0], onnx.NodeProto)
    assert output_bounds(network) is None
