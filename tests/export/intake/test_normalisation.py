"""What a model does to pixels before its first layer, against what its operators were made to do."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export import export
from sise_rt.export.intake.interface import interface
from sise_rt.export.intake.normalisation import own_normalisation

import sise_rt

CAFFE = np.array([103.939, 116.779, 123.68], np.float32).reshape(1, 3, 1, 1)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value, np.float32), name)


def classifier(folder, steps, constants=(), size=(3, 16, 16), element=TensorProto.FLOAT):
    """A small network behind nodes that bring `x` to `ready`."""
    rng = np.random.default_rng(0)
    weights = [
        constant("w1", rng.normal(size=(6, size[0], 3, 3)) / 3),
        constant("w2", rng.normal(size=(8, 6, 3, 3)) / 3),
        constant("fc", rng.normal(size=(8, 4))),
        *constants,
    ]
    nodes = [
        *steps,
        helper.make_node("Conv", ["ready", "w1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("ReduceMean", ["r2"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["pooled", "fc"], ["z"]),
        helper.make_node("Softmax", ["z"], ["p"], axis=1),
    ]
    image = helper.make_tensor_value_info("x", element, ["N", *size])
    given = helper.make_tensor_value_info("p", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(nodes, "net", [image], [given], weights)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def chain(*steps):
    """Nodes of one input and constants, one behind the other: `(kind, constant or None)`."""
    nodes, last = [], "x"
    for place, (kind, other) in enumerate(steps):
        out = "ready" if place == len(steps) - 1 else f"s{place}"
        nodes.append(helper.make_node(kind, [last] if other is None else [last, other], [out], f"n{place}"))
        last = out
    return nodes


def found(path, size=(3, 16, 16)):
    model = onnx.load(path)
    return own_normalisation(model, interface(model), size, path.parent)


@pytest.mark.parametrize(
    ("steps", "mean", "std", "whole"),
    [
        ([("Div", "k255")], 0, 255, True),
        ([("Div", "k127"), ("Sub", "one")], 127.5, 127.5, True),
        ([("Mul", "small"), ("Add", "minus")], 255, 255, True),
        ([("Sub", "caffe")], 123.68, 1, True),
        ([("Sub", "half"), ("Div", "half")], 0.5, 0.5, False),
        ([("Identity", None), ("Mul", "small"), ("Clip", None)], 0, 255, True),
        ([("Mul", "k255"), ("Sub", "caffe")], 123.68 / 255, 1 / 255, False),
    ],
)
def test_sums_and_products_before_the_first_layer(tmp_path, steps, mean, std, whole):
    constants = [
        constant("k255", 255),
        constant("k127", 127.5),
        constant("one", 1),
        constant("small", 1 / 255),
        constant("minus", -1),
        constant("half", 0.5),
        constant("caffe", CAFFE),
    ]
    own = found(classifier(tmp_path, chain(*steps), constants))
    assert own.mean == pytest.approx(mean, rel=1e-4, abs=1e-4)
    assert own.std == pytest.approx(std, rel=1e-4)
    assert own.of_whole_pixels is whole


@pytest.mark.parametrize(
    "steps",
    [
        [("Identity", None)],
        [("Mul", "one")],
        [("Tanh", None), ("Div", "k255")],
        [("Conv", "w"), ("Div", "k255")],
    ],
)
def test_a_first_layer_that_takes_pixels_as_they_are(tmp_path, steps):
    constants = [constant("one", 1), constant("k255", 255), constant("w", np.ones((3, 3, 1, 1)))]
    assert found(classifier(tmp_path, chain(*steps), constants)) is None


def normalised(tmp_path, mean, variance):
    nodes = [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["ready"], "bn")]
    moments = {"s": np.ones(3), "b": np.zeros(3), "m": np.full(3, mean), "v": np.full(3, variance)}
    return found(classifier(tmp_path, nodes, [constant(*pair) for pair in moments.items()]))


def test_a_batch_normalisation_of_whole_pixels_is_one(tmp_path):
    own = normalised(tmp_path, 120, 3600)
    assert (own.mean, own.std) == pytest.approx((120, 60), rel=1e-4)
    assert own.steps == "normalises (node 'bn')"


def test_a_batch_normalisation_of_scaled_pixels_is_a_layer(tmp_path):
    assert normalised(tmp_path, 0.5, 0.06) is None


@pytest.mark.parametrize(
    ("kind", "number", "bits"),
    [("Div", 255, 8), ("Div", 4095, 12), ("Mul", 1 / 65535, 16), ("Div", 511.5, 10), ("Div", 58.4, None)],
)
def test_the_bits_of_the_pixels_that_it_takes(tmp_path, kind, number, bits):
    node = helper.make_node(kind, ["x", "k"], ["ready"], "scale")
    assert found(classifier(tmp_path, [node], [constant("k", number)])).bits == bits


def test_through_moved_values_and_a_skip_beside_it(tmp_path):
    nodes = [
        helper.make_node("Split", ["x"], ["r", "g", "b"], axis=1),
        helper.make_node("Concat", ["b", "g", "r"], ["bgr"], axis=1),
        helper.make_node("Sub", ["bgr", "caffe"], ["ready"], "minus"),
    ]
    own = found(classifier(tmp_path, nodes, [constant("caffe", CAFFE)]))
    assert own.of_whole_pixels
    assert own.steps == "subtracts 103.939,116.779,123.68 (node 'minus')"
    nodes = [
        helper.make_node("Div", ["x", "k"], ["scaled"]),
        helper.make_node("Tanh", ["x"], ["other"]),
        helper.make_node("Add", ["scaled", "other"], ["ready"]),
    ]
    assert found(classifier(tmp_path, nodes, [constant("k", 255)])) is None


def test_a_mean_picture_in_external_data(tmp_path):
    mean = np.random.default_rng(0).uniform(90, 130, (1, 3, 16, 16))
    path = classifier(tmp_path, chain(("Sub", "picture")), [constant("picture", mean)])
    onnx.save(onnx.load(path), path, save_as_external_data=True, size_threshold=100, location="model.data")
    model = onnx.load(path, load_external_data=False)
    own = own_normalisation(model, interface(model), (3, 16, 16), tmp_path)
    assert own.mean == pytest.approx(mean.max(), rel=1e-4)
    assert own.steps == "subtracts a constant (node 'n0')"


def test_an_export_without_options_gives_the_models_own_numbers(tmp_path):
    steps = chain(("Div", "k127"), ("Sub", "one"))
    path = classifier(tmp_path, steps, [constant("k127", 127.5), constant("one", 1)])
    report = export(path, tmp_path / "m.sise")
    assert report.warnings == ()
    picture = np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)
    image = picture.astype(np.float32).transpose(2, 0, 1)[None]
    bare = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": image})[0][
        0
    ]
    explanation = sise_rt.load(report.path, provider="cpu").explain(picture)
    assert explanation.target == bare.argmax()
    assert explanation.confidence == pytest.approx(bare.max(), abs=1e-5)
    assert any(
        line.startswith("scale 1.0, as the model takes pixels") for line in explanation.record()["assumed"]
    )


def test_a_normalisation_that_may_be_applied_twice_is_said_in_every_record(tmp_path):
    steps = chain(("Sub", "half"), ("Div", "half"))
    report = export(classifier(tmp_path, steps, [constant("half", 0.5)]), tmp_path / "m.sise")
    (warning,) = report.warnings
    assert warning.startswith(
        "the model itself subtracts 0.5 (node 'n0'), then divides by 0.5 (node 'n1') before its first layer, "
        "and mean 0.485,0.456,0.406 and std 0.229,0.224,0.225 are assumed on top"
    )
    picture = np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)
    explanation = sise_rt.load(report.path, provider="cpu").explain(picture)
    assert {"code": "bundle", "message": warning} in explanation.record()["warnings"]
