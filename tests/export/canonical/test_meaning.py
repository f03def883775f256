"""What outputs mean: the bundle's confidences against the bare model in ONNX Runtime, or the refusal."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sise_rt.export import export
from sise_rt.export.examine import examine
from sise_rt.export.ir.builder import Builder

import sise_rt
from sise_rt.errors import ArgumentError, ModelError

SIZE = 24
PLAIN = {"mean": 0.5, "std": 0.25}


class Writer(Builder):
    """A builder of small classifiers whose output moves with the picture."""

    def __init__(self):
        super().__init__("t_", {}, {})
        self.rng = np.random.default_rng(5)

    def body(self, x):
        for inputs, outputs in ((3, 8), (8, 12)):
            kernel = (self.rng.standard_normal((outputs, inputs, 3, 3)) * (2 / (9 * inputs)) ** 0.5).astype(
                "f4"
            )
            x = self.Conv(x, self.constant(kernel), strides=[2, 2], pads=[1, 1, 1, 1])
            x = self.Relu(x)
        return self.Flatten(self.GlobalAveragePool(x))

    def linear(self, x, classes, scale=0.4):
        weight = self.rng.standard_normal((12, classes))
        weight = (scale * (weight - weight.mean(axis=0))).astype("f4")  # not the brightness alone
        bias = [1.1] if classes == 1 else np.linspace(-0.5, 0.5, classes)
        return self.Gemm(x, self.constant(weight), self.constant(np.array(bias, "f4")))

    def z(self, x, classes=5, scale=0.4):
        return self.linear(self.body(x), classes, scale)

    def to(self, value):
        return self.constant(np.float32(value))


def model_of(build):
    op = Writer()
    output = build(op, "x")
    graph = helper.make_graph(
        op.nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [onnx.ValueInfoProto(name=output)],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def pictures():
    """Seven pictures: dark, bright, noise, and blocks of colour."""
    rng = np.random.default_rng(11)
    yield np.full((SIZE, SIZE, 3), 5, np.uint8)
    yield np.full((SIZE, SIZE, 3), 250, np.uint8)
    for low, high in ((0, 256), (0, 60), (180, 256)):
        yield rng.integers(low, high, (SIZE, SIZE, 3), np.uint8)
    for _ in range(2):
        yield np.kron(rng.integers(0, 256, (3, 3, 3)), np.ones((8, 8, 1))).astype(np.uint8)


def bare(path, tensor):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: tensor})[0].reshape(-1).astype(np.float64)


def exported(model, folder, **options):
    path = folder / "model.onnx"
    onnx.save(model, path)
    report = export(path, folder / "model.sise", preprocess=PLAIN, overwrite=True, **options)
    return path, report, sise_rt.load(report.path, "cpu")


def agrees(path, explainer, tolerance=2e-6):
    """The bundle's confidences are the model's probabilities, or those of both sides of a single one."""
    predicted = set()
    for pixels in pictures():
        picture = explainer.prepare(pixels)
        p, confidences = bare(path, picture.tensor), explainer.confidences(picture)
        p = np.array([1 - p[0], p[0]]) if p.size == 1 else p
        np.testing.assert_allclose(confidences, np.clip(p, 0, 1), atol=tolerance)
        predicted.add(int(confidences.argmax()))
        if p.max() - np.sort(p)[-2] > 1e-4:
            assert confidences.argmax() == p.argmax()
    return predicted


def halves(op, x, activation):
    """The mean of what two heads give."""
    x = op.body(x)
    heads = [activation(op, op.linear(x, 1)) for _ in range(2)]
    return op.Mul(op.Add(*heads), op.to(0.5))


def calibrated(op, p):
    """Beta calibration: 1 / (1 + exp(-c) (1 - p)^b / p^a), as behind a medical model's sigmoid."""
    odds = op.Div(op.Pow(op.Sub(op.to(1), p), op.to(1.3)), op.Pow(p, op.to(0.8)))
    return op.Div(op.to(1), op.Add(op.to(1), op.Mul(op.to(0.7), odds)))


def column(op, p, index=1):
    return op.Gather(p, op.constant(np.array(index)), axis=1)


def sliced(op, p):
    return op.Slice(p, op.constant([1]), op.constant([2]), op.constant([1]))


