"""Writing nodes as calls."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.types import TensorType

from sise_rt.errors import ModelError


@pytest.fixture
def op():
    types = {
        "x": TensorType(TensorProto.FLOAT, (None, 3, 4)),
        "two": TensorType(TensorProto.FLOAT, (None, None, 3)),
        "scalar": TensorType(TensorProto.FLOAT, ()),
    }
    return Builder("p/", types, {"w": np.arange(3)})


def test_a_call_adds_a_node(op):
    y = op.Conv("x", "w", None, strides=[2], pads=None)
    (node,) = op.nodes
    assert (node.op_type, list(node.input), list(node.output)) == ("Conv", ["x", "w"], [y])
    assert y.startswith("p/")
    assert [(a.name, helper.get_attribute_value(a)) for a in node.attribute] == [("strides", [2])]


def test_absent_inputs_keep_their_places(op):
    op.Clip("x", None, "high")
    assert list(op.nodes[0].input) == ["x", "", "high"]


def test_outputs(op):
    values, indices = op.MaxPool("x", outputs=2, kernel_shape=[2])
    assert list(op.nodes[0].output) == [values, indices]
    assert op.Relu("x", names=["mine"]) == "mine"
    assert len({output for node in op.nodes for output in node.output}) == 3


def test_python_attributes_are_no_operators(op):
    with pytest.raises(AttributeError):
        op.__wrapped__  # noqa: B018


def test_constants_are_shared_by_content(op):
    assert op.constant([1, 2]) == op.constant(np.array([1, 2]))
    assert op.constant(1.0) != op.constant(1)
    assert op.constant([1, 2]) != op.constant([[1, 2]])
    assert op.constants[op.constant(1.0)].dtype == np.float32
    assert op.constants[op.constant(1)].dtype == np.int64
    assert Builder("q/", {}, {}, np.float64).constant(0.1) == "q/constant_0"


def test_shapes_and_values(op):
    assert op.shape("x") == (None, 3, 4)
    assert op.size("x", -1) == 4
    assert op.value("w").tolist() == [0, 1, 2]
    with pytest.raises(ModelError, match="'x': axis 0 depends on the batch size"):
        op.size("x", 0)
    with pytest.raises(ModelError, match="'x' is computed by the network, where a constant is needed"):
        op.value("x")


def test_reshape_like(op):
    op.reshape_like("g", "x")
    assert op.constants[op.nodes[-1].input[1]].tolist() == [-1, 3, 4]
    op.reshape_like("g", "scalar")
    assert op.constants[op.nodes[-1].input[1]].shape == (0,)
    op.reshape_like("g", "two")
    assert [node.op_type for node in op.nodes[-2:]] == ["Shape", "Reshape"]


@pytest.mark.parametrize(
    ("source", "target", "axes", "squeezed"),
    [
        ((None, 3, 4), (None, 3, 4), None, None),
        ((None, 3, 4), (1, 3, 1), [0, 2], None),
        ((None, 3, 4), (3, 1), [0, 2], [0]),
        ((None, 3), (), [0, 1], [0, 1]),
        ((1, 3), (1, 3), None, None),
    ],
    ids=str,
)
def test_sum_to(op, source, target, axes, squeezed):
    found = op.sum_to("g", source, target)
    kinds = {node.op_type: op.constants[node.input[1]].tolist() for node in op.nodes}
    assert kinds == {k: v for k, v in (("ReduceSum", axes), ("Squeeze", squeezed)) if v is not None}
    assert found == (op.nodes[-1].output[0] if op.nodes else "g")
