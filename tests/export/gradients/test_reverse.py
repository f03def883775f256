"""The reverse pass over whole graphs, against NumPy and torch."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.gradients.path import gradient_path, missing_rules
from sise_rt.export.gradients.reverse import reverse, vjp
from sise_rt.export.gradients.rules import RULES
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.types import TensorType

from sise_rt.errors import ArgumentError, ModelError, UnsupportedOperator

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
    op.Exp(op.Relu(op.Tanh(x)), names=["y"])
    op.Sigmoid(x, names=["aside"])


def test_missing_rules_are_named_before_anything_is_added(monkeypatch):
    for name in ("Exp", "Tanh", "Sigmoid"):
        monkeypatch.delitem(RULES, name)
    nodes, _ = graph(missing_in_the_middle)
    op = Builder("g/", {}, {})
    with pytest.raises(UnsupportedOperator) as caught:
        reverse(op, nodes, {"y": "u"}, ["x"])
    assert op.nodes == []
    assert op.constants == {}
    message = str(caught.value)
    assert "Tanh (node 'f/Tanh_0')" in message
    assert "Exp (node 'f/Exp_2')" in message
    assert "Sigmoid" not in message
    assert "sise_rt/export/gradients/rules" in message
    assert [node.op_type for node in missing_rules(nodes, ["y"], ["x"])] == ["Tanh", "Exp"]


def test_an_operator_of_another_domain_has_no_rule():
    node = helper.make_node("Relu", ["x"], ["y"], name="theirs", domain="com.example")
    with pytest.raises(UnsupportedOperator, match=r"com\.example\.Relu \(node 'theirs'\)"):
        reverse(Builder("g/", {}, {}), [node], {"y": "u"}, ["x"])


def test_the_default_domain_has_two_names():
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], domain="ai.onnx"),
        helper.make_node("Floor", ["x"], ["f"], domain="ai.onnx"),
        helper.make_node("Mul", ["h", "f"], ["y"]),
    ]
    assert missing_rules(nodes, ["y"], ["x"]) == []
    assert gradient_path(nodes, ["y"], ["x"]) == {"x", "h", "y"}


def test_a_piecewise_constant_name_of_another_domain_is_no_such_operator():
    node = helper.make_node("Floor", ["x"], ["y"], name="theirs", domain="com.example")
    assert missing_rules([node], ["y"], ["x"]) == [node]


def capturing(name):
    """An If whose inner If captures tensor `name`."""

    def branch(nodes, output):
        return helper.make_graph(nodes, "branch", [], [onnx.ValueInfoProto(name=output)])

    own = helper.make_node("Constant", [], ["own"], value_float=1.0)
    inner = helper.make_node(
        "If",
        ["flag"],
        ["inner"],
        then_branch=branch([helper.make_node("Neg", [name], ["n"])], "n"),
        else_branch=branch([helper.make_node("Neg", ["own"], ["m"])], "m"),
    )
    return helper.make_node(
        "If", ["flag"], ["y"], name="if", then_branch=branch([own, inner], "inner"),
        else_branch=branch([own], "own"),
    )  # fmt: skip


def test_what_a_subgraph_captures_is_on_the_path():
    nodes = [helper.make_node("Relu", ["x"], ["h"]), capturing("h")]
    assert gradient_path(nodes, ["y"], ["x"]) == {"x", "h", "y"}
    assert missing_rules(nodes, ["y"], ["x"]) == [nodes[1]]
    with pytest.raises(UnsupportedOperator, match=r"If \(control flow, node 'if'\)"):
        reverse(Builder("g/", {}, {}), nodes, {"y": "u"}, ["x"])
    assert missing_rules(nodes, ["y"], ["own"]) == []  # that one is the subgraph's


def test_many_missing_rules_are_counted():
    nodes = [helper.make_node("Det", [f"t{i}"], [f"t{i + 1}"], name=f"e{i}", domain="x") for i in range(8)]
    with pytest.raises(UnsupportedOperator, match="and 3 more nodes"):
        reverse(Builder("g/", {}, {}), nodes, {"t8": "u"}, ["t0"])


def test_an_input_that_a_rule_has_no_gradient_for_is_refused(monkeypatch):
    monkeypatch.setitem(RULES, "Mul", lambda op, g, y, a, b: (op.Mul(g, b), None))
    nodes, _ = graph(lambda op, x: op.Mul(op.Tanh(x), op.Exp(x, names=["w"]), names=["y"]))
    with pytest.raises(
        ModelError, match="Mul has no gradient for its input 'w', through which 'y' depends on 'x'"
    ):
        reverse(Builder("g/", {}, {}), nodes, {"y": "u"}, ["x"])


def test_second_outputs_have_no_gradient():
    node = helper.make_node("Dropout", ["x"], ["y", "mask"], name="drop")
    with pytest.raises(ModelError, match="'drop': the gradient of output 'mask' of Dropout is not supported"):
        reverse(Builder("g/", {}, {}), [node], {"mask": "u"}, ["x"])


def test_indices_pass_nothing():
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p", "i"], kernel_shape=[2]),
        helper.make_node("TopK", ["p", "k"], ["t", "j"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["j"], ["g"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["t", "f", "g"], ["y"]),
    ]
    assert gradient_path(nodes, ["y"], ["x"]) == {"x", "p", "t", "y"}


def test_types_sizes_places_and_integers_pass_nothing():
    nodes = [
        helper.make_node("CastLike", ["one", "x"], ["c"]),
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BOOL),
        helper.make_node("Theirs", ["x"], ["n"], domain="own"),  # whose output can only be a size here
        helper.make_node("Reshape", ["x", "n"], ["r"]),
        helper.make_node("Gather", ["r", "i"], ["t"]),
        helper.make_node("Where", ["b", "t", "c"], ["y"]),
    ]
    assert gradient_path(nodes, ["y"], ["x"]) == {"x", "r", "t", "y"}
    assert missing_rules(nodes, ["y"], ["x"]) == []
    assert gradient_path(nodes, ["y"], ["one"]) == {"one", "c", "y"}


def test_a_tensor_that_is_cast_to_its_own_type_by_itself():
    """What reaches the cast as a type, and what it casts, may both depend on the same tensor."""
    nodes = [
        helper.make_node("Exp", ["x"], ["e"]),
        helper.make_node("CastLike", ["e", "x"], ["c"]),
        helper.make_node("CastLike", ["c", "c"], ["d"]),
        helper.make_node("Mul", ["d", "x"], ["y"]),
    ]
    model = vjp(model_of(nodes, [value("x", [3])], [value("y", [3])]), "y", ["x"])
    x = np.array([-1.5, 0.3, 1.2], np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (gradient,) = session.run(["x_gradient"], {"x": x, "y_cotangent": np.ones(3, np.float32)})
    np.testing.assert_allclose(gradient, np.exp(x) * (1 + x), 1e-6)


def test_arithmetic_of_integers_without_a_rule_is_no_step():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "z", "s", "z"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "s", "z"], ["y"]),
    ]
    assert missing_rules(nodes, ["y"], ["x"]) == [nodes[1]]


def test_the_gradient_beside_a_type_and_an_integer_is_differences():
    """sum over c of x * (1 as x is + the whole part of x): the gradient takes the whole part as given."""
    nodes = [
        helper.make_node("CastLike", ["one", "x"], ["c"]),
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("CastLike", ["i", "x"], ["whole"]),
        helper.make_node("Add", ["c", "whole"], ["factor"]),
        helper.make_node("Mul", ["factor", "x"], ["y"]),
    ]
    one = {"one": np.array(1)}
    model = vjp(model_of(nodes, [value("x", [3])], [value("y", [3])], one), "y", ["x"])
    x, u = np.array([-1.5, 0.3, 7.9], np.float32), np.array([2.0, -1.0, 3.0], np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (gradient,) = session.run(["x_gradient"], {"x": x, "y_cotangent": u})
    np.testing.assert_allclose(gradient, u * (1 + np.trunc(x)), 1e-6)


@pytest.mark.parametrize(
    ("kind", "attributes", "words"),
    [
        ("Cast", {"to": TensorProto.INT64}, "only through operators that are constant between their steps"),
        ("CastLike", {}, "'y' does not depend on 'x'"),
    ],
)
def test_what_only_a_type_or_integers_join_is_said(kind, attributes, words):
    inputs = ["x"] if kind == "Cast" else ["one", "x"]
    nodes = [
        helper.make_node(kind, inputs, ["i"], **attributes),
        helper.make_node("Cast", ["i"], ["y"], to=TensorProto.FLOAT),
    ]
    one = {"one": np.ones(3, np.float32)}
    with pytest.raises(ModelError, match=words):
        vjp(model_of(nodes, [value("x", [3])], [value("y", [3])], one), "y", ["x"])


def test_an_input_that_reaches_nothing_is_refused():
    node = helper.make_node("Relu", ["x"], ["y"], name="n")
    with pytest.raises(ModelError, match="no gradient reaches 'elsewhere' from 'y'"):
        reverse(Builder("g/", {"x": TensorType(1, (1,)), "y": TensorType(1, (1,))}, {}), [node], {"y": "u"},
                ["x", "elsewhere"])  # fmt: skip


# ---------------------------------------------------------------------------------------------- vjp


def value(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def model_of(nodes, inputs, outputs, weights=None, opset=18, **rest):
    weights = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid("own", 1)] * bool(rest)
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, weights), opset_imports=opsets, ir_version=8, **rest
    )


def session_of(model):
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def dims(values):
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def as_torch(model, x):
    """The tensors of `write_cnn`'s network by name, in float64."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    given = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer} | {"input": x}
    found = {name: torch.tensor(array, dtype=torch.double) for name, array in given.items()}
    for name in ("input", "head.weight", "a.conv2.weight"):
        found[name].requires_grad_()
    operators = {
        "Conv": lambda a, w, strides, pads, **_: F.conv2d(a, w, None, strides, pads[0]),
        "BatchNormalization": lambda a, scale, bias, mean, var: F.batch_norm(a, mean, var, scale, bias),
        "Relu": F.relu,
        "MaxPool": lambda a, kernel_shape, strides, pads: F.max_pool2d(a, kernel_shape, strides, pads[0]),
        "Add": torch.add,
        "GlobalAveragePool": lambda a: a.mean((2, 3), keepdim=True),
        "Flatten": lambda a: a.flatten(1),
        "Gemm": lambda a, w, b, transB: F.linear(a, w, b),
        "Softmax": lambda a: a.softmax(-1),
    }
    for node in model.graph.node:
        arguments = [found[name] for name in node.input]
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        found[node.output[0]] = operators[node.op_type](*arguments, **attributes)
    return torch, found


