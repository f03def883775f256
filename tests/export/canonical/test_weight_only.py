"""Weights that are stored in integers, and do not fit their scales."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export import export
from sise_rt.export.examine import examine

from sise_rt.errors import ModelError

rng = np.random.default_rng(7)


def stored(scales):
    """Two convolutions, the second one's weights in int8, with so many scales for its 12 channels."""
    strides = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["c1"], **strides),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w2"], name="stored", axis=0),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], **strides),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w3"], ["output"]),
    ]
    weights = {
        "w1": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "q": rng.integers(-100, 100, (12, 8, 3, 3)).astype(np.int8),
        "scale": np.full(scales, 0.01, np.float32),
        "w3": rng.standard_normal((12, 5)).astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "stored",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_scales_that_do_not_fit_are_refused_by_the_node(tmp_path):
    onnx.save(stored(7), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="'stored'") as refused:
        export(tmp_path / "model.onnx", tmp_path / "b")
    assert str(examine(tmp_path / "model.onnx").refusals[0]) == str(refused.value)


def test_scales_that_fit_are_taken(tmp_path):
    onnx.save(stored(12), tmp_path / "model.onnx")
    report = export(tmp_path / "model.onnx", tmp_path / "b")
    assert max(report.manifest.parity.errors[name] for name in ("logits", "maps", "tangents")) < 1e-5
    assert examine(tmp_path / "model.onnx").refusals == ()
