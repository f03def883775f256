"""Older models raised: the same numbers, also where ONNX's converter changes them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.gradients.reverse import vjp
from sise_rt.export.intake.opset import raise_opset

from sise_rt.errors import ModelError

X = np.random.default_rng(0).standard_normal((1, 2, 6, 5)).astype(np.float32)


def model_of(nodes, weights=None, opset=10, ir_version=5, shape=X.shape):
    declared = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(
        nodes,
        "g",
        declared,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def run(model, **inputs):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


def upsample(opset, mode, scales):
    if opset < 9:
        return model_of([helper.make_node("Upsample", ["x"], ["y"], mode=mode, scales=scales)], opset=opset)
    operator = "Upsample" if opset == 9 else "Resize"
    nodes = [helper.make_node(operator, ["x", "s"], ["y"], "n", mode=mode)]
    return model_of(nodes, {"s": np.array(scales, np.float32)}, opset)


CASES = [
    (opset, mode, [1.0, 1.0, *scales])
    for opset in (7, 9, 10)
    for mode in ("nearest", "linear")
    for scales in ([2.0, 1.5], [1.1, 1.15], [0.5, 0.6], [0.5, 1.4], [1.4, 0.5])
    if opset == 10 or min(scales) >= 1
]


@pytest.mark.parametrize(("opset", "mode", "scales"), CASES)
def test_resizing_places_its_samples_as_before(opset, mode, scales):
    model = upsample(opset, mode, scales)
    (before,) = run(model, x=X)
    raised = raise_opset(onnx.ModelProto.FromString(model.SerializeToString()))
    assert raised.opset_import[0].version == 18
    np.testing.assert_array_equal(run(raised, x=X)[0], before)
    cotangent = np.random.default_rng(1).standard_normal(before.shape).astype(np.float32)
    along = np.random.default_rng(2).standard_normal(X.shape).astype(np.float32)
    output, gradient = run(vjp(model, "y", ["x"]), x=X, y_cotangent=cotangent)
    np.testing.assert_array_equal(output, before)
    # Resizing is linear, so any step gives its derivative.
    (moved,) = run(model, x=along)
    assert (gradient * along).sum() == pytest.approx((moved * cotangent).sum(), rel=1e-4, abs=1e-4)


def test_scales_of_a_constant_node():
    scales = numpy_helper.from_array(np.array([1, 1, 0.5, 2], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["s"], value=scales),
        helper.make_node("Resize", ["x", "s"], ["y"], mode="nearest"),
    ]
    model = model_of(nodes)
    (before,) = run(model, x=X)
    np.testing.assert_array_equal(run(raise_opset(model), x=X)[0], before)


def test_scales_that_are_computed_are_refused():
    nodes = [
        helper.make_node("Mul", ["a", "a"], ["s"]),
        helper.make_node("Resize", ["x", "s"], ["y"], "enlarge", mode="nearest"),
    ]
    model = model_of(nodes, {"a": np.ones(4, np.float32)})
    with pytest.raises(ModelError, match=r"'enlarge'.*computes its scales.*opset 11"):
        raise_opset(model)


def test_weights_in_files_and_declared_inputs_stay(tmp_path):
    nodes = [helper.make_node("Mul", ["x", "w"], ["z"]), helper.make_node("Add", ["z", "o"], ["y"])]
    model = model_of(nodes, {"w": np.ones((6, 5), np.float32), "o": np.ones(5, np.float32)})
    model.graph.initializer.append(numpy_helper.from_array(np.ones(99, np.float32), "bias"))
    model.graph.input.append(helper.make_tensor_value_info("o", TensorProto.FLOAT, [5]))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=100)
    model = raise_opset(onnx.load(tmp_path / "m.onnx", load_external_data=False))
    assert [value.name for value in model.graph.input] == ["x", "o"]  # a caller may still give another
    outside = {w.name: w.external_data[0].value for w in model.graph.initializer if w.external_data}
    assert outside == {"w": "w.bin", "bias": "w.bin"}
    onnx.save(model, tmp_path / "raised.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "raised.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": X})[0], X + 1)