@pytest.mark.parametrize("batch", [1, 3])
def test_vjp_of_a_cnn_is_torch_autograd(small_model, batch):
    model = onnx.load(small_model)
    before = model.SerializeToString()
    made = vjp(model, "scores", ["input", "a.relu", "b.conv1"])
    assert model.SerializeToString() == before
    assert dims(made.graph.input) == {"input": ["N", 3, 32, 32], "scores_cotangent": ["N", 5]}
    assert list(dims(made.graph.output).items()) == [
        ("scores", ["N", 5]),
        ("input_gradient", ["N", 3, 32, 32]),
        ("a.relu_gradient", ["N", 12, 16, 16]),
        ("b.conv1_gradient", ["N", 16, 8, 8]),
    ]
    x = rng.standard_normal((batch, 3, 32, 32)).astype(np.float32)
    u = rng.standard_normal((batch, 5)).astype(np.float32)
    scores, *found = session_of(made).run(None, {"input": x, "scores_cotangent": u})
    np.testing.assert_array_equal(scores, session_of(model).run(None, {"input": x})[0])
    torch, tensors = as_torch(model, x)
    wanted = [tensors[name] for name in ("input", "a.relu", "b.conv1")]
    for ours, theirs in zip(
        found, torch.autograd.grad(tensors["scores"], wanted, torch.from_numpy(u).double()), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, 1e-4, 1e-5 * float(theirs.abs().max()))


