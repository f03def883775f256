"""What outputs mean: the bundle's confidences against the bare model in ONNX Runtime, or the refusal."""

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
            assert warning in explanation.record()["warnings"]
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
