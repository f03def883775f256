"""Models as other people made them: exported, verified and explained, or refused with words that help."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sise_rt.export import export
from sise_rt.export.ir.builder import Builder

import sise_rt
from sise_rt.bundle import parse_manifest
from sise_rt.errors import BundleError, ModelError, ParityError
from sise_rt.manifest import ImageInput
from sise_rt.running.verify import failures, tolerances, verify

SIZE = 24


class Writer(Builder):
    """A builder of whole models, with seeded weights."""

    def __init__(self, dtype=np.float32):
        super().__init__("t_", {}, {}, dtype)
        self.rng = np.random.default_rng(5)

    def weight(self, *shape, scale=None):
        fan = int(np.prod(shape[1:])) or 1
        scale = (2 / fan) ** 0.5 if scale is None else scale
        return self.constant((scale * self.rng.standard_normal(shape)).astype(self.dtype))

    def conv(self, x, inputs, outputs, stride=1, **attributes):
        attributes = {"pads": [1, 1, 1, 1]} | attributes
        return self.Conv(
            x,
            self.weight(outputs, inputs, 3, 3),
            self.weight(outputs, scale=0.1),
            strides=[stride] * 2,
            **attributes,
        )

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def body(self, x, channels=3, middle=None):
        """Two blocks of 8 and 12 maps around `middle`, which takes and gives 8 maps at half the size."""
        x = self.Relu(self.conv(x, channels, 8, 2))
        x = middle(self, x) if middle else x
        return self.Relu(self.conv(x, 8, 12, 2))

    def tail(self, x, classes=5):
        x = self.Flatten(self.GlobalAveragePool(x))
        return self.Gemm(x, self.weight(12, classes), self.weight(classes, scale=0.1))

    def norm(self, x, channels=8, **attributes):
        values = [self.constant(self.rng.uniform(0.5, 1.5, channels).astype(self.dtype)) for _ in range(4)]
        return self.BatchNormalization(x, *values, **attributes)


def classifier(op, x):
    return op.tail(op.body(x))


def made(
    build,
    shape=("N", 3, SIZE, SIZE),
    opset=18,
    element=TensorProto.FLOAT,
    output=TensorProto.FLOAT,
    dtype=np.float32,
):
    """A model from a function that adds nodes behind the tensor `x` and returns the outputs' names."""
    op = Writer(dtype)
    outputs = build(op, "x")
    outputs = [outputs] if isinstance(outputs, str) else outputs
    graph = helper.make_graph(
        op.nodes,
        "g",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info(name, output, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))


def in_float32(model):
    """The model with every other float type replaced, written apart from the export's own way."""
    copied = onnx.ModelProto.FromString(model.SerializeToString())
    floats = (TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
    for i, weight in enumerate(copied.graph.initializer):
        if weight.data_type in floats:
            value = numpy_helper.to_array(weight).astype(np.float32)
            copied.graph.initializer[i].CopyFrom(numpy_helper.from_array(value, weight.name))
    for value in (*copied.graph.input, *copied.graph.output):
        if value.type.tensor_type.elem_type in floats:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    return copied


def original(model, images, output=None):
    """The model's own results, one image (or, where it fixes its batch, one batch of copies) at a time."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = onnx.ModelProto.FromString(model.SerializeToString())
    if output and output not in [value.name for value in model.graph.output]:
        model.graph.output.append(onnx.ValueInfoProto(name=output))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = session.get_inputs()[0]
    copies = image.shape[0] if image.shape and isinstance(image.shape[0], int) else 1
    kind = {"tensor(float16)": np.float16, "tensor(uint8)": np.uint8}.get(image.type, np.float32)
    names = [output or session.get_outputs()[0].name]
    batches = [np.repeat(i[None], copies, 0).astype(kind) for i in images]
    results = [session.run(names, {image.name: batch})[0] for batch in batches]
    return np.stack([result[0] if result.ndim > 1 or copies > 1 else result for result in results])


def exported(model, folder, **options):
    path = folder / "model.onnx"
    onnx.save(model, path)
    return export(path, folder / "model.sise", **options)


def logits(explainer, image):
    return explainer.engine.features(image, np.zeros(1, np.int64))[2]


def checked(
    model, folder, *, undo=lambda z: z, rtol=1e-4, output_name=None, nhwc=False, reference=None, **options
):
    """Export a model, compare its logits with the model's own, verify the bundle, explain an image."""
    report = exported(model, folder, output_name=output_name, **options)
    explainer = sise_rt.load(report.path)
    errors = verify(explainer.engine)
    assert not failures(errors, tolerances(explainer.manifest)), errors
    rng = np.random.default_rng(3)
    c, h, w = report.manifest.preprocess.input_size
    images = rng.standard_normal((2, c, h, w)).astype(np.float32)
    if model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8:
        images = rng.integers(0, 256, images.shape).astype(np.float32)
    expected = original(reference or model, images.transpose(0, 2, 3, 1) if nhwc else images, output_name)
    expected = expected.reshape(len(images), -1).astype(np.float64)
    found = np.concatenate([undo(logits(explainer, image[None])) for image in images])
    assert np.abs(found - expected).max() <= rtol * np.abs(expected).max()
    explanation = explainer.explain(rng.integers(0, 256, (h, w, c) if c > 1 else (h, w), np.uint8))
    assert explanation.map.shape == (h, w)
    assert np.isfinite(explanation.map).all()
    return report, explainer


def refused(model, folder, words, **options):
    with pytest.raises(ModelError, match=words) as caught:
        exported(model, folder, **options)
    assert "\n" not in str(caught.value)
    assert not (folder / "model.sise").exists()


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def note(report, words):
    return any(words in line for line in report.notes)


# ---------------------------------------------------------------------------------------------- operators


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 18, 20, 21, 23, 26])
def test_opsets(tmp_path, opset):
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip("this onnx does not know the operator set")
    report, _ = checked(made(classifier, opset=opset), tmp_path)
    assert report.manifest.opset == max(opset, 18)