def test_vjp_of_an_inner_tensor(small_model):
    made = vjp(str(small_model), "b.norm2", ["a.relu1"])
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    u = rng.standard_normal((2, 16, 8, 8)).astype(np.float32)
    _, found = session_of(made).run(None, {"input": x, "b.norm2_cotangent": u})
    torch, tensors = as_torch(onnx.load(small_model), x)
    (expected,) = torch.autograd.grad(tensors["b.norm2"], tensors["a.relu1"], torch.from_numpy(u).double())
    np.testing.assert_allclose(found, expected, 1e-4, 1e-5 * float(expected.abs().max()))


def directional(model, made, output, feeds, wanted, step=1e-5):
    """The gradients' prediction along a random direction, and central differences, both of <u, output>."""
    session, plain = session_of(made), session_of(model)
    u = rng.standard_normal(plain.run([output], feeds)[0].shape)
    found = session.run([f"{name}_gradient" for name in wanted], feeds | {f"{output}_cotangent": u})
    along = {name: rng.standard_normal(feeds[name].shape) for name in wanted}
    assert [g.shape for g in found] == [feeds[name].shape for name in wanted]
    up, down = (
        (u * plain.run([output], feeds | {name: feeds[name] + t * d for name, d in along.items()})[0]).sum()
        for t in (step, -step)
    )
    return sum((g * d).sum() for g, d in zip(found, along.values(), strict=True)), (up - down) / (2 * step)


