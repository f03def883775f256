"""The last block stays where the classifier behind it is written by other operators than Gemm."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.examine import examine

RNG = np.random.default_rng(0)
CONV = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


HEADS = {
    "gemm": [node("Gemm", "f w", "output")],
    "einsum": [node("Einsum", "f w", "output", equation="nc,ck->nk")],
    "distance to centres": [
        node("Unsqueeze", "f one", "u"),
        node("Sub", "u centres", "d"),
        node("ReduceSumSquare", "d two", "s", keepdims=0),
        node("Neg", "s", "output"),
    ],
    "distance, expanded first": [
        node("Unsqueeze", "f one", "v"),
        node("Expand", "v shape", "u"),
        node("Sub", "u centres", "d"),
        node("ReduceSumSquare", "d two", "s", keepdims=0),
        node("Neg", "s", "output"),
    ],
    "product and sum": [
        node("Unsqueeze", "f one", "u"),
        node("Mul", "u centres", "p"),
        node("ReduceSum", "p two", "output", keepdims=0),
    ],
    "product and sum for one class": [
        node("Mul", "f row", "p"),
        node("ReduceSum", "p one", "output", keepdims=1),
    ],
    "fused": [node("FusedGemm", "f w b", "output", domain="com.microsoft", activation="Tanh")],
    "fused product": [node("FusedMatMul", "f w", "output", domain="com.microsoft")],
}


@pytest.mark.parametrize("head", HEADS)
def test_the_last_block_is_found_before_every_head(tmp_path, head):
    values = {
        "w1": RNG.standard_normal((8, 3, 3, 3)),
        "w2": RNG.standard_normal((12, 8, 3, 3)),
        "w": RNG.standard_normal((12, 5)),
        "b": RNG.standard_normal(5),
        "centres": RNG.standard_normal((1, 5, 12)),
        "row": RNG.standard_normal((1, 12)),
    }
    integers = {"one": [1], "two": [2], "shape": [1, 5, 1]}
    nodes = [
        node("Conv", "input w1", "c1", **CONV),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", **CONV),
    ]
    nodes += [node("Relu", "c2", "r2"), node("GlobalAveragePool", "r2", "g"), node("Flatten", "g", "f")]
    graph = helper.make_graph(
        [*nodes, *HEADS[head]],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
        + [numpy_helper.from_array(np.array(value), name) for name, value in integers.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "m.onnx")
    blocks = examine(tmp_path / "m.onnx").blocks
    assert [(block.tensor, block.channels) for block in blocks] == [("r1", 8), ("r2", 12)]


def test_a_scale_and_an_embedding_are_no_layers(tmp_path):
    """They are multiplied and added where they are: a pooled map behind them is the former one's."""
    values = {"w1": RNG.standard_normal((8, 3, 3, 3)), "scale": RNG.standard_normal((1, 8, 1, 1))}
    values |= {"places": RNG.standard_normal((1, 8, 16, 16)), "w": RNG.standard_normal((8, 5))}
    nodes = [node("Conv", "input w1", "c1", **CONV), node("Relu", "c1", "r1"), node("Mul", "r1 scale", "m")]
    nodes += [
        node("Add", "m places", "a"),
        node("AveragePool", "a", "p", kernel_shape=[2, 2], strides=[2, 2]),
    ]
    nodes += [node("GlobalAveragePool", "p", "g"), node("Flatten", "g", "f"), node("Gemm", "f w", "output")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()],
    )
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), tmp_path / "m.onnx")
    assert [block.tensor for block in examine(tmp_path / "m.onnx").blocks] == ["a"]