def opset_7(op, x):
    x = op.Relu(op.norm(x, epsilon=1e-3, momentum=0.9))
    x, _ = op.Dropout(x, ratio=0.5, outputs=2)
    x = op.conv(op.Pad(x, pads=[0, 0, 0, 0, 0, 0, 1, 2], mode="constant"), 8, 8, pads=[1, 1, 0, 0])
    first, last = op.Split(op.Clip(x, min=-2.0, max=2.0), axis=1, split=[3, 5], outputs=2)
    last = op.Slice(last, starts=[1], ends=[5], axes=[1])
    x = op.Sum(op.Concat(last, first, op.ReduceMax(x, axes=[1]), axis=1), x, x)
    x = op.LRN(op.Elu(x, alpha=0.5), size=3, alpha=1e-2)
    x = op.Upsample(x, mode="linear", scales=[1.0, 1.0, 2.0, 2.0])
    return op.MaxPool(op.Upsample(x, mode="nearest", scales=[1.0] * 4), kernel_shape=[2, 2], strides=[2, 2])


def opset_10(op, x):
    x, _ = op.Dropout(op.norm(x), ratio=0.5, outputs=2)
    x = op.Slice(x, op.ints(0), op.ints(8), op.ints(1), op.ints(1))
    x = op.Resize(op.conv(x, 8, 8), op.constant(np.array([1, 1, 1.5, 1.5], np.float32)), mode="linear")
    x = op.Resize(op.conv(x, 8, 8), op.constant(np.array([1, 1, 0.5, 0.5], np.float32)), mode="nearest")
    x = op.Resize(op.conv(x, 8, 8), op.constant(np.array([1, 1, 0.5, 1.5], np.float32)), mode="nearest")
    x = op.PRelu(x, op.constant(op.rng.uniform(0, 0.5, (8, 1, 1)).astype(np.float32)))
    return op.ThresholdedRelu(x, alpha=0.1)