def test_vjp_raises_an_old_opset():
    nodes = [  # axes are attributes here, and weights are declared as inputs
        helper.make_node("Unsqueeze", ["x"], ["a"], axes=[1]),
        helper.make_node("Mul", ["a", "w"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("ReduceSum", ["c"], ["d"], axes=[2], keepdims=0),
        helper.make_node("Softmax", ["d"], ["y"], axis=1),
    ]
    double = TensorProto.DOUBLE
    model = model_of(
        nodes, [value("x", ["N", 4], double), value("w", [3, 4], double)], [value("y", ["N", 3], double)],
        {"w": rng.standard_normal((3, 4))}, opset=11,
    )  # fmt: skip
    model.ir_version = 3
    made = vjp(model, "y", ["x"])
    assert [o.version for o in made.opset_import] == [18]
    assert [v.name for v in made.graph.input] == ["x", "y_cotangent"]
    feeds = {"x": rng.standard_normal((3, 4))}
    ours, theirs = directional(model, made, "y", feeds, ["x"])
    assert ours == pytest.approx(theirs, 1e-6)


def test_vjp_reads_constants_however_they_are_made():
    double = TensorProto.DOUBLE
    nodes = [
        helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array(2.0))),
        helper.make_node("Pow", ["x", "two"], ["a"]),
        helper.make_node("Shape", ["x"], ["shape"], start=1),
        helper.make_node("Div", ["shape", "half"], ["end"]),
        helper.make_node("Slice", ["a", "zero", "end", "one"], ["y"]),
    ]
    weights = {"half": np.array([2]), "zero": np.array([0]), "one": np.array([1])}
    model = model_of(nodes, [value("x", ["N", 6], double)], [value("y", ["N", 3], double)], weights)
    made = vjp(model, "y", ["x"])
    assert dims(made.graph.input)["y_cotangent"] == ["N", 3]
    ours, theirs = directional(model, made, "y", {"x": rng.standard_normal((4, 6))}, ["x"])
    assert ours == pytest.approx(theirs, 1e-6)


