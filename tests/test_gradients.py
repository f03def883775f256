"""The reverse pass over whole graphs, against NumPy and torch."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.builder import Builder
from sise_rt.export.gradients import gradient_path, missing_rules, reverse
from sise_rt.export.network import TensorType

from sise_rt.errors import ModelError, UnsupportedOperator

rng = np.random.default_rng(2)
X = rng.standard_normal((2, 3, 4, 4))


def graph(build):
    """Nodes and weights of a function that adds nodes behind `x`."""
    op = Builder("f/", {}, {}, np.float64)
    build(op, "x")
    return op.nodes, op.constants


def run(nodes, weights, outputs, **inputs):
    values = [helper.make_tensor_value_info(k, TensorProto.DOUBLE, v.shape) for k, v in inputs.items()]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            values,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(v, k) for k, v in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)


def gradients(nodes, weights, seeds, inputs, x=X):
    """The gradients of `inputs`, given those of the outputs."""
    names = [name for node in nodes for name in node.output]
    values = dict(zip(names, run(nodes, weights, names, x=x), strict=True)) | weights | {"x": x}
    types = {k: TensorType(helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in values.items()}
    op = Builder("g/", types, weights, np.float64)
    found = reverse(op, nodes, {name: f"u_{name}" for name in seeds}, inputs)
    given = {f"u_{name}": value for name, value in seeds.items()} | {"x": x}
    return dict(zip(found, run([*nodes, *op.nodes], weights | op.constants, list(found.values()), **given),
                    strict=True))  # fmt: skip


def test_nested_taps_in_one_pass():
    def build(op, x):
        a = op.Tanh(x, names=["a"])
        b = op.Mul(a, a, names=["b"])
        op.ReduceSum(op.Exp(b, names=["c"]), op.constant([1, 2, 3]), keepdims=0, names=["y"])

    u = rng.standard_normal(2)
    found = gradients(*graph(build), {"y": u}, ["x", "a", "b", "c"])
    a = np.tanh(X)
    spread = u[:, None, None, None] * np.ones_like(X)
    expected = {"c": spread, "b": spread * np.exp(a * a)}
    expected["a"] = 2 * a * expected["b"]
    expected["x"] = (1 - a * a) * expected["a"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, 1e-10, 1e-10)


def test_branches_accumulate():
    def build(op, x):
        a = op.Sigmoid(x)
        b = op.Add(a, op.Mul(a, x))
        parts = op.Split(op.Concat(b, a, x, axis=1), axis=1, num_outputs=3, outputs=3)
        op.Sub(op.Add(parts[0], parts[1]), parts[0], names=["y"])  # the third part leads nowhere

    u = rng.standard_normal(X.shape)
    found = gradients(*graph(build), {"y": u}, ["x"])
    s = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(found["x"], u * s * (1 - s), 1e-10, 1e-10)


def test_several_seeds_and_a_seed_that_is_wanted():
    def build(op, x):
        a = op.Exp(x, names=["a"])
        op.Neg(a, names=["y"])

    u, v = rng.standard_normal((2, *X.shape))
    found = gradients(*graph(build), {"y": u, "a": v}, ["x", "a", "y"])
    np.testing.assert_allclose(found["y"], u)
    np.testing.assert_allclose(found["a"], v - u)
    np.testing.assert_allclose(found["x"], (v - u) * np.exp(X))


def test_nothing_flows_through_piecewise_constant_operators():
    nodes, weights = graph(lambda op, x: op.Mul(x, op.Floor(x), names=["y"]))
    u = rng.standard_normal(X.shape)
    found = gradients(nodes, weights, {"y": u}, ["x"])
    np.testing.assert_allclose(found["x"], u * np.floor(X))


def test_against_torch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    w, v = rng.standard_normal((5, 48)), rng.standard_normal((3, 1, 1))

    def build(op, x):
        gate = op.Sigmoid(op.ReduceMean(x, op.constant([2, 3]), keepdims=1))
        x = op.Add(op.Mul(x, gate), op.constant(v))
        x = op.MaxPool(op.LeakyRelu(x, alpha=0.25), kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        z = op.Gemm(op.Flatten(x), op.constant(w), transB=1)
        op.Softmax(z, names=["y"])

    x = torch.from_numpy(X).requires_grad_()
    h = x * x.mean((2, 3), keepdim=True).sigmoid() + torch.from_numpy(v)
    h = F.max_pool2d(F.leaky_relu(h, 0.25), 3, 1, 1)
    y = F.linear(h.flatten(1), torch.from_numpy(w)).softmax(1)
    u = rng.standard_normal((2, 5))
    (expected,) = torch.autograd.grad(y, x, torch.from_numpy(u))
    found = gradients(*graph(build), {"y": u}, ["x"])
    np.testing.assert_allclose(found["x"], expected, 1e-10, 1e-10)


def test_only_what_is_between_is_on_the_path():
    def build(op, x):
        a = op.Exp(x, names=["a"])
        b = op.Relu(a, names=["b"])
        op.Neg(b, names=["c"])
        op.Add(b, op.Floor(b, names=["d"]), names=["y"])

    nodes, _ = graph(build)
    assert gradient_path(nodes, ["y"], ["a"]) == {"a", "b", "y"}


def missing_in_the_middle(op, x):
    op.Det(op.Relu(op.Erf(x)), names=["y"])
    op.Asin(x, names=["aside"])


def test_missing_rules_are_named_before_anything_is_added():
    nodes, _ = graph(missing_in_the_middle)
    op = Builder("g/", {}, {})
    with pytest.raises(UnsupportedOperator) as caught:
        reverse(op, nodes, {"y": "u"}, ["x"])
    assert op.nodes == []
    assert op.constants == {}
    message = str(caught.value)
    assert "Erf (node 'f/Erf_0')" in message
    assert "Det (node 'f/Det_2')" in message
    assert "Asin" not in message
    assert "sise_rt/export/rules.py" in message
    assert [node.op_type for node in missing_rules(nodes, ["y"], ["x"])] == ["Erf", "Det"]


def test_an_operator_of_another_domain_has_no_rule():
    node = helper.make_node("Relu", ["x"], ["y"], name="theirs", domain="com.example")
    with pytest.raises(UnsupportedOperator, match=r"com\.example\.Relu \(node 'theirs'\)"):
        reverse(Builder("g/", {}, {}), [node], {"y": "u"}, ["x"])


def test_many_missing_rules_are_counted():
    nodes = [helper.make_node("Erf", [f"t{i}"], [f"t{i + 1}"], name=f"e{i}") for i in range(8)]
    with pytest.raises(UnsupportedOperator, match="and 3 more nodes"):
        reverse(Builder("g/", {}, {}), nodes, {"t8": "u"}, ["t0"])


def test_weights_that_depend_on_the_image_are_refused():
    def build(op, x):
        w = op.Reshape(op.Exp(x, names=["w"]), op.constant([6, 1, 4, 4]))
        op.Conv(op.constant(np.ones((1, 1, 8, 8))), w, names=["y"])

    nodes, weights = graph(build)
    types = {name: TensorType(11, v.shape) for name, v in weights.items()}
    types |= {"x": TensorType(11, X.shape), "w": TensorType(11, X.shape), "y": TensorType(11, (1, 6, 5, 5))}
    types[nodes[1].output[0]] = TensorType(11, (6, 1, 4, 4))
    with pytest.raises(ModelError, match=r"'f/Conv_2': Conv has no gradient for its input 'f/Reshape_1'"):
        reverse(Builder("g/", types, weights), nodes, {"y": "u"}, ["x"])


def test_second_outputs_have_no_gradient():
    node = helper.make_node("MaxPool", ["x"], ["y", "i"], name="pool", kernel_shape=[2, 2])
    with pytest.raises(ModelError, match="'pool': the gradient of output 'i' of MaxPool is not supported"):
        reverse(Builder("g/", {}, {}), [node], {"i": "u"}, ["x"])


def test_an_input_that_reaches_nothing_is_refused():
    node = helper.make_node("Relu", ["x"], ["y"], name="n")
    with pytest.raises(ModelError, match="no gradient reaches 'elsewhere' from 'y'"):
        reverse(Builder("g/", {"x": TensorType(1, (1,)), "y": TensorType(1, (1,))}, {}), [node], {"y": "u"},
                ["x", "elsewhere"])  # fmt: skip