def opset_11(op, x):
    empty = op.constant(np.zeros(0, np.float32))
    scales = op.constant(np.array([1, 1, 2, 2], np.float32))
    x = op.Resize(x, empty, scales, mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    x = op.SpaceToDepth(op.DepthToSpace(op.conv(x, 8, 8, 2), blocksize=2, mode="CRD"), blocksize=2)
    x = op.Clip(op.InstanceNormalization(x, op.weight(8), op.weight(8)), op.constant(-1.0), op.constant(6.0))
    weights = op.ConstantOfShape(
        op.ints(8, 8, 1, 1), value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.1])
    )
    x = op.Add(op.Conv(x, weights), op.Gather(x, op.ints(7, 1, 2, 3, 0, 5, 4, 6), axis=1))
    return op.conv(op.Pad(x, op.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"), 8, 8, pads=[0] * 4)


def opset_13(op, x):
    x = op.Einsum(x, op.weight(8, 8), equation="nchw,kc->nkhw")
    first, last = op.Split(x, op.ints(3, 5), axis=1, outputs=2)
    x, _ = op.Dropout(op.Concat(last, first, axis=1), op.constant(0.5), outputs=2)
    idle = op.Constant(value=numpy_helper.from_array(np.array(False)))
    x = op.Dropout(op.Mul(x, op.Tanh(op.Softplus(x))), op.constant(0.5), idle)
    weights = op.Constant(value=numpy_helper.from_array(np.full((8, 8, 3, 3), 0.05, np.float32)))
    return op.Mul(op.Sigmoid(op.GlobalMaxPool(x)), op.Conv(x, weights, pads=[1] * 4))


def opset_18(op, x):
    x = op.Reshape(
        op.Transpose(op.Reshape(x, op.ints(0, 2, 4, 12, 12)), perm=[0, 2, 1, 3, 4]), op.ints(0, 8, 12, 12)
    )
    x = op.Resize(op.HardSwish(x), None, None, op.ints(24, 24), axes=[2, 3], mode="cubic")
    x = op.Mish(op.conv(op.norm(x, training_mode=0), 8, 8, 2))
    x = op.Transpose(
        op.LayerNormalization(op.Transpose(x, perm=[0, 2, 3, 1]), op.weight(8), op.weight(8)),
        perm=[0, 3, 1, 2],
    )
    return op.Concat(*op.Split(x, axis=1, num_outputs=2, outputs=2), axis=1)


def opset_21(op, x):
    x = op.GroupNormalization(x, op.weight(8), op.weight(8), num_groups=2)
    return op.Gelu(op.conv(x, 8, 8), approximate="tanh")


@pytest.mark.parametrize("middle", [opset_7, opset_10, opset_11, opset_13, opset_18, opset_21])
def test_operators_as_their_opsets_write_them(tmp_path, middle):
    opset = int(middle.__name__.rpartition("_")[2])
    checked(made(lambda op, x: op.tail(op.body(x, middle=middle)), opset=opset), tmp_path)


def test_a_part_without_a_name(tmp_path):
    """ONNX Runtime itself crashes on a Split like this."""

    def middle(op, x, beside=""):
        op.nodes.append(helper.make_node("Split", [x, op.ints(5, 3)], ["five", beside], "split", axis=1))
        return op.Concat("five", op.Slice("five", op.ints(0), op.ints(3), op.ints(1)), axis=1)

    def build(op, x):
        return op.tail(op.body(x, middle=middle))

    def named(op, x):
        return op.tail(op.body(x, middle=lambda op, x: middle(op, x, "three")))

    checked(made(build), tmp_path, reference=made(named))


@pytest.mark.parametrize("value", [None, "initializer", "constant", "float", "passed on"])
def test_zeros_around_negative_values_stay_in_a_pool(tmp_path, value):
    """ONNX Runtime's optimiser would pad with minus infinity instead."""

    def middle(op, x):
        zero = np.zeros((), np.float32)
        given = {
            None: None,
            "initializer": op.constant(zero),
            "constant": op.Constant(value=numpy_helper.from_array(zero)),
            "float": op.Constant(value_float=0.0),
            "passed on": op.Identity(op.constant(zero)),
        }[value]
        x = op.Pad(op.Sub(x, op.constant(2.0)), op.ints(0, 0, 1, 1, 0, 0, 1, 1), given)
        x = op.Identity(x) if value == "passed on" else x
        return op.MaxPool(x, kernel_shape=[3, 3])

    report, _ = checked(made(lambda op, x: op.tail(op.body(x, middle=middle))), tmp_path)
    assert report.manifest.parity.errors["maps"] < 1e-5


def test_maps_with_a_mean_of_zero(tmp_path):
    def middle(op, x):
        return op.MeanVarianceNormalization(x, axes=[2, 3])

    checked(made(lambda op, x: op.tail(op.body(x, middle=middle))), tmp_path)


def test_weights_among_the_inputs_and_a_constant_condition(tmp_path):
    def build(op, x):
        z = classifier(op, x)
        branches = {
            f"{branch}_branch": helper.make_graph(
                [helper.make_node(operator, [z], [f"{branch}_y"])],
                branch,
                [],
                [onnx.ValueInfoProto(name=f"{branch}_y")],
            )
            for branch, operator in (("then", "Neg"), ("else", "Relu"))
        }
        return op.If(op.constant(np.array(True)), **branches)

    model = made(build, opset=9)
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    checked(model, tmp_path)


def test_weights_in_a_file_of_their_own(tmp_path):
    model = made(classifier)
    copied = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save(
        copied, tmp_path / "large.onnx", save_as_external_data=True, location="large.bin", size_threshold=64
    )
    report = export(tmp_path / "large.onnx", tmp_path / "large.sise")
    image = np.random.default_rng(0).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    found = logits(sise_rt.load(report.path), image)
    np.testing.assert_allclose(found, original(model, image), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------- precision

HALF, DOUBLE, BFLOAT16 = TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16


@pytest.mark.parametrize(("element", "opset"), [(HALF, 9), (HALF, 18), (DOUBLE, 13), (BFLOAT16, 18)])
def test_other_float_types(tmp_path, element, opset):
    model = made(
        classifier,
        opset=opset,
        element=element,
        output=element,
        dtype=helper.tensor_dtype_to_np_dtype(element),
    )
    report, _ = checked(model, tmp_path, reference=in_float32(model))
    kind = {HALF: "float16", DOUBLE: "float64", BFLOAT16: "bfloat16"}[element]
    assert note(report, f"from {kind} to float32")
    precision = report.manifest.parity.precision
    assert precision.source == kind
    # ONNX Runtime has no convolution of doubles and bfloat16 numbers on a CPU.
    assert (precision.error is not None) == (element == HALF)
    assert "in float32" in report.manifest.parity.reference


def test_half_precision_between_casts(tmp_path):
    def build(op, x):
        z = classifier(op, op.Cast(x, to=HALF))
        return op.Cast(op.Softmax(z), to=TensorProto.FLOAT)

    model = made(build, dtype=np.float16)
    report, _ = checked(model, tmp_path, undo=softmax, rtol=5e-3)  # half precision has three digits
    assert report.manifest.activation == "softmax"
    assert report.manifest.parity.precision.error < 5e-3


def test_large_weights_in_half_precision(tmp_path):
    def build(op, x):
        x = op.Relu(op.conv(op.Relu(op.conv(x, 3, 32, 2)), 32, 32, 2))
        return op.Gemm(op.Flatten(x), op.weight(32 * 36, 5), op.weight(5))

    model = made(build, element=HALF, output=HALF, dtype=np.float16)
    checked(model, tmp_path, reference=in_float32(model))


def scaled(op, x):
    return op.Div(op.Cast(x, to=TensorProto.FLOAT), op.constant(255.0))


@pytest.mark.parametrize("order", ["NCHW", "NHWC", "transposed first"])
def test_whole_pixels(tmp_path, order):
    def build(op, x):
        if order == "NCHW":
            return classifier(op, scaled(op, x))
        if order == "NHWC":
            return classifier(op, op.Transpose(scaled(op, x), perm=[0, 3, 1, 2]))
        return classifier(op, scaled(op, op.Transpose(x, perm=[0, 3, 1, 2])))

    shape = ("N", 3, SIZE, SIZE) if order == "NCHW" else ("N", SIZE, SIZE, 3)
    report, _ = checked(made(build, shape, element=TensorProto.UINT8), tmp_path, nhwc=order != "NCHW")
    settings = report.manifest.preprocess
    assert (settings.scale, settings.mean, settings.std) == (1, (0, 0, 0), (1, 1, 1))
    assert note(report, "uint8")
    assert report.manifest.parity.precision.error < 1e-3


def test_whole_pixels_and_a_metadata_of_floats(tmp_path):
    model = made(lambda op, x: classifier(op, scaled(op, x)), element=TensorProto.UINT8)
    model.metadata_props.add(key="mean", value="[0.5, 0.5, 0.5]")
    model.metadata_props.add(key="std", value="[0.2, 0.2, 0.2]")
    report, _ = checked(model, tmp_path)
    assert report.manifest.preprocess.mean == (0, 0, 0)
    assert note(report, "mean, std in the model's metadata are left out: it takes whole pixels")
    with pytest.raises(ParityError, match="it takes whole pixels, so leave mean"):
        exported(model, tmp_path, preprocess={"mean": (0.5,) * 3, "std": (0.2,) * 3}, overwrite=True)


def test_whole_pixels_that_are_computed_with(tmp_path):
    def build(op, x):
        return classifier(op, scaled(op, op.Max(x, op.constant(np.array(7, np.uint8)))))

    refused(
        made(build, element=TensorProto.UINT8), tmp_path, "whole pixels .* let a Cast to float be the first"
    )


# ---------------------------------------------------------------------------------------------- quantised


class Calibration(CalibrationDataReader):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.images = iter(
            [{"x": rng.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)} for _ in range(8)]
        )

    def get_next(self):
        return next(self.images, None)


def quantised(folder, form=QuantFormat.QDQ, **options):
    def build(op, x):
        return op.tail(op.body(x, middle=lambda op, x: op.Add(x, op.Relu(op.conv(x, 8, 8)))))

    model = made(build)
    onnx.save(model, folder / "float.onnx")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it asks for its own preparation of the model
    try:
        quantize_static(
            folder / "float.onnx", folder / "int.onnx", Calibration(), quant_format=form, **options
        )
    finally:
        root.setLevel(level)
    return model, onnx.load(folder / "int.onnx")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"per_channel": True, "activation_type": QuantType.QInt8},
        {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8},
    ],
    ids=["uint8", "int8 per channel", "uint8 weights"],
)
def test_quantised_models(tmp_path, options):
    # ONNX Runtime may fuse into integer kernels on one side only: a step of the output is a few thousandths.
    model, integer = quantised(tmp_path, **options)
    report, explainer = checked(integer, tmp_path, rtol=3e-2)
    assert note(report, "pass straight through the rounding")
    assert report.manifest.parity.quantised is True
    assert "differences" not in report.manifest.parity.errors
    plain = tmp_path / "plain"
    plain.mkdir()
    _, reference = checked(model, plain)
    agreement = []
    for given in Calibration().images:
        found, exact = (e.engine.features(given["x"], np.array([1]))[1] for e in (explainer, reference))
        agreement.append([np.corrcoef(a[0], b[0])[0, 1] for a, b in zip(found, exact, strict=True)])
    # Where a tensor leaves its calibrated range, the quantised network's gradient ends, and only there.
    assert np.median(agreement, axis=0).min() > 0.99