def power_of_a_constant(op, g, y, x, exponent):
    e = op.value(exponent).astype(op.dtype)
    return op.Mul(g, op.Mul(op.constant(e), op.Pow(x, op.constant(e - 1)))), None


def test_vjp_does_not_take_a_value_that_follows_the_batch_for_a_constant(monkeypatch):
    monkeypatch.setitem(RULES, "Pow", power_of_a_constant)
    nodes = [
        helper.make_node("Shape", ["x"], ["count"], end=1),
        helper.make_node("Cast", ["count"], ["e"], to=TensorProto.FLOAT),
        helper.make_node("Pow", ["x", "e"], ["y"]),
    ]
    model = model_of(nodes, [value("x", ["N", 6])], [value("y", ["N", 6])])
    with pytest.raises(ModelError, match="node 'y': tensor 'e' is computed by the network"):
        vjp(model, "y", ["x"])
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    x = rng.standard_normal((2, 6)).astype(np.float32)
    _, found = session_of(vjp(model, "y", ["x"])).run(None, {"x": x, "y_cotangent": np.ones_like(x)})
    np.testing.assert_allclose(found, 2 * x, 1e-6)


def test_vjp_leaves_weights_that_a_caller_may_override(monkeypatch):
    monkeypatch.setitem(RULES, "Pow", power_of_a_constant)
    model = model_of([helper.make_node("Pow", ["x", "e"], ["y"])], [value("x", [3]), value("e", [])],
                     [value("y", [3])], {"e": np.array(2, np.float32)})  # fmt: skip
    with pytest.raises(ModelError, match="'e' is computed by the network"):
        vjp(model, "y", ["x"])


def test_vjp_with_several_inputs_and_a_weight():
    double = TensorProto.DOUBLE
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Mul", ["a", "gate"], ["b"]),
        helper.make_node("Add", ["b", "a"], ["y"]),
    ]
    inputs = [value("x", [None, 4], double), value("gate", [3], double), value("w", [4, 3], double)]
    model = model_of(nodes, inputs, [value("y", [None, 3], double)], {"w": rng.standard_normal((4, 3))})
    made = vjp(model, "y", ["w", "gate", "x"])
    assert [v.name for v in made.graph.output] == ["y", "w_gradient", "gate_gradient", "x_gradient"]
    shapes = ((5, 4), (3,), (4, 3))
    feeds = {name: rng.standard_normal(s) for name, s in zip(("x", "gate", "w"), shapes, strict=True)}
    ours, theirs = directional(model, made, "y", feeds, ["w", "gate", "x"])
    assert ours == pytest.approx(theirs, 1e-6)


def test_vjp_of_an_input_that_is_the_output():
    model = model_of([helper.make_node("Exp", ["x"], ["y"])], [value("x", [2])], [value("y", [2])])
    u = np.array([3, -1], np.float32)
    x = np.array([0, 1], np.float32)
    _, y, x_gradient = session_of(vjp(model, "y", ["y", "x"])).run(None, {"x": x, "y_cotangent": u})
    np.testing.assert_array_equal(y, u)
    np.testing.assert_allclose(x_gradient, u * np.exp(x), 1e-6)


