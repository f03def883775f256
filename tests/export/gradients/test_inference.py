"""Types, shapes and constants before a model runs, against what ONNX Runtime computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.gradients.inference import constants, infer

from sise_rt.errors import ModelError


def value(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def model_of(nodes, inputs, outputs, weights=None):
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()]
    return helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


def measured(model, **feeds):
    """Every tensor that the model computes."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    names = [name for node in model.graph.node for name in node.output]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feeds), strict=True))


def test_shapes_of_a_cnn_are_those_it_has(small_model):
    model = onnx.load(small_model)
    known = infer(model, "scores")
    for batch in (1, 2, 3, 5):
        images = np.zeros((batch, 3, 32, 32), np.float32)
        for name, found in measured(model, input=images).items():
            expected = tuple(batch if extent is None else extent for extent in known.types[name].shape)
            assert found.shape == expected, name
            assert known.types[name].dtype == found.dtype
    assert known.types["head.weight"].shape == (5, 16)
    assert known.dims["scores"] == ("N", 5)


def arithmetic(free):
    """Shape arithmetic: (N, 4, 6) becomes (4 N, 3, 2), then its first axis is moved back."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "two", "three"], ["width"]),
        helper.make_node("Div", ["width", "two"], ["half"]),
        helper.make_node("Concat", ["minus", "half", "two"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["folded"]),
        helper.make_node("Reshape", ["folded", "shape"], ["y"]),
    ]
    weights = {"two": [2], "three": [3], "minus": [-1]}
    return model_of(nodes, [value("x", [free, 4, 6])], [value("y", None)], weights)


def test_what_follows_the_batch_is_none_and_only_the_batch_has_its_name():
    known = infer(arithmetic("N"), "y")
    assert known.types["folded"].shape == (None, 3, 2)
    assert known.dims["folded"] == (None, 3, 2)
    assert known.types["y"].shape == (None, 4, 6)
    assert known.dims["y"] == ("N", 4, 6)
    assert known.types["half"].shape == (1,)


def test_a_fixed_model_has_no_batch():
    known = infer(arithmetic(5), "y")
    assert known.types["folded"].shape == (20, 3, 2)
    assert len(known.runs) == 1


@pytest.mark.parametrize("dim", [None, 0, -1])
def test_an_unnamed_batch_gets_a_name(dim):
    model = model_of([helper.make_node("Add", ["x", "k"], ["y"])], [value("k", ["N"]), value("x", [3, "N"])],
                     [value("y", None)])  # fmt: skip
    extent = model.graph.input[0].type.tensor_type.shape.dim[0]
    extent.Clear() if dim is None else setattr(extent, "dim_value", dim)
    known = infer(model, "y")
    assert known.dims["k"] == ("N_2",)
    assert known.dims["x"] == (3, None)
    assert "x" not in known.types


def test_the_batch_is_one_of_an_input_that_counts():
    nodes = [helper.make_node("Relu", ["other"], ["z"]), helper.make_node("Relu", ["x"], ["y"])]
    model = model_of(
        nodes, [value("other", ["M"]), value("x", ["N"])], [value("z", ["M"]), value("y", ["N"])]
    )
    known = infer(model, "y")
    assert known.types["y"].shape == (None,)
    assert "z" not in known.types


def test_contradictions_are_named():
    model = model_of([helper.make_node("Add", ["x", "k"], ["y"])], [value("x", ["N", 3])],
                     [value("y", None)], {"k": np.zeros((2, 3), np.float32)})  # fmt: skip
    with pytest.raises(ModelError, match="shapes do not fit each other at batch size 3"):
        infer(model, "y")


def test_constants_are_what_the_model_computes():
    model = arithmetic("N")
    known = infer(model, "y")
    found = constants(model, known, {"two", "half", "target", "shape", "folded", "x"})
    expected = measured(model, x=np.zeros((7, 4, 6), np.float32))
    assert found.keys() == {"two", "half", "target"}  # `shape` follows the batch, the others are data
    np.testing.assert_array_equal(found["half"], expected["half"])
    np.testing.assert_array_equal(found["target"], expected["target"])
    np.testing.assert_array_equal(found["two"], [2])


def test_a_random_number_is_no_constant():
    nodes = [
        helper.make_node("RandomNormal", [], ["r"], shape=[1]),
        helper.make_node("Constant", [], ["c"], value_float=2.0),
        helper.make_node("Mul", ["c", "c"], ["four"]),
        helper.make_node("Mul", ["r", "c"], ["s"]),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    model = model_of(nodes, [value("x", [3])], [value("y", None)])
    found = constants(model, infer(model, "y"), {"r", "s", "c", "four"})
    assert {name: float(array) for name, array in found.items()} == {"c": 2, "four": 4}


@pytest.mark.parametrize(("start", "end"), [(0, None), (1, None), (-2, None), (0, -1), (1, 3), (-9, 9)])
def test_parts_of_a_shape(start, end):
    attributes = {"start": start} | ({} if end is None else {"end": end})
    nodes = [
        helper.make_node("Shape", ["x"], ["part"], **attributes),
        helper.make_node("Size", ["x"], ["size"]),
        helper.make_node("Neg", ["part"], ["p"]),
        helper.make_node("Neg", ["size"], ["s"]),
    ]
    model = model_of(nodes, [value("x", [3, 4, 5])], [value(name, None, TensorProto.INT64) for name in "ps"])
    found = constants(model, infer(model, "p"), {"part", "size", "p", "s"})
    expected = measured(model, x=np.zeros((3, 4, 5), np.float32))
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