def test_models_of_integer_operators(tmp_path):
    _, model = quantised(tmp_path, QuantFormat.QOperator)
    refused(model, tmp_path, "QLinearConv computes with integers .* quantise in the QDQ format")


# ---------------------------------------------------------------------------------------------- batch


def shuffle(op, x, batch=1):
    x = op.Reshape(x, op.ints(batch, 2, 4, 12, 12))
    return op.Reshape(op.Transpose(x, perm=[0, 2, 1, 3, 4]), op.ints(batch, 8, 12, 12))


def resized(op, x, batch=1):
    x = op.Resize(
        op.conv(x, 8, 8),
        op.constant(np.zeros(0, np.float32)),
        op.constant(np.zeros(0, np.float32)),
        op.ints(batch, 8, 24, 24),
        mode="nearest",
    )
    return op.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2])


def unresized(op, x, batch=1):
    return op.Resize(x, None, None, op.ints(batch, 8, 12, 12), mode="linear")


def expanded(op, x, batch=1):
    x = op.Mul(x, op.Expand(op.Sigmoid(op.GlobalAveragePool(x)), op.ints(batch, 8, 12, 12)))
    return op.conv(op.Tile(x, op.ints(1, 2, 1, 1)), 16, 8)


def sliced(op, x, batch=1):
    zeros = op.ConstantOfShape(op.ints(batch, 4, 12, 12))
    x = op.Slice(x, op.ints(0, 0), op.ints(batch, 4), op.ints(0, 1))
    return op.Add(op.Concat(x, zeros, axis=1), op.constant(np.full((batch, 8, 1, 1), 0.1, np.float32)))