def test_vjp_twice_takes_fresh_names():
    nodes = [helper.make_node("Exp", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    model = model_of(nodes, [value("x", [2])], [value("y", [2]), value("z", [2])])
    made = vjp(vjp(vjp(model, "y", ["x"]), "z", ["x"]), "y", ["x"])
    assert [v.name for v in made.graph.input] == ["x", "y_cotangent", "z_cotangent", "y_cotangent_2"]
    assert [v.name for v in made.graph.output][2:] == ["x_gradient", "x_gradient_2", "x_gradient_3"]
    x, a, b, c = rng.standard_normal((4, 2)).astype(np.float32)
    feeds = {"x": x, "y_cotangent": a, "z_cotangent": b, "y_cotangent_2": c}
    found = session_of(made).run(["x_gradient", "x_gradient_2", "x_gradient_3"], feeds)
    for ours, theirs in zip(found, (a * np.exp(x), -b, c * np.exp(x)), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-6)


def test_vjp_of_vjp_is_the_second_derivative():
    torch = pytest.importorskip("torch")
    double, w = TensorProto.DOUBLE, rng.standard_normal((5, 4))
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], transB=1),
        helper.make_node("Sigmoid", ["a"], ["b"]),
        helper.make_node("Tanh", ["b"], ["y"]),
    ]
    model = model_of(nodes, [value("x", ["N", 4], double)], [value("y", ["N", 5], double)], {"w": w})
    made = vjp(vjp(model, "y", ["x"]), "x_gradient", ["x", "y_cotangent"])
    names = [v.name for v in made.graph.output]
    assert names[1:] == ["x_gradient", "x_gradient_2", "y_cotangent_gradient"]
    x, v = rng.standard_normal((2, 3, 4))
    u = rng.standard_normal((3, 5))
    found = session_of(made).run(names[1:], {"x": x, "y_cotangent": u, "x_gradient_cotangent": v})
    x, u = (torch.from_numpy(array).requires_grad_() for array in (x, u))
    y = torch.tanh(torch.sigmoid(x @ torch.from_numpy(w).T))
    (first,) = torch.autograd.grad(y, x, u, create_graph=True)
    expected = [first.detach(), *torch.autograd.grad(first, (x, u), torch.from_numpy(v))]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-10, 1e-12)


def test_vjp_of_vjp_of_a_cnn(cnn, tmp_path):
    path = cnn(tmp_path / "cnn.onnx", tail="Softmax")
    wanted = ["input", "head.weight", "a.conv2.weight", "probabilities_cotangent"]
    made = vjp(vjp(path, "probabilities", ["input"]), "input_gradient", wanted)
    x, v = rng.standard_normal((2, 2, 3, 32, 32)).astype(np.float32)
    u = rng.standard_normal((2, 5)).astype(np.float32)
    feeds = {"input": x, "probabilities_cotangent": u, "input_gradient_cotangent": v}
    found = session_of(made).run([value.name for value in made.graph.output[-4:]], feeds)
    torch, tensors = as_torch(onnx.load(path), x)
    u = torch.from_numpy(u).double().requires_grad_()
    (first,) = torch.autograd.grad(tensors["probabilities"], tensors["input"], u, create_graph=True)
    given = (*(tensors[name] for name in wanted[:-1]), u)
    expected = torch.autograd.grad(first, given, torch.from_numpy(v).double())
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-3, 1e-4 * float(theirs.abs().max()))


def test_vjp_inlines_functions():
    body = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    swish = helper.make_function("own", "Swish", ["a"], ["b"], body, [helper.make_opsetid("", 18)])
    double = TensorProto.DOUBLE
    model = model_of([helper.make_node("Swish", ["x"], ["y"], domain="own")], [value("x", ["N", 3], double)],
                     [value("y", ["N", 3], double)], functions=[swish])  # fmt: skip
    made = vjp(model, "y", ["x"])
    assert not made.functions
    ours, theirs = directional(model, made, "y", {"x": rng.standard_normal((2, 3))}, ["x"])
    assert ours == pytest.approx(theirs, 1e-6)


def test_vjp_in_half_precision():
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sigmoid", ["a"], ["y"])]
    half = TensorProto.FLOAT16
    made = vjp(model_of(nodes, [value("x", [4], half)], [value("y", [4], half)]), "y", ["x"])
    x, u = rng.standard_normal((2, 4)).astype(np.float16)
    _, found = session_of(made).run(None, {"x": x, "y_cotangent": u})
    assert found.dtype == np.float16
    s = 1 / (1 + np.exp(-np.maximum(x, 0).astype(np.float64)))
    np.testing.assert_allclose(found, np.where(x > 0, u * s * (1 - s), 0), 5e-3, 1e-3)