PROBABILITIES = {
    "clip of sigmoid": lambda op, x: op.Clip(op.Sigmoid(op.z(x, 1)), op.to(1e-7), op.to(1 - 1e-7)),
    "clip of sigmoids": lambda op, x: op.Clip(op.Sigmoid(op.z(x)), op.to(0.01), op.to(0.99)),
    "hard sigmoid": lambda op, x: op.HardSigmoid(op.z(x, 1), alpha=1 / 6, beta=0.5),
    "hard sigmoid written out": lambda op, x: op.Div(
        op.Clip(op.Add(op.z(x, 1), op.to(3)), op.to(0), op.to(6)), op.to(6)
    ),
    "tanh": lambda op, x: op.Mul(op.Add(op.Tanh(op.z(x, 1)), op.to(1)), op.to(0.5)),
    "one minus sigmoid": lambda op, x: op.Sub(op.to(1), op.Sigmoid(op.z(x, 1))),
    "one minus sigmoids": lambda op, x: op.Sub(op.to(1), op.Sigmoid(op.z(x, 4))),
    "calibration": lambda op, x: calibrated(op, op.Sigmoid(op.z(x, 1))),
    "temperature": lambda op, x: op.Pow(op.Sigmoid(op.z(x, 1)), op.to(1.7)),
    "column of softmax": lambda op, x: column(op, op.Softmax(op.z(x, 2), axis=1)),
    "slice of softmax": lambda op, x: sliced(op, op.Softmax(op.z(x, 2), axis=1)),
    "two columns of three": lambda op, x: op.Slice(
        op.Softmax(op.z(x, 3), axis=1), op.constant([1]), op.constant([3]), op.constant([1])
    ),
    "columns of softmax but for one that is rare": lambda op, x: op.Gather(
        op.Softmax(op.Sub(op.z(x, 4), op.to([0, 40, 0, 0])), axis=1), op.constant(np.array([0, 2, 3])), axis=1
    ),
    "identity of sigmoid": lambda op, x: op.Identity(op.Sigmoid(op.z(x, 1))),
    "identity of softmax": lambda op, x: op.Identity(op.Softmax(op.z(x), axis=1)),
    "reshaped sigmoid": lambda op, x: op.Reshape(op.Sigmoid(op.z(x, 1)), op.constant([-1])),
    "normal distribution": lambda op, x: op.Mul(
        op.Add(op.Erf(op.Mul(op.z(x, 1), op.to(0.5**0.5))), op.to(1)), op.to(0.5)
    ),
    "complementary log-log": lambda op, x: op.Sub(op.to(1), op.Exp(op.Neg(op.Exp(op.z(x, 1))))),
    "square root": lambda op, x: op.Sqrt(op.Sigmoid(op.z(x, 1))),
    "products": lambda op, x: (lambda y: op.Mul(op.Sigmoid(op.linear(y, 1)), op.Sigmoid(op.linear(y, 3))))(
        op.body(x)
    ),
    "column of three": lambda op, x: column(op, op.Softmax(op.z(x, 3), axis=1)),
    "column of sigmoids": lambda op, x: column(op, op.Sigmoid(op.z(x, 3))),
    "mean of sigmoids": lambda op, x: halves(op, x, lambda op, z: op.Sigmoid(z)),
    "weighted sigmoids": lambda op, x: op.Gemm(
        op.Sigmoid(op.z(x, 3)), op.constant(np.array([[0.2], [0.5], [0.3]], np.float32))
    ),
    "sigmoids of two heads": lambda op, x: (
        lambda y: op.Concat(op.Sigmoid(op.linear(y, 2)), op.Sigmoid(op.linear(y, 1)), axis=1)
    )(op.body(x)),
    "both sides of a sigmoid": lambda op, x: (lambda p: op.Concat(op.Sub(op.to(1), p), p, axis=1))(
        op.Sigmoid(op.z(x, 1))
    ),
    "squeezed": lambda op, x: op.Squeeze(
        op.Clip(op.Sigmoid(op.z(x, 1)), op.to(0), op.to(1)), op.constant([1])
    ),
    "clipped softmax": lambda op, x: op.Clip(op.Softmax(op.z(x), axis=1), op.to(0.02), op.to(1)),
    "softmax of softmax": lambda op, x: op.Softmax(op.Softmax(op.z(x), axis=1), axis=1),
    "p over its sum": lambda op, x: (lambda p: op.Div(p, op.ReduceSum(p, op.constant([1]), keepdims=1)))(
        op.Sigmoid(op.z(x))
    ),
    "exp of log softmax": lambda op, x: op.Exp(op.LogSoftmax(op.z(x), axis=1)),
}


@pytest.mark.parametrize("kind", PROBABILITIES)
def test_probabilities_are_explained_as_they_are(tmp_path, kind):
    path, report, explainer = exported(model_of(PROBABILITIES[kind]), tmp_path)
    agrees(path, explainer)
    assert report.warnings == ()
    examined = examine(path)
    assert (examined.activation, examined.refusals) == (report.manifest.activation, ())


