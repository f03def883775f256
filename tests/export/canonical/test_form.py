"""Models in canonical form against the models themselves, run by ONNX Runtime one image at a time."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.canonical import shapes
from sise_rt.export.canonical.form import canonical
from sise_rt.export.intake.interface import interface
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.network import to_model

from sise_rt.errors import ArgumentError, ModelError

rng = np.random.default_rng(1)


def weight(*shape, scale=0.5):
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def made(build, shape=("N", 3, 8, 8), opset=18, element=TensorProto.FLOAT):
    """A model from a function that adds nodes behind the tensor `x` and returns the outputs' names."""
    op = Builder("t_", {}, {})
    outputs = build(op, "x")
    graph = helper.make_graph(
        op.nodes,
        "g",
        [helper.make_tensor_value_info("x", element, shape)],
        [onnx.ValueInfoProto(name=name) for name in ([outputs] if isinstance(outputs, str) else outputs)],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    for value in graph.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def brought(model, folder, size=None, activation=None, output=None):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    ends = interface(copy, output)
    return canonical(copy, folder, ends, size or ends.image_size, activation)


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def logits_of(network, images):
    return session(to_model(network.graph, network)).run(None, {"images": images})[0]


def one_by_one(model, images, output=None):
    run = session(model)
    name = run.get_inputs()[0].name
    names = [output] if output else None
    return np.concatenate([run.run(names, {name: image[None]})[0] for image in images])


def scores(op, x, classes=5, channels=3):
    """A small classifier's logits, (N, classes)."""
    x = op.Relu(op.Conv(x, op.constant(weight(6, channels, 3, 3)), pads=[1, 1, 1, 1], strides=[2, 2]))
    x = op.Flatten(op.GlobalAveragePool(x))
    return op.Gemm(x, op.constant(weight(6, classes)), op.constant(weight(classes)))


def images_like(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------------------------- in one form


@pytest.mark.parametrize("opset", [9, 13, 18, 21])
@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_opset_is_raised_and_batch_freed(cnn, tmp_path, opset, batch):
    model = onnx.load(cnn(tmp_path / "m.onnx", opset=opset, batch=batch))
    network = brought(model, tmp_path)
    images = images_like(4, 3, 32, 32)
    expected = session(model).run(None, {"input": images})[0] if batch == 4 else one_by_one(model, images)
    close(logits_of(network, images), expected)
    assert network.opsets[""] >= 18
    assert network.types["images"].shape == (None, 3, 32, 32)
    assert network.types["logits"].shape == (None, 5)
    assert network.classes == 5
    assert network.removed is None


@pytest.mark.parametrize(
    ("batch", "target", "allowzero"),
    [("N", t, z) for t in ([-1, 96], [0, 96], [0, -1]) for z in (None, 1) if not (z and 0 in t)]
    + [(1, t, z) for t in ([1, -1], [1, 96], [-1, 96]) for z in (None, 1)],
    ids=str,
)
def test_reshapes_that_spell_out_the_batch(tmp_path, batch, target, allowzero):
    def build(op, x):
        x = op.Conv(x, op.constant(weight(6, 3, 3, 3)), pads=[1, 1, 1, 1], strides=[2, 2])
        x = op.Reshape(x, op.constant(np.array(target)), allowzero=allowzero)
        return op.Gemm(x, op.constant(weight(96, 4)))

    model = made(build, (batch, 3, 8, 8))
    images = images_like(3, 3, 8, 8)
    close(logits_of(brought(model, tmp_path), images), one_by_one(model, images))


@pytest.mark.parametrize("last", [-1, 96])
def test_shape_arithmetic_is_folded(tmp_path, last):
    def build(op, x):
        x = op.Conv(x, op.constant(weight(6, 3, 3, 3)), pads=[1, 1, 1, 1], strides=[2, 2])
        count = op.Unsqueeze(op.Gather(op.Shape(x), op.constant(0)), op.constant([0]))
        x = op.Reshape(x, op.Concat(count, op.constant([last]), axis=0))
        return op.Gemm(x, op.constant(weight(96, 4)))

    model = made(build)
    network = brought(model, tmp_path)
    images = images_like(3, 3, 8, 8)
    close(logits_of(network, images), one_by_one(model, images))
    assert {node.op_type for node in network.graph.nodes} == {"Conv", "Reshape", "Gemm"}


def test_a_constant_expanded_to_the_batch(tmp_path):
    def build(op, x):
        z = scores(op, x)
        count = op.Gather(op.Shape(z), op.constant(np.array([0])))
        token = op.Expand(op.constant(weight(1, 3)), op.Concat(count, op.constant([3]), axis=0))
        return op.Concat(z, token, axis=1)

    model = made(build)
    images = images_like(4, 3, 8, 8)
    close(logits_of(brought(model, tmp_path), images), one_by_one(model, images))


def test_free_image_size_is_fixed(tmp_path):
    model = made(scores, ("N", 3, "H", "W"))
    network = brought(model, tmp_path, (3, 10, 12))
    images = images_like(2, 3, 10, 12)
    close(logits_of(network, images), one_by_one(model, images))
    assert network.image_size == (3, 10, 12)
    with pytest.raises(
        ModelError, match=r"'x' \(\?, 3, 8, 8\) cannot take 1 channels of 8x9 pixels: 3 is not 1"
    ):
        brought(made(scores), tmp_path, (1, 8, 9))


@pytest.mark.parametrize("leading", [True, False])
def test_channels_last(tmp_path, leading):
    def build(op, x):
        x = x if leading else op.Mul(x, op.constant(weight(3)))
        return scores(op, op.Transpose(x, perm=[0, 3, 1, 2]))

    model = made(build, ("N", 8, 8, 3))
    network = brought(model, tmp_path)
    images = images_like(2, 3, 8, 8)
    close(logits_of(network, images), one_by_one(model, images.transpose(0, 2, 3, 1)))
    assert network.layout == "NHWC"
    assert network.image_size == (3, 8, 8)


def test_dropout_identity_and_constants_are_gone(tmp_path):
    def build(op, x):
        x = op.Identity(op.Dropout(x, op.constant(0.5)))
        return op.Identity(op.Add(scores(op, x), op.Mul(op.constant(weight(5)), op.constant(weight(5)))))

    network = brought(made(build), tmp_path)
    operators = {node.op_type for node in network.graph.nodes}
    assert not operators & {"Dropout", "Identity", "Mul", "Constant"}


@pytest.mark.parametrize(
    "name",
    ["images", "image", "targets", "maps", "alpha_1", "gradient_2", "positive_logit", "sise_rt/score/Mul_1"],
)
def test_names_that_the_bundle_uses_are_changed(tmp_path, name):
    def build(op, x):
        x = op.Relu(op.Conv(x, op.constant(weight(3, 3, 3, 3)), pads=[1, 1, 1, 1]), names=[name])
        return scores(op, op.Add(x, op.Relu(x, names=[f"{name}_"])))

    model = made(build)
    network = brought(model, tmp_path)
    images = images_like(2, 3, 8, 8)
    close(logits_of(network, images), one_by_one(model, images))
    produced = [output for node in network.graph.nodes for output in node.output]
    assert name not in produced
    assert len(produced) == len(set(produced))


def test_an_inner_tensor_called_logits(tmp_path):
    def build(op, x):
        return op.Softmax(op.Identity(scores(op, x), names=["logits"]), names=["images"])

    model = made(build)
    network = brought(model, tmp_path)
    images = images_like(2, 3, 8, 8)
    found = np.exp(logits_of(network, images))
    close(found / found.sum(1, keepdims=True), one_by_one(model, images))


# ---------------------------------------------------------------------------------------------- activations


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


UNDONE = {
    "Softmax": ("softmax", softmax),
    "LogSoftmax": ("softmax", lambda z: np.log(softmax(z))),
    "Sigmoid": ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
}


@pytest.mark.parametrize("opset", [9, 12, 18])
@pytest.mark.parametrize("operator", UNDONE)
def test_trailing_activation_is_removed(cnn, tmp_path, operator, opset):
    model = onnx.load(cnn(tmp_path / "m.onnx", opset=opset, tail=operator))
    network = brought(model, tmp_path)
    activation, function = UNDONE[operator]
    assert (network.activation, network.removed) == (activation, operator)
    assert network.notes == []
    images = images_like(3, 3, 32, 32)
    close(function(logits_of(network, images)), one_by_one(model, images))


@pytest.mark.parametrize("operator", UNDONE)
@pytest.mark.parametrize("behind", ["nothing", "Flatten", "Reshape", "Squeeze"])
def test_activation_of_convolutional_logits(tmp_path, operator, behind):
    def build(op, x):
        x = op.Relu(op.Conv(x, op.constant(weight(6, 3, 3, 3))))
        z = op.GlobalAveragePool(op.Conv(x, op.constant(weight(5, 6, 1, 1))))
        y = op.Sigmoid(z) if operator == "Sigmoid" else getattr(op, operator)(z, axis=1)
        if behind == "Flatten":
            return op.Flatten(y)
        if behind == "Reshape":
            return op.Reshape(y, op.constant([-1, 5]))
        return op.Squeeze(y, op.constant([2, 3])) if behind == "Squeeze" else y

    model = made(build)
    network = brought(model, tmp_path)
    assert network.removed == operator
    images = images_like(2, 3, 8, 8)
    close(UNDONE[operator][1](logits_of(network, images)), one_by_one(model, images).reshape(2, 5))


@pytest.mark.parametrize("given", [None, "sigmoid"])
@pytest.mark.parametrize("tail", [True, False])
def test_single_logit_has_two_sides(tmp_path, given, tail):
    model = made(lambda op, x: op.Sigmoid(scores(op, x, 1)) if tail else scores(op, x, 1))
    network = brought(model, tmp_path, activation=given)
    images = images_like(2, 3, 8, 8)
    found = logits_of(network, images)
    expected = one_by_one(model, images)
    positive = np.log(expected / (1 - expected)) if tail else expected
    close(found, np.concatenate([-positive, positive], axis=1))
    assert network.activation == "sigmoid"
    assert any("both sides" in note for note in network.notes)
    assert any(note.endswith("single logit") for note in network.assumed) == (not given and not tail)
    assert all(note.setting == "activation" for note in network.assumed)


@pytest.mark.parametrize(
    ("given", "activation"), [(None, "softmax"), ("softmax", "softmax"), ("sigmoid",) * 2]
)
def test_assumed_activation_is_noted(tmp_path, given, activation):
    network = brought(made(scores), tmp_path, activation=given)
    assert network.activation == activation
    assert any("activation softmax, as the model ends in 5 logits" in n for n in network.assumed) == (
        given is None
    )


def test_activations_that_contradict_the_model(tmp_path):
    model = made(lambda op, x: op.Softmax(scores(op, x)))
    with pytest.raises(ModelError, match="ends in softmax, which contradicts the activation sigmoid"):
        brought(model, tmp_path, activation="sigmoid")
    with pytest.raises(ArgumentError, match="unknown activation 'relu'"):
        brought(model, tmp_path, activation="relu")
    with pytest.raises(ModelError, match="single logit is always 1: take sigmoid"):
        brought(made(lambda op, x: scores(op, x, 1)), tmp_path, activation="softmax")
    with pytest.raises(ModelError, match="single logit is always 1: the model's output says nothing"):
        brought(made(lambda op, x: op.Softmax(scores(op, x, 1))), tmp_path)


def test_softmax_inside_the_network_stays(tmp_path):
    model = made(lambda op, x: op.Mul(op.Softmax(scores(op, x)), op.constant(weight(5))))
    network = brought(model, tmp_path)
    assert network.removed is None
    images = images_like(2, 3, 8, 8)
    close(logits_of(network, images), one_by_one(model, images))


def test_several_outputs(tmp_path):
    def build(op, x):
        return op.Identity(scores(op, x), names=["first"]), op.Identity(scores(op, x, 7), names=["second"])

    model = made(build)
    with pytest.raises(ModelError, match="2 outputs, choose one: first, second"):
        brought(model, tmp_path)
    with pytest.raises(ModelError, match="no output 'third'; its outputs: first, second"):
        brought(model, tmp_path, output="third")
    images = images_like(2, 3, 8, 8)
    close(logits_of(brought(model, tmp_path, output="second"), images), one_by_one(model, images, "second"))


# ---------------------------------------------------------------------------------------------- refusals


def segmenter(op, x):
    return op.Conv(x, op.constant(weight(6, 3, 3, 3)))


def mixing(op, x):
    return op.Sub(scores(op, x), op.ReduceMean(scores(op, x), op.constant([0]), keepdims=1))


def mixing_behind_a_saturated_softmax(op, x):
    z = op.Add(mixing(op, x), op.constant(np.array([1000, 0, 0, 0, 0], np.float32)))
    return op.Softmax(z)


def attention_over_the_batch(op, x):
    z = scores(op, x)
    return op.MatMul(op.Softmax(op.MatMul(z, op.Transpose(z, perm=[1, 0]))), z)


def training_norm(op, x):
    ones = op.constant(np.ones(3, np.float32))
    zeros = op.constant(np.zeros(3, np.float32))
    y, *_ = op.BatchNormalization(x, ones, zeros, zeros, ones, training_mode=1, outputs=3)
    return scores(op, y)


def training_dropout(op, x):
    return op.Dropout(scores(op, x), op.constant(0.5), op.constant(np.array(True)))


def control_flow(op, x):
    z = scores(op, x)
    branches = {
        branch: helper.make_graph(
            [helper.make_node(operator, [z], [f"{branch}_y"])],
            branch,
            [],
            [onnx.ValueInfoProto(name=f"{branch}_y")],
        )
        for branch, operator in (("then_branch", "Relu"), ("else_branch", "Neg"))
    }
    positive = op.Greater(op.ReduceSum(z, keepdims=0), op.constant(0.0))
    return op.If(positive, **branches)


def batch_in_the_middle(op, x):
    return op.Transpose(scores(op, x), perm=[1, 0])


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (segmenter, r"shape \(\?, 6, 6, 6\), where a classifier gives \(N, classes\): segmenters"),
        (mixing, "changes with the other images of its batch"),
        (mixing_behind_a_saturated_softmax, "changes with the other images of its batch"),
        (attention_over_the_batch, "changes with the other images of its batch"),
        (training_norm, "changes with the other images of its batch"),
        (training_dropout, "by chance"),
        (control_flow, r"the picture decides which branch this If takes, .* control flow cannot be split"),
        (batch_in_the_middle, "for a batch of 2 images"),
        (lambda op, x: op.ReduceMean(scores(op, x), keepdims=0), "for a batch of 2 images"),
        (lambda op, x: op.ArgMax(scores(op, x), axis=1), "what ArgMax .* decides, .* takes, t_Gemm_4"),
        (lambda op, x: op.Softmax(segmenter(op, x), axis=3), "Softmax over axis 3"),
        (lambda op, x: op.NoSuchOperator(x), "ONNX Runtime cannot load the model"),
    ],
    ids=lambda value: getattr(value, "__name__", "")[:40],
)
def test_models_that_are_refused(tmp_path, build, words):
    model = made(build)
    if "ArgMax" in words:
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelError, match=words) as caught:
        brought(model, tmp_path)
    assert "\n" not in str(caught.value)