def test_vjp_in_mixed_precision():
    half, double = TensorProto.FLOAT16, TensorProto.DOUBLE
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=half),
        helper.make_node("Sigmoid", ["b"], ["c"]),
        helper.make_node("Cast", ["c"], ["d"], to=double),
        helper.make_node("Sigmoid", ["d"], ["y"]),
    ]
    made = vjp(
        model_of(nodes, [value("x", ["N", 4], double)], [value("y", ["N", 4], double)]), "y", ["b", "x"]
    )
    x, u = rng.standard_normal((2, 3, 4))
    _, inner, found = session_of(made).run(None, {"x": x, "y_cotangent": u})
    assert (inner.dtype, found.dtype) == (np.float16, np.float64)
    s = 1 / (1 + np.exp(-np.maximum(x, 0)))
    t = 1 / (1 + np.exp(-s))
    np.testing.assert_allclose(inner, u * t * (1 - t) * s * (1 - s), 1e-2, 1e-3)
    np.testing.assert_array_equal(found, np.where(x > 0, inner.astype(np.float64), 0))


def test_vjp_keeps_weights_outside(tmp_path):
    w = rng.standard_normal((3, 2000)).astype(np.float32)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", ["N", 3])],
                     [value("y", ["N", 2000])], {"w": w})  # fmt: skip
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin")
    made = vjp(onnx.load(tmp_path / "m.onnx", load_external_data=False), "y", ["x"])
    assert made.ByteSize() < 5000
    onnx.save(made, tmp_path / "made.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "made.onnx", providers=["CPUExecutionProvider"])
    u = rng.standard_normal((2, 2000)).astype(np.float32)
    _, found = session.run(None, {"x": np.zeros((2, 3), np.float32), "y_cotangent": u})
    np.testing.assert_allclose(found, u @ w.T, 1e-4, 1e-4)
    loaded = vjp(tmp_path / "m.onnx", "y", ["x"])
    assert loaded.ByteSize() > w.nbytes


def test_vjp_needs_a_shape_only_where_a_rule_does():
    nodes = [
        helper.make_node("Tanh", ["x"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["m"]),
        helper.make_node("Flatten", ["m"], ["y"]),
    ]
    model = model_of(nodes, [value("x", ["N", 3, "H", "W"])], [value("y", ["N", 3])])
    made = vjp(model, "a", ["x"])
    assert dims(made.graph.input)["a_cotangent"] == ["N", 3, 0, 0]
    x, u = rng.standard_normal((2, 2, 3, 4, 5)).astype(np.float32)
    found = session_of(made).run(["x_gradient"], {"x": x, "a_cotangent": u})[0]
    np.testing.assert_allclose(found, u * (1 - np.tanh(x) ** 2), 1e-4, 1e-6)
    with pytest.raises(ModelError, match=r"node 'm'.*tensor 'a' is not known.*fixed shape"):
        vjp(model, "y", ["x"])


def test_vjp_takes_no_second_free_dimension_for_the_batch():
    def product(rows):
        inputs = [value("x", ["N", 3]), value("s", [rows, 3])]
        return model_of([helper.make_node("Mul", ["x", "s"], ["y"])], inputs, [value("y", [None, 3])])

    with pytest.raises(ModelError, match=r"shape of tensor '[ys]' is not known"):  # s may be of one row
        vjp(product("M"), "y", ["s"])
    assert dims(vjp(product("N"), "y", ["s"]).graph.output)["s_gradient"] == ["N", 3]


def test_vjp_refuses_an_unknown_rank():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [value("x", None)], [value("y", None)])
    with pytest.raises(ModelError, match="shape of tensor 'y' is not known"):
        vjp(model, "y", ["x"])


def test_vjp_refuses_control_flow_on_the_path():
    nodes = [helper.make_node("Relu", ["x"], ["h"]), capturing("h")]
    model = model_of(nodes, [value("x", []), value("flag", [], TensorProto.BOOL)], [value("y", [])])
    with pytest.raises(UnsupportedOperator, match=r"If \(control flow, node 'if'\)"):
        vjp(model, "y", ["x"])


MIXED = [
    helper.make_node("Relu", ["pixels"], ["a"]),
    helper.make_node("Floor", ["a"], ["steps"]),
    helper.make_node("Cast", ["steps"], ["whole"], to=TensorProto.INT64),
    helper.make_node("Sigmoid", ["other"], ["b"]),
]


@pytest.mark.parametrize(
    ("output", "inputs", "message"),
    [
        ("a", ["pixel"], "no tensor 'pixel'; it has 'pixels'"),
        ("nothing like it", ["pixels"], "no tensor 'nothing like it': take an input"),
        ("", ["pixels"], "no tensor ''"),
        ("a", ["other"], "'a' does not depend on 'other'"),
        ("pixels", ["a"], "'pixels' does not depend on 'a'"),
        ("steps", ["pixels"], "'steps' depends on 'pixels' only through operators that are constant"),
        ("whole", ["pixels"], "tensor 'whole' is int64; gradients exist between float tensors"),
        ("a", ["whole"], "tensor 'whole' is int64"),
    ],
)
def test_vjp_refuses(output, inputs, message):
    model = model_of(MIXED, [value("pixels", [3]), value("other", [3])], [value("a", [3]), value("b", [3])])
    with pytest.raises(ModelError, match=message):
        vjp(model, output, inputs)


@pytest.mark.parametrize("inputs", ["pixels", [], ["pixels", "pixels"]], ids=repr)
def test_vjp_takes_different_names_in_a_list(inputs):
    model = model_of(MIXED[:1], [value("pixels", [3])], [value("a", [3])])
    with pytest.raises(ArgumentError) as caught:
        vjp(model, "a", inputs)
    assert f"different tensor names in a list, not {inputs!r}" in str(caught.value)


def test_vjp_refuses_a_tensor_of_unknown_type():
    nodes = [helper.make_node("Theirs", ["x"], ["h"], domain="own"), helper.make_node("Relu", ["h"], ["y"])]
    model = model_of(nodes, [value("x", [3])], [value("y", [3])], functions=[])
    with pytest.raises(ModelError, match="type of 'h' cannot be inferred"):
        vjp(model, "y", ["h"])
    with pytest.raises(UnsupportedOperator, match=r"own\.Theirs \(node 'h'\)"):
        vjp(model, "y", ["x"])


def test_a_weight_without_a_gradient_is_refused(small_model, monkeypatch):
    monkeypatch.setitem(RULES, "Gemm", lambda op, g, y, a, b, c=None, **_: (g, None, None))
    message = (
        "Gemm has no gradient for its input 'head.weight', through which 'scores' depends on 'head.weight'"
    )
    with pytest.raises(ModelError, match=message):
        vjp(small_model, "scores", ["head.weight"])


def test_the_page_about_gradients_runs_as_it_is(capsys):
    page = (Path(__file__).resolve().parents[3] / "docs" / "gradients.md").read_text()
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(first, names)
    *said, last = capsys.readouterr().out.splitlines()
    assert said == re.findall(r"# (\[.*\])", first)
    assert names["saliency"].shape == (8, 8)
    rise, predicted = re.fullmatch(r"class 2 rises by (\S+) the gradient says (\S+)", last).groups()
    assert float(rise) == pytest.approx(float(predicted), rel=0.02)
    assert float(rise) > 0
    exec(second, names)
    assert "scores_cotangent_gradient" in capsys.readouterr().out


def test_a_piecewise_linear_model_has_no_second_derivative(small_model):
    first = vjp(small_model, "scores", ["input"])
    with pytest.raises(
        ModelError, match="'input_gradient' depends on 'input' only through operators that are"
    ):
        vjp(first, "input_gradient", ["input"])