def grouped(op, x, batch=1):
    """Groups of channels join the batch for a convolution."""
    x = op.Reshape(x, op.Constant(value=numpy_helper.from_array(np.array([2 * batch, 4, 12, 12]))))
    return op.Reshape(op.Relu(op.Conv(x, op.weight(4, 4, 3, 3), pads=[1] * 4)), op.ints(batch, 8, 12, 12))


@pytest.mark.parametrize(
    ("middle", "batch"),
    [(middle, batch) for middle in (shuffle, grouped, expanded, sliced) for batch in (1, 4)]
    # Resizing to sizes takes one image at a time here; a free batch that is 1 inside does not run otherwise.
    + [(resized, 1), (unresized, 1), (shuffle, "N"), (grouped, "N"), (resized, "N")],
)
def test_batches_that_are_spelt_out(tmp_path, middle, batch):
    written = batch if batch == 4 else 1

    def build(op, x):
        x = op.Reshape(op.body(x, middle=lambda op, x: middle(op, x, written)), op.ints(written, -1))
        return op.Gemm(x, op.weight(432, 5), op.weight(5))

    model = made(build, (batch, 3, SIZE, SIZE), opset=13)
    report, explainer = checked(model, tmp_path)
    assert report.manifest.input.batch is None
    images = np.random.default_rng(4).standard_normal((3, 3, SIZE, SIZE)).astype(np.float32)
    together = explainer.engine.features(images, np.zeros(3, np.int64))[2]
    np.testing.assert_allclose(together, original(model, images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch", [1, "N"])
def test_axes_of_one_element_are_squeezed_but_for_the_batch(tmp_path, batch):
    def build(op, x):
        x = op.Squeeze(op.GlobalAveragePool(op.body(x)))
        return op.Squeeze(op.Add(op.MatMul(x, op.weight(12, 5)), op.weight(5)))

    report, _ = checked(made(build, (batch, 3, SIZE, SIZE), opset=13), tmp_path)
    assert report.manifest.input.batch is None


def without_batch(op, x):
    vector = op.Reshape(op.body(x), op.ints(-1))
    return op.Reshape(op.Add(op.MatMul(vector, op.weight(432, 5)), op.weight(5)), op.ints(1, 5))


def first_of_batch(op, x):
    return op.tail(
        op.body(x, middle=lambda op, x: op.Unsqueeze(op.Gather(x, op.constant(0), axis=0), op.ints(0)))
    )


def one_row(op, x):
    return op.Softmax(op.Reshape(classifier(op, x), op.ints(5)), axis=0)


@pytest.mark.parametrize("build", [without_batch, first_of_batch, one_row])
def test_batches_of_one_that_stay(tmp_path, build):
    model = made(build, (1, 3, SIZE, SIZE))
    report, explainer = checked(model, tmp_path, undo=softmax if build is one_row else lambda z: z)
    assert report.manifest.input.batch == 1
    assert any("scored one by one" in line for line in report.manifest.assumed)
    image = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    found = explainer.explain(image, target=1, batch_size=8)
    assert found.batch == 1
    np.testing.assert_array_equal(found.map, explainer.explain(image, target=1).map)


def test_graphs_of_one_image_take_several_one_by_one(tmp_path):
    engine = sise_rt.load(exported(made(without_batch, (1, 3, SIZE, SIZE)), tmp_path).path).engine
    images = np.random.default_rng(0).standard_normal((3, 3, SIZE, SIZE)).astype(np.float32)
    cotangents = np.eye(5, dtype=np.float32)[:3]
    together = [engine.forward(images), *engine.image_gradient(images, cotangents)]
    for i in range(3):
        alone = [
            engine.forward(images[i : i + 1]),
            *engine.image_gradient(images[i : i + 1], cotangents[i : i + 1]),
        ]
        for one, several in zip(alone, together, strict=True):
            np.testing.assert_allclose(several[i], one[0], rtol=1e-5, atol=1e-7)


def test_batches_of_one_are_scored_like_free_ones(tmp_path):
    """The same network, its batch dropped in the middle: the same explanation."""
    maps = []
    for name, build in (("free", classifier), ("one", first_of_batch)):
        folder = tmp_path / name
        folder.mkdir()
        model = made(
            build if name == "free" else lambda op, x: _dropped(op, classifier(op, x)), (1, 3, SIZE, SIZE)
        )
        _, explainer = checked(model, folder)
        assert explainer.manifest.input.batch == (None if name == "free" else 1)
        image = np.random.default_rng(2).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        maps.append(explainer.explain(image, target=1).map)
    np.testing.assert_allclose(*maps, atol=1e-4)


def _dropped(op, z):
    return op.Unsqueeze(op.Gather(z, op.constant(0), axis=0), op.ints(0))


def plus_first(op, x):
    return op.Add(x, op.Slice(x, op.ints(0), op.ints(1), op.ints(0)))


@pytest.mark.parametrize(
    ("batch", "words"), [("N", "changes with the other images"), (4, "fixes its batch to 4 images")]
)
def test_images_that_mix(tmp_path, batch, words):
    model = made(lambda op, x: op.tail(op.body(x, middle=plus_first)), (batch, 3, SIZE, SIZE))
    refused(model, tmp_path, words)


def test_a_manifest_with_another_batch(tmp_path):
    text = exported(made(classifier), tmp_path).manifest.to_json()
    with pytest.raises(BundleError, match="unknown batch 4"):
        parse_manifest(text.replace('"layout": "NCHW"', '"layout": "NCHW", "batch": 4'), "m")


# ---------------------------------------------------------------------------------------------- layouts


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("nhwc", [False, True])
def test_channels_and_layouts(tmp_path, channels, nhwc):
    def build(op, x):
        return op.tail(op.body(op.Transpose(x, perm=[0, 3, 1, 2]) if nhwc else x, channels))

    shape = ("N", 28, 40, channels) if nhwc else ("N", channels, 28, 40)
    report, _ = checked(made(build, shape), tmp_path, nhwc=nhwc)
    assert report.manifest.input == ImageInput(channels, 28, 40, "NHWC" if nhwc else "NCHW")


@pytest.mark.parametrize("shape", [("N", 3, "H", "W"), (None,) * 4, None], ids=str)
def test_free_sizes(tmp_path, shape):
    report, _ = checked(made(classifier, shape), tmp_path, input_size=(29, 37))
    assert report.manifest.preprocess.input_size == (3, 29, 37)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_padding_that_is_worked_out(tmp_path, auto_pad):
    def build(op, x):
        x = op.Transpose(op.Pad(x, op.ints(0, 0, 0, 0, 0, 1, 2, 0)), perm=[0, 3, 1, 2])
        x = op.Relu(op.Conv(x, op.weight(8, 3, 3, 3), auto_pad=auto_pad, strides=[2, 2], kernel_shape=[3, 3]))
        x = op.MaxPool(x, kernel_shape=[3, 3], strides=[2, 2], auto_pad=auto_pad)
        x = op.AveragePool(x, kernel_shape=[2, 2], strides=[1, 1], auto_pad=auto_pad)
        return op.tail(op.Relu(op.Conv(x, op.weight(12, 8, 3, 3), auto_pad=auto_pad)))

    checked(made(build, ("N", 25, 28, 3), opset=13), tmp_path, nhwc=True)


def test_transpositions_around_every_convolution(tmp_path):
    def conv(op, x, inputs, outputs, stride):
        x = op.Transpose(x, perm=[0, 3, 1, 2])
        x = op.Conv(x, op.weight(outputs, inputs, 3, 3), auto_pad="SAME_UPPER", strides=[stride] * 2)
        scale = op.constant(op.rng.uniform(0.5, 1, outputs).astype(np.float32))
        return op.Relu(
            op.Add(op.Mul(op.Transpose(x, perm=[0, 2, 3, 1]), scale), op.weight(outputs, scale=0.1))
        )

    def build(op, x):
        x = conv(op, x, 3, 8, 2)
        x = conv(op, op.Add(conv(op, x, 8, 8, 1), x), 8, 12, 2)
        z = op.MatMul(op.ReduceMean(x, axes=[1, 2], keepdims=0), op.weight(12, 5))
        return op.Softmax(op.Add(z, op.weight(5, scale=0.1)))

    report, _ = checked(made(build, (1, SIZE, SIZE, 3), opset=13), tmp_path, nhwc=True, undo=softmax)
    assert [(b.channels, b.height) for b in report.manifest.blocks] == [(8, 12), (12, 6)]


# ---------------------------------------------------------------------------------------------- outputs


def written_softmax(op, x):
    z = classifier(op, x)
    e = op.Exp(op.Sub(z, op.ReduceMax(z, axes=[1])))
    return op.Div(e, op.ReduceSum(e, op.ints(1), keepdims=1))


def plain_softmax(op, x):
    e = op.Exp(classifier(op, x))
    return op.Log(op.Div(e, op.ReduceSum(e, op.ints(-1), keepdims=1)))


def written_sigmoid(op, x):
    return op.Div(op.constant(1.0), op.Add(op.constant(1.0), op.Exp(op.Neg(classifier(op, x)))))


def other_sigmoid(op, x):
    return op.Reciprocal(op.Add(op.Exp(op.Neg(classifier(op, x))), op.constant(1.0)))


ENDS = {
    "softmax": (lambda op, x: op.Softmax(classifier(op, x), axis=1), softmax, "softmax"),
    "log-softmax": (
        lambda op, x: op.LogSoftmax(classifier(op, x), axis=1),
        lambda z: np.log(softmax(z)),
        "softmax",
    ),
    "log of softmax": (
        lambda op, x: op.Log(op.Softmax(classifier(op, x), axis=1)),
        lambda z: np.log(softmax(z)),
        "softmax",
    ),
    "sigmoid": (lambda op, x: op.Sigmoid(classifier(op, x)), sigmoid, "sigmoid"),
    "softmax written out": (written_softmax, softmax, "softmax"),
    "log of softmax written out": (plain_softmax, lambda z: np.log(softmax(z)), "softmax"),
    "sigmoid written out": (written_sigmoid, sigmoid, "sigmoid"),
    "sigmoid by reciprocal": (other_sigmoid, sigmoid, "sigmoid"),
    "cast": (
        lambda op, x: op.Cast(op.Softmax(classifier(op, x), axis=1), to=TensorProto.FLOAT),
        softmax,
        "softmax",
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_activations(tmp_path, end):
    build, undo, activation = ENDS[end]
    report, _ = checked(made(build, opset=13), tmp_path, undo=undo)
    assert report.manifest.activation == activation
    assert not note(report, "activation")
    assert not note(report, "probabilities")


def test_probabilities_that_no_softmax_gives(tmp_path):
    def build(op, x):
        x = op.body(x)
        return op.Mul(op.Add(op.Softmax(op.tail(x)), op.Softmax(op.tail(x))), op.constant(0.5))

    report, _ = checked(made(build), tmp_path, undo=softmax)
    assert report.manifest.activation == "softmax"
    assert note(report, "their logarithms are explained")
    with pytest.raises(ModelError, match="contradicts the activation sigmoid"):
        export(tmp_path / "model.onnx", tmp_path / "other.sise", activation="sigmoid")


def test_halved_sigmoids_are_probabilities(tmp_path):
    model = made(lambda op, x: op.Mul(op.Sigmoid(classifier(op, x)), op.constant(0.5)))
    report, _ = checked(model, tmp_path, undo=sigmoid)
    assert note(report, "the outputs are probabilities")


def test_percentages_are_asked_about(tmp_path):
    model = made(lambda op, x: op.Mul(op.Softmax(classifier(op, x)), op.constant(100.0)))
    refused(
        model, tmp_path, "unclear what the model's outputs are: they cannot leave 0 to 100, as percentages"
    )
    report, _ = checked(model, tmp_path, activation="none")
    assert report.manifest.activation == "none"


@pytest.mark.parametrize("batch", ["N", 1])
def test_small_outputs_of_a_relu_do_not_look_like_probabilities(tmp_path, batch):
    """As SqueezeNet's, for pictures of noise: none is negative, none above 1, and they sum to nothing."""

    def build(op, x):
        return op.Mul(op.Relu(classifier(op, x)), op.constant(1e-3))

    model = made(build)
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    if batch == 1:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    report, _ = checked(model, tmp_path)
    assert not note(report, "probabilities")


@pytest.mark.parametrize("given", [None, "softmax", "sigmoid"])
def test_logits_of_several_labels(tmp_path, given):
    report, _ = checked(made(classifier), tmp_path, activation=given)
    assert report.manifest.activation == (given or "softmax")
    assert note(report, "assumed: activation") == (given is None)


@pytest.mark.parametrize("activation", [False, True])
def test_one_logit(tmp_path, activation):
    def build(op, x):
        z = op.tail(op.body(x), 1)
        return op.Sigmoid(z) if activation else z

    undo = (lambda z: sigmoid(z[:, 1:])) if activation else (lambda z: z[:, 1:])
    _, explainer = checked(made(build), tmp_path, undo=undo)
    image = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for side in ("negative", "positive"):
        assert np.isfinite(explainer.explain(image, target=side).map).all()


@pytest.mark.parametrize("rank", [2, 4])
@pytest.mark.parametrize("activation", [False, True])
def test_class_maps(tmp_path, rank, activation):
    def build(op, x):
        z = op.GlobalAveragePool(op.Conv(op.body(x), op.weight(5, 12, 1, 1)))
        z = op.Flatten(z) if rank == 2 else z
        return op.Softmax(z, axis=1) if activation else z

    checked(made(build), tmp_path, undo=softmax if activation else lambda z: z)


def test_several_outputs_and_tensors_inside(tmp_path):
    def build(op, x):
        x = op.body(x)
        z = op.Identity(op.tail(x), names=["scores"])
        return op.Softmax(op.tail(x, 7), names=["other"]), op.ArgMax(z, axis=1, names=["best"])

    model = made(build)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    refused(model, tmp_path, "2 outputs, choose one: other, best")
    refused(
        model, tmp_path, r"what ArgMax .* decides, not the scores: .* takes, t_Gemm_\d", output_name="best"
    )
    report, _ = checked(model, tmp_path, undo=softmax, output_name="other")
    assert report.manifest.classes == 7
    report, _ = checked(model, tmp_path, output_name="scores", overwrite=True)
    assert report.manifest.classes == 5


# ---------------------------------------------------------------------------------------------- refusals


def detector(op, x):
    x = op.body(x)
    boxes = op.Reshape(op.Conv(x, op.weight(4, 12, 1, 1)), op.ints(1, -1, 4))
    scores = op.Reshape(op.Conv(x, op.weight(5, 12, 1, 1)), op.ints(1, 5, -1))
    return op.NonMaxSuppression(boxes, scores, op.ints(10), op.constant(0.5), op.constant(0.1))


def boxes(op, x):
    return op.Reshape(op.Conv(op.body(x), op.weight(9, 12, 1, 1)), op.ints(0, 9, 36))


def segmenter(op, x):
    return op.Conv(op.body(x), op.weight(5, 12, 1, 1))


def transformer(op, x):
    x = op.Reshape(op.Conv(x, op.weight(16, 3, 8, 8), strides=[8, 8]), op.ints(0, 16, 9))
    x = op.Transpose(x, perm=[0, 2, 1])
    for _ in range(2):
        query, key, value = (op.MatMul(x, op.weight(16, 16)) for _ in range(3))
        attention = op.Softmax(op.MatMul(query, op.Transpose(key, perm=[0, 2, 1])))
        x = op.Add(x, op.MatMul(op.MatMul(attention, value), op.weight(16, 16)))
        x = op.Add(x, op.MatMul(op.Relu(op.MatMul(x, op.weight(16, 32))), op.weight(32, 16)))
    return op.MatMul(op.ReduceMean(x, op.ints(1), keepdims=0), op.weight(16, 5))


def recurrent(op, x):
    x = op.Transpose(op.Reshape(op.body(x), op.ints(-1, 12, 36)), perm=[2, 0, 1])
    _, x = op.GRU(x, op.weight(1, 15, 12), op.weight(1, 15, 5), hidden_size=5, outputs=2)
    return op.Gemm(op.Squeeze(x, op.ints(0)), op.weight(5, 5))


def undecided(op, x):
    z = classifier(op, x)
    branches = {
        f"{branch}_branch": helper.make_graph(
            [helper.make_node(operator, [z], [f"{branch}_y"])],
            branch,
            [],
            [onnx.ValueInfoProto(name=f"{branch}_y")],
        )
        for branch, operator in (("then", "Relu"), ("else", "Neg"))
    }
    return op.If(op.Greater(op.ReduceSum(z, keepdims=0), op.constant(0.0)), **branches)


def noisy(op, x):
    return classifier(op, op.Add(x, op.RandomNormalLike(x)))


def in_training(op, x):
    return op.tail(
        op.body(x, middle=lambda op, x: op.Dropout(x, op.constant(0.5), op.constant(np.array(True))))
    )


def best_as_float(op, x):
    return op.Cast(op.ArgMax(classifier(op, x), axis=1), to=TensorProto.FLOAT)


def best_three(op, x):
    return op.TopK(classifier(op, x), op.ints(3), outputs=2)[0]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (detector, "NonMaxSuppression belongs to a detector"),
        (boxes, r"shape \(\?, 9, 36\), where a classifier gives \(N, classes\): segmenters and detectors"),
        (
            segmenter,
            r"shape \(\?, 5, 6, 6\), where a classifier gives \(N, classes\): segmenters and detectors",
        ),
        (lambda op, x: op.Softmax(segmenter(op, x), axis=1), "no classifier's output: segmenters"),
        (transformer, "vision transformers"),
        (recurrent, "no gradient rule for GRU"),
        (undecided, r"the picture decides which branch this If takes"),
        (noisy, "RandomNormalLike changes results by chance: export the model in evaluation mode"),
        (in_training, "Dropout changes results by chance"),
        (best_as_float, "ArgMax .* decides, not the scores: .* output_name"),
        (best_three, "TopK .* decides, not the scores: .* output_name"),
    ],
    ids=lambda value: getattr(value, "__name__", "")[:40],
)
def test_models_that_are_refused(tmp_path, build, words):
    kind = TensorProto.INT64 if build is detector else TensorProto.FLOAT
    refused(made(build, (1 if build is detector else "N", 3, SIZE, SIZE), output=kind), tmp_path, words)


def test_inputs_that_are_refused(tmp_path):
    def tokens(op, x):
        return op.MatMul(
            op.ReduceMean(op.Gather(op.weight(100, 16), x), op.ints(1), keepdims=0), op.weight(16, 5)
        )

    refused(
        made(tokens, ("N", 7), element=TensorProto.INT64), tmp_path, r"no image input .*'x' \(\?, 7\) int64"
    )
    model = made(classifier)
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["N", 3, SIZE, SIZE]))
    refused(model, tmp_path, "must have one input, an image; it has 2")