def test_inputs_that_are_refused():
    model = made(scores)
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 8]))
    with pytest.raises(
        ModelError, match=r"one input, an image; it has 2: 'x' \(\?, 3, 8, 8\), 'mask' \(\?, 8\)"
    ):
        interface(model)
    with pytest.raises(ModelError, match=r"no image input .* but 'x' \(\?, 12\)"):
        interface(made(lambda op, x: op.Relu(x), ("N", 12)))
    with pytest.raises(ModelError, match="no image input"):
        interface(made(lambda op, x: op.Relu(x), element=TensorProto.INT64))
    model = made(scores)
    del model.graph.input[:]
    with pytest.raises(ModelError, match="it has 0: none"):
        interface(model)


def test_weights_among_the_inputs_are_no_inputs(tmp_path):
    model = made(scores, opset=9)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    images = images_like(2, 3, 8, 8)
    close(logits_of(brought(model, tmp_path), images), one_by_one(model, images))


def test_a_graph_of_a_bundle_is_refused(small_bundle):
    model = onnx.load(small_bundle / "score.onnx", load_external_data=False)
    first = onnx.load(small_bundle / "blocks" / "01.onnx", load_external_data=False)
    with pytest.raises(ModelError, match="one input"):
        interface(model)
    with pytest.raises(ModelError, match="part of a sise-rt bundle"):
        canonical(first, small_bundle, interface(first), (3, 32, 32), None)