def test_a_sum_that_a_slice_left_to_chance_is_not_forced(tmp_path):
    """Where the class that was cut off is the likely one, nothing is left of the others."""
    kind = "columns of softmax but for one that is rare"
    path, report, explainer = exported(model_of(PROBABILITIES[kind]), tmp_path)
    assert report.manifest.activation == "sigmoid"
    rng = np.random.default_rng(0)
    colours = [3000 * rng.standard_normal((1, 3, 1, 1)) for _ in range(20)]
    images = [np.broadcast_to(colour, (1, 3, SIZE, SIZE)).astype(np.float32) for colour in colours]
    image = min(images, key=lambda image: bare(path, image).sum())
    p = bare(path, image)
    assert p.sum() < 0.5
    logits = explainer.engine.forward(image)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits[0].astype(np.float64))), p, atol=1e-6)


def test_groups_of_classes_are_told(tmp_path):
    def two_heads(op, x):
        x = op.body(x)
        return op.Concat(*(op.Softmax(op.linear(x, n), axis=1) for n in (3, 2)), axis=1)

    path, report, explainer = exported(model_of(two_heads), tmp_path)
    assert "probabilities that sum to 2 for every picture tried" in report.warnings[0]
    agrees(path, explainer)


@pytest.mark.parametrize("kind", ["one minus sigmoid", "hard sigmoid", "tanh", "clip of sigmoid"])
def test_the_sign_of_a_decision_is_the_models(tmp_path, kind):
    path, _, explainer = exported(model_of(PROBABILITIES[kind]), tmp_path)
    assert agrees(path, explainer) == {0, 1}


def test_gradients_are_those_of_the_probability(tmp_path):
    """alpha is the mean of the log-odds' gradient: compared with differences of the bare model's log-odds."""
    path, report, explainer = exported(model_of(PROBABILITIES["one minus sigmoid"]), tmp_path)
    assert report.manifest.parity.errors["differences"] < 1e-2
    image = explainer.prepare(np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), np.uint8)).tensor
    gradient, _ = explainer.engine.image_gradient(image, np.array([[0, 1]], np.float32))
    along = 1e-2 * gradient / np.linalg.norm(gradient)
    odds = [np.log(p / (1 - p)) for p in (bare(path, image + along)[0], bare(path, image - along)[0])]
    assert odds[0] - odds[1] == pytest.approx(2e-2 * np.linalg.norm(gradient), rel=2e-2)


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.left = iter([((p / 255 - 0.5) / 0.25).transpose(2, 0, 1)[None].astype("f4") for p in pictures()])

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image}