def test_deep_networks_are_measured_in_groups(cnn, tmp_path, monkeypatch):
    path = cnn(tmp_path / "m.onnx")
    whole = brought(onnx.load(path), tmp_path)
    for nodes in (1, 3):
        monkeypatch.setattr(shapes, "GROUP", nodes)
        folder = tmp_path / str(nodes)
        folder.mkdir()
        assert brought(onnx.load(path), folder).types == whole.types


@pytest.mark.parametrize("group", [1, 2, 32])
def test_sequences_of_tensors_stay_in_their_group(tmp_path, monkeypatch, group):
    def build(op, x):
        x = op.Conv(x, op.constant(weight(6, 3, 3, 3)), pads=[1, 1, 1, 1])
        parts = op.SplitToSequence(x, op.constant(2), axis=1)
        first, last = op.SequenceAt(parts, op.constant(0)), op.SequenceAt(parts, op.constant(2))
        return scores(op, op.Concat(first, last, axis=1), channels=4)

    monkeypatch.setattr(shapes, "GROUP", group)
    model = made(build)
    images = images_like(3, 3, 8, 8)
    close(logits_of(brought(model, tmp_path), images), one_by_one(model, images))


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("Failed to allocate memory for requested buffer")]
)
def test_too_little_memory(cnn, tmp_path, monkeypatch, error):
    class Full:
        def run(self, *_):
            raise error

    monkeypatch.setattr(shapes, "open_session", lambda *_: Full())
    with pytest.raises(ModelError, match=r"\(\?, 3, 32, 32\) needs more memory .* smaller input size"):
        brought(onnx.load(cnn(tmp_path / "m.onnx")), tmp_path)


def test_an_output_that_does_not_depend_on_the_image(tmp_path):
    def build(op, x):
        return op.Relu(op.constant(weight(1, 5)))

    with pytest.raises(ModelError, match="does not depend on the image"):
        brought(made(build), tmp_path)