ENDS = {
    "sigmoid": lambda op, x: op.Sigmoid(op.z(x, 1)),
    "sigmoids": lambda op, x: op.Sigmoid(op.z(x, 4)),
    "softmax": lambda op, x: op.Softmax(op.z(x), axis=1),
    "softmax, reshaped": lambda op, x: op.Reshape(op.Softmax(op.z(x), axis=1), op.constant([-1, 5])),
    "logits": lambda op, x: op.z(x),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_quantised_behind_the_activation(tmp_path, end, kind):
    whole, path = tmp_path / "whole.onnx", tmp_path / "model.onnx"
    onnx.save(model_of(ENDS[end]), whole)
    quantize_static(
        whole, path, Pictures(), QuantFormat.QDQ, activation_type=kind, weight_type=QuantType.QInt8
    )
    report = export(path, tmp_path / "model.sise", preprocess=PLAIN)
    explainer = sise_rt.load(report.path, "cpu")
    assert report.manifest.parity.quantised
    if end == "logits":
        assert report.manifest.activation == "softmax"
        return
    # One step of the output: another order of the same sums may round to the next one.
    agrees(path, explainer, tolerance=1 / 100)


# ---------------------------------------------------------------------------------------------- unclear


def normalised(op, x):
    z = op.z(x, 6)
    return op.Div(z, op.Sqrt(op.ReduceSum(op.Mul(z, z), op.constant([1]), keepdims=1)))


def distances(op, x):
    """Euclidean, to three prototypes: the nearest is the class."""
    difference = op.Sub(
        op.Unsqueeze(op.body(x), op.constant([2])), op.constant(op.rng.random((1, 12, 3), "f4"))
    )
    return op.Sqrt(op.ReduceSum(op.Mul(difference, difference), op.constant([1]), keepdims=0))


def shifted(by, classes=1, scale=0.02):
    return lambda op, x: op.Add(op.z(x, classes, scale), op.to(by))


UNCLEAR = {
    "percent of one": (lambda op, x: op.Mul(op.Sigmoid(op.z(x, 1)), op.to(100)), "it cannot be negative"),
    "percents": (lambda op, x: op.Mul(op.Sigmoid(op.z(x)), op.to(100)), "they cannot leave 0 to 100"),
    "count": (lambda op, x: op.Relu(op.Add(op.z(x, 1), op.to(2))), "it cannot be negative, as a logit can"),
    "softplus": (lambda op, x: op.Softplus(op.z(x, 1)), "it cannot be negative, as a logit can"),
    "log of a sigmoid": (lambda op, x: op.Log(op.Sigmoid(op.z(x, 1))), "it cannot be positive"),
    "logs of sigmoids": (lambda op, x: op.Log(op.Sigmoid(op.z(x, 3))), "they cannot be positive"),
    "negative logs of a softmax": (
        lambda op, x: op.Neg(op.Log(op.Softmax(op.z(x, 3), axis=1))),
        "they are negative logarithms of probabilities, of which the smallest is the likeliest",
    ),
    "age": (shifted(36), "it reaches .*, far from what a logit is"),
    "score": (shifted(-0.7), "it lies in 0 to 1 for every picture tried"),
    "age and weight": (shifted(60, 2), "all are positive for every picture tried and reach"),
    "embedding": (normalised, "their squares sum to 1 for every picture tried"),
    "strange operator": (
        lambda op, x: op.Celu(op.Sigmoid(op.z(x, 3))),
        "they lie in 0 to 1 for every picture tried",
    ),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_what_is_unclear_is_asked(tmp_path, kind):
    build, words = UNCLEAR[kind]
    model = model_of(build)
    with pytest.raises(ModelError, match=f"unclear .*{words}.*softmax or sigmoid .* none") as caught:
        exported(model, tmp_path)
    assert caught.value.settings == ("activation", "output_name")
    (refusal,) = examine(tmp_path / "model.onnx").refusals
    assert refusal.message.partition(":")[0] == caught.value.message.partition(":")[0]
    path, report, explainer = exported(model, tmp_path, activation="none")
    assert (report.manifest.activation, report.warnings) == ("none", ())
    for pixels in pictures():
        picture = explainer.prepare(pixels)
        np.testing.assert_allclose(
            explainer.confidences(picture), bare(path, picture.tensor), rtol=1e-4, atol=1e-5
        )
    assert examine(path, activation="none").refusals == ()


def test_one_logit_is_assumed_and_every_record_says_so(tmp_path):
    _, report, explainer = exported(model_of(shifted(0, scale=0.4)), tmp_path)
    assert report.manifest.activation == "sigmoid"
    (warning,) = report.warnings
    assert "taken for a logit, which is cut at 0" in warning
    assert report.manifest.warnings == (warning,)
    pixels = list(pictures())[-1]
    for explanation in explainer.explain_targets(pixels, ["negative", "positive"]):
        if not isinstance(explanation, sise_rt.NoEvidence):
            assert {"code": "bundle", "message": warning} in explanation.record()["warnings"]
    assert examine(tmp_path / "model.onnx").warnings == (warning,)


def test_several_logits_are_assumed_without_a_warning(tmp_path):
    _, report, _ = exported(model_of(ENDS["logits"]), tmp_path)
    assert (report.manifest.activation, report.warnings) == ("softmax", ())


def test_unusual_logits_are_said(tmp_path):
    _, report, _ = exported(model_of(lambda op, x: op.z(x, 5, 40.0)), tmp_path)
    assert report.manifest.activation == "softmax"
    assert any("although they reached" in line for line in report.manifest.warnings)


def test_what_may_be_distances_is_said(tmp_path):
    """The smallest would be the class, and a softmax takes the largest; a rectified logit is no distance."""
    _, report, _ = exported(model_of(distances), tmp_path)
    assert report.manifest.activation == "softmax"
    (line,) = report.manifest.warnings
    assert "all of them were positive, as distances are, of which the smallest is the nearest" in line

    def rectified(op, x):
        maps = op.Relu(op.Add(op.Reshape(op.z(x, 4, 0.02), op.constant([-1, 4, 1, 1])), op.to(2)))
        return op.Flatten(op.GlobalAveragePool(maps))

    _, report, _ = exported(model_of(rectified), tmp_path)
    assert (report.manifest.activation, report.warnings) == ("softmax", ())


def test_log_probabilities_are_seen(tmp_path):
    def build(op, x):
        x = op.body(x)
        return op.Log(op.Mul(op.Add(op.Softmax(op.linear(x, 4)), op.Softmax(op.linear(x, 4))), op.to(0.5)))

    path, report, explainer = exported(model_of(build), tmp_path)
    assert (report.manifest.activation, report.warnings) == ("softmax", ())
    for pixels in pictures():
        picture = explainer.prepare(pixels)
        np.testing.assert_allclose(
            explainer.confidences(picture), np.exp(bare(path, picture.tensor)), atol=1e-6
        )


def test_what_the_user_says_is_held_against_the_outputs(tmp_path):
    model = model_of(PROBABILITIES["one minus sigmoids"])
    with pytest.raises(ModelError, match=r"probabilities .* do not sum to 1, which contradicts .* softmax"):
        exported(model, tmp_path, activation="softmax")
    path, _, explainer = exported(model, tmp_path, activation="sigmoid")
    agrees(path, explainer)
    with pytest.raises(ArgumentError, match="use softmax, sigmoid or none"):
        exported(model, tmp_path, activation="tanh")
    _, report, _ = exported(model_of(UNCLEAR["count"][0]), tmp_path, activation="sigmoid")
    assert any("no confidence is below one half" in line for line in report.warnings)


# ---------------------------------------------------------------------------------------------- by making


DOUBT = re.compile(r"taken for logits under a softmax \(assumed\), although .*behind the last weight layer")


def softmax(op, z):
    return op.Softmax(z, axis=1)


def log_odds(op, p):
    p = op.Clip(p, op.to(1e-6), op.to(1 - 1e-6))
    return op.Log(op.Div(p, op.Sub(op.to(1), p)))


def entropy(op, p):
    return op.Neg(op.ReduceSum(op.Mul(p, op.Log(p)), op.constant([1]), keepdims=1))


def both(op, x, join):
    """Two heads on one body."""
    x = op.body(x)
    return join(op.linear(x, 4), op.linear(x, 4))


DOUBTFUL = {
    "minus": (lambda op, x: op.Neg(op.z(x)), "Neg .* turns their sign"),
    "negative factor": (lambda op, x: op.Mul(op.z(x), op.to(-2)), "Mul .* multiplies by a negative factor"),
    "one factor of 0": (
        lambda op, x: op.Mul(op.z(x), op.to([1, 0, 1, 1, 1])),
        "Mul .* multiplies by factors that are not all above 0",
    ),
    "negative divisor": (lambda op, x: op.Div(op.z(x), op.to(-2)), "Div .* multiplies by a negative factor"),
    "from a constant": (lambda op, x: op.Sub(op.to(3), op.z(x)), "Sub .* subtracts them from a constant"),
    "tanh": (lambda op, x: op.Tanh(op.z(x)), "Tanh .* changes them"),
    "softplus": (lambda op, x: op.Add(op.Softplus(op.z(x)), op.to(1)), "Softplus .* changes them"),
    "absolute": (lambda op, x: op.Abs(op.z(x)), "Abs .* changes them"),
    "difference": (lambda op, x: both(op, x, op.Sub), "Sub .* subtracts one tensor from another"),
    "product": (lambda op, x: both(op, x, op.Mul), "Mul .* multiplies one tensor by another"),
    "difference of sigmoids": (
        lambda op, x: both(op, x, lambda a, b: op.Sub(op.Sigmoid(a), op.Sigmoid(b))),
        "Sub .* subtracts one tensor from another",
    ),
    "softmax beside logits": (
        lambda op, x: both(op, x, lambda a, b: op.Concat(softmax(op, a), b, axis=1)),
        "Softmax .* gives what is then changed or mixed",
    ),
    "softmax with its entropy": (
        lambda op, x: (lambda p: op.Concat(p, entropy(op, p), axis=1))(softmax(op, op.z(x, 6))),
        "Softmax .* gives what is then changed or mixed",
    ),
    "softmax less its mean": (
        lambda op, x: (lambda p: op.Sub(p, op.ReduceMean(p, op.constant([1]), keepdims=1)))(
            softmax(op, op.z(x))
        ),
        "Softmax .* gives what is then changed or mixed",
    ),
    "log of more than p": (
        lambda op, x: op.Add(op.Log(op.Add(softmax(op, op.z(x)), op.to(1e-2))), op.to(2)),
        "Log .* changes them",
    ),
    "log-odds of two": (lambda op, x: log_odds(op, softmax(op, op.z(x, 2))), "Log .* changes them"),
    "both signs": (lambda op, x: (lambda z: op.Concat(op.Neg(z), z, axis=1))(op.z(x, 1)), "Neg .* turns"),
}


@pytest.mark.parametrize("kind", DOUBTFUL)
def test_steps_behind_the_last_weights_are_told(tmp_path, kind):
    build, words = DOUBTFUL[kind]
    _, report, explainer = exported(model_of(build), tmp_path)
    (warning,) = report.warnings
    assert DOUBT.search(warning)
    assert re.search(words, warning), warning
    assert report.manifest.activation == "softmax"
    assert report.manifest.warnings == (warning,)
    for explanation in explainer.explain_targets(list(pictures())[-1], [0, 1]):
        if not isinstance(explanation, sise_rt.NoEvidence):
            assert {"code": "bundle", "message": warning} in explanation.record()["warnings"]


def test_no_doubt_is_told_where_the_activation_is_said(tmp_path):
    model = model_of(DOUBTFUL["minus"][0])
    path, report, _ = exported(model, tmp_path, activation="softmax")
    assert report.warnings == ()
    assert "Neg" in examine(path).warnings[0]


def pooled(op, x, behind):
    """A convolution to the classes, and what follows."""
    kernel = op.constant((op.rng.standard_normal((5, 8, 1, 1)) * 0.5).astype("f4"))
    first = (op.rng.standard_normal((8, 3, 3, 3)) * 0.3).astype("f4")
    return behind(op.Conv(op.Relu(op.Conv(x, op.constant(first), strides=[2, 2])), kernel))


def normalised(op, x):
    return op.Div(x, op.Clip(op.ReduceL2(x, op.constant([1]), keepdims=1), op.to(1e-6)))


HARMLESS = {
    "plain": lambda op, x: op.z(x),
    "squeezenet": lambda op, x: pooled(op, x, lambda z: op.Flatten(op.GlobalAveragePool(op.Relu(z)))),
    "max over positions": lambda op, x: pooled(
        op, x, lambda z: op.Flatten(op.ReduceMax(op.LeakyRelu(z, alpha=0.1), op.constant([2, 3])))
    ),
    "temperature and bias": lambda op, x: op.Add(
        op.Div(op.z(x), op.to(1.7)), op.constant(np.linspace(-1, 1, 5).astype("f4"))
    ),
    "sum of heads": lambda op, x: op.Mul(both(op, x, op.Add), op.to(0.5)),
    "batch normalisation": lambda op, x: op.BatchNormalization(
        op.z(x), *(op.constant(np.full(5, value, "f4")) for value in (1.5, 0.1, 0.2, 0.7))
    ),
    "wide clip": lambda op, x: op.Clip(op.z(x), op.to(-30), op.to(30)),
    "dueling": lambda op, x: (lambda z: op.Sub(z, op.ReduceMean(z, op.constant([1]), keepdims=1)))(op.z(x)),
    "cosine head": lambda op, x: op.Mul(op.linear(normalised(op, op.body(x)), 5), op.to(16)),
    "divided by a length": lambda op, x: (
        lambda y: op.Mul(
            op.Div(op.linear(y, 5), op.Clip(op.ReduceL2(y, op.constant([1]), keepdims=1), op.to(1e-6))),
            op.to(9),
        )
    )(op.body(x)),
    "some of them": lambda op, x: op.Slice(op.z(x, 7), op.constant([1]), op.constant([6]), op.constant([1])),
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_steps_that_leave_logits_logits_are_not_told(tmp_path, kind):
    _, report, _ = exported(model_of(HARMLESS[kind]), tmp_path)
    assert (report.manifest.activation, report.warnings) == ("softmax", ())


# ---------------------------------------------------------------------------------------------- by the values


FALLING = {
    "-log p": (
        lambda op, x: op.Neg(op.LogSoftmax(op.z(x), axis=1)),
        "of which the smallest is the likeliest (so choose the tensor before the minus, t_LogSoftmax_",
    ),
    "1 - p": (
        lambda op, x: op.Sub(op.to(1), softmax(op, op.z(x))),
        "they sum to 4 for every picture tried, as 1 - p of probabilities p of 5 classes do; choose the "
        "tensor before the minus, t_Softmax_",
    ),
}


@pytest.mark.parametrize("kind", FALLING)
def test_what_falls_as_probabilities_rise_is_refused(tmp_path, kind):
    build, words = FALLING[kind]
    with pytest.raises(ModelError) as caught:
        exported(model_of(build), tmp_path)
    assert words in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.settings == ("activation", "output_name")
    name = caught.value.message.partition("the minus, ")[2].partition(",")[0]
    _, report, _ = exported(model_of(build), tmp_path, output_name=name)
    assert (report.manifest.activation, report.warnings) == ("softmax", ())
    assert exported(model_of(build), tmp_path, activation="none")[1].warnings == ()


def test_one_less_the_probabilities_are_explained_as_they_are_where_it_is_said(tmp_path):
    path, report, explainer = exported(model_of(FALLING["1 - p"][0]), tmp_path, activation="sigmoid")
    agrees(path, explainer)
    assert report.warnings == ()


def test_log_odds_of_a_softmax_are_explained_by_a_sigmoid(tmp_path):
    path, report, explainer = exported(model_of(lambda op, x: log_odds(op, softmax(op, op.z(x)))), tmp_path)
    assert (report.manifest.activation, report.warnings) == ("sigmoid", ())
    for pixels in pictures():
        picture = explainer.prepare(pixels)
        p = 1 / (1 + np.exp(-bare(path, picture.tensor)))
        np.testing.assert_allclose(explainer.confidences(picture), p, atol=2e-6)


def score_less_thresholds(op, x, falls=True):
    thresholds = np.linspace(2, -2, 4) if falls else np.array([2, -2, 1, -1])
    return op.Add(op.z(x, 1, 3.0), op.constant(thresholds[None].astype("f4")))


ORDINAL = {
    "probabilities": (lambda op, x: op.Sigmoid(score_less_thresholds(op, x)), "always the first"),
    "behind a clip": (
        lambda op, x: op.Clip(op.Sigmoid(score_less_thresholds(op, x)), op.to(1e-7), op.to(1 - 1e-7)),
        "always the first",
    ),
    "logits": (lambda op, x: score_less_thresholds(op, x), "always the first"),
    "of the most": (lambda op, x: op.Sigmoid(op.Neg(score_less_thresholds(op, x))), "always the last"),
}


@pytest.mark.parametrize("kind", ORDINAL)
def test_ordinal_outputs_are_told(tmp_path, kind):
    build, words = ORDINAL[kind]
    path, report, explainer = exported(model_of(build), tmp_path)
    (warning,) = report.warnings
    assert "cumulative, as an ordinal model's" in warning
    assert words in warning
    assert report.manifest.activation == "sigmoid"  # under a softmax all pictures would have one confidence
    for pixels in pictures():
        picture = explainer.prepare(pixels)
        output = bare(path, picture.tensor)
        p = 1 / (1 + np.exp(-output)) if kind == "logits" else output
        np.testing.assert_allclose(explainer.confidences(picture), p, atol=2e-6)


def test_logits_with_a_large_part_in_common_are_those_of_a_softmax_all_the_same(tmp_path):
    """They part by less than a hundredth of what they move by, and by enough to tell classes apart."""

    def build(op, x):
        body = op.body(x)
        return op.Add(op.linear(body, 1, 300.0), op.linear(body, 4, 1.0))

    path, report, explainer = exported(model_of(build), tmp_path)
    assert report.manifest.activation == "softmax"
    outputs = np.stack([bare(path, explainer.prepare(pixels).tensor) for pixels in pictures()])
    parted = np.ptp(outputs - outputs[:, :1], axis=0).max()
    assert 0.2 < parted < 0.01 * np.ptp(outputs, axis=0).max()
    for pixels, output in zip(pictures(), outputs, strict=True):
        likelihoods = np.exp(output - output.max())
        confidences = explainer.confidences(pixels)
        np.testing.assert_allclose(confidences, likelihoods / likelihoods.sum(), atol=1e-4)


def test_logits_in_one_order_for_all_pictures_are_told(tmp_path):
    """Each rises by what is not negative over the one before it."""

    def build(op, x):
        z = op.z(x, 6, 2.0)
        more = op.Add(op.Relu(z), op.to(0.1))
        return op.MatMul(more, op.constant(np.triu(np.ones((6, 6), "f4"))))

    _, report, _ = exported(model_of(build), tmp_path)
    assert any("cumulative" in line and "always the last" in line for line in report.warnings)


def test_probabilities_of_0_and_1_are_no_square_roots(tmp_path):
    build = model_of(lambda op, x: op.Clip(softmax(op, op.z(x, 5, 4e4)), op.to(0), op.to(1)))
    _, report, explainer = exported(build, tmp_path)
    assert min(explainer.confidences(pixels).max() for pixels in pictures()) > 1 - 1e-5
    assert report.warnings == ()


def test_square_roots_of_probabilities_are_told(tmp_path):
    path, report, explainer = exported(model_of(lambda op, x: op.Sqrt(softmax(op, op.z(x)))), tmp_path)
    (warning,) = report.warnings
    assert "their squares sum to 1 for every picture tried" in warning
    agrees(path, explainer)


# ---------------------------------------------------------------------------------------------- near the ends


def half(op, t):
    return op.Mul(op.Add(t, op.to(1)), op.to(0.5))


TANHS = {
    "times a half": lambda op, z: half(op, op.Tanh(z)),
    "by two": lambda op, z: op.Div(op.Add(op.to(1), op.Tanh(z)), op.to(2)),
    "half first": lambda op, z: op.Add(op.Mul(op.Tanh(z), op.to(0.5)), op.to(0.5)),
}


@pytest.mark.parametrize("columns", [1, 5])
@pytest.mark.parametrize("kind", TANHS)
def test_a_tanh_between_0_and_1_is_a_sigmoid_of_twice_as_much(tmp_path, kind, columns):
    build = lambda op, x: TANHS[kind](op, op.z(x, columns, 6.0))  # noqa: E731
    path, report, explainer = exported(model_of(build), tmp_path)
    agrees(path, explainer)
    assert report.manifest.parity.errors["tangents"] < 1e-4
    image = explainer.prepare(list(pictures())[-1]).tensor
    assert abs(explainer.engine.forward(image)).max() > 9  # where 1 - p has half of its digits, or none


def test_a_tanh_with_other_halves_is_left_alone(tmp_path):
    build = lambda op, x: op.Add(op.Mul(op.Tanh(op.z(x)), op.to(0.25)), op.to(0.5))  # noqa: E731
    path, report, explainer = exported(model_of(build), tmp_path)
    assert report.manifest.activation == "sigmoid"
    agrees(path, explainer)


def test_the_slope_of_a_saturated_tanh_has_its_digits(tmp_path):
    _, report, _ = exported(model_of(lambda op, x: op.Tanh(op.z(x, 3, 6.0))), tmp_path, activation="softmax")
    assert report.manifest.parity.errors["tangents"] < 1e-4


def rounded(op, p, steps=100.0, by="Round"):
    return op.Div(getattr(op, by)(op.Mul(p, op.to(steps))), op.to(steps))


def cut(op, p):
    whole = op.Cast(op.Mul(p, op.to(100)), to=6)
    return op.Div(op.Cast(whole, to=1), op.to(100))


ROUNDED = {
    "sigmoid": lambda op, x: rounded(op, op.Sigmoid(op.z(x, 1))),
    "sigmoids": lambda op, x: rounded(op, op.Sigmoid(op.z(x))),
    "softmax": lambda op, x: rounded(op, softmax(op, op.z(x))),
    "softmax to tenths": lambda op, x: rounded(op, softmax(op, op.z(x)), 10.0),
    "down": lambda op, x: rounded(op, softmax(op, op.z(x)), by="Floor"),
    "up": lambda op, x: rounded(op, op.Sigmoid(op.z(x)), by="Ceil"),
    "cast to integers": lambda op, x: cut(op, softmax(op, op.z(x))),
}


@pytest.mark.parametrize("kind", ROUNDED)
def test_rounded_probabilities_keep_the_gradient_of_what_is_rounded(tmp_path, kind):
    path, report, explainer = exported(model_of(ROUNDED[kind]), tmp_path)
    agrees(path, explainer, tolerance=1e-6)
    assert report.warnings == ()
    assert any("rounds the probabilities: the gradient passes straight through" in n for n in report.notes)
    assert report.manifest.parity.quantised
    image = explainer.prepare(np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), np.uint8)).tensor
    (alpha, *_) = explainer.engine.features(image, np.array([0])).alphas
    assert alpha.any()


def test_what_is_rounded_to_0_or_1_is_a_decision(tmp_path):
    with pytest.raises(
        ModelError, match=r"is what Round .* decides, 0 or 1, not the scores: explain the tensor"
    ):
        exported(model_of(lambda op, x: op.Round(op.Sigmoid(op.z(x)))), tmp_path)


def test_what_stops_a_gradient_is_named_with_two_ways_on(tmp_path):
    def one_hot(op, x):
        best = op.ArgMax(op.z(x), axis=1, keepdims=0)
        return op.OneHot(best, op.constant(np.array(5)), op.constant(np.array([0, 1], "f4")))

    with pytest.raises(ModelError) as caught:
        exported(model_of(one_hot), tmp_path)
    assert "ArgMax (node 't_ArgMax_" in caught.value.message
    assert "explain what it takes, t_Gemm_" in caught.value.message
    assert caught.value.settings == ("output_name", "gradients")


GROUPS = {
    "pairs": (
        lambda op, z: op.Softmax(op.Reshape(z, op.constant([-1, 3, 2])), axis=2),
        "3 groups of 2 values",
    ),
    "flat pairs": (
        lambda op, z: op.Flatten(op.Softmax(op.Reshape(z, op.constant([-1, 2, 3])), axis=2)),
        "2 groups of 3 values",
    ),
    "one value": (
        lambda op, z: op.Softmax(op.Reshape(z, op.constant([-1, 6, 1, 1])), axis=3),
        "over a single value, which it makes 1",
    ),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_a_softmax_over_another_axis_is_said(tmp_path, kind):
    build, words = GROUPS[kind]
    with pytest.raises(ModelError) as caught:
        exported(model_of(lambda op, x: build(op, op.z(x, 6))), tmp_path)
    assert words in caught.value.message
    assert "segmenters" not in caught.value.message
