"""One model in several spellings: the bundle gives the numbers of the file as ONNX Runtime runs it."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export import export
from sise_rt.export.examine import examine

import sise_rt
from sise_rt.errors import ModelError

rng = np.random.default_rng(3)
W1, W2, W3 = (
    rng.standard_normal(shape).astype(np.float32) for shape in ((8, 3, 3, 3), (12, 8, 3, 3), (12, 5))
)
CONV = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}


def node(kind, inputs, output, **attributes):
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def model(stem=(), head=None, opset=17, weights=(), source="input", convs=None, **options):
    """Two convolutions and a classifier; what a test is about is put in front, in the middle or behind."""
    nodes = [*stem]
    nodes += convs or [
        node("Conv", f"{source} w1", "c1", **CONV),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", **CONV),
        node("Relu", "c2", "r2"),
    ]
    nodes += [node("GlobalAveragePool", "r2", "g"), node("Flatten", "g", "f")]
    nodes += head or [node("Gemm", "f w3", "output")]
    values = {"w1": W1, "w2": W2, "w3": W3} | dict(weights)
    shape = options.pop("shape", ["N", 3, 32, 32])
    outputs = options.pop("outputs", [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)])
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    imports = [helper.make_opsetid(options.pop("domain", ""), opset), helper.make_opsetid("com.microsoft", 1)]
    imports += [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("my.own", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)


def fused(output, inputs, **options):
    return node("FusedConv", inputs, output, domain="com.microsoft", **CONV, **options)


def two_fused():
    first = fused("r1", "input w1", activation="LeakyRelu", activation_params=[0.1])
    return model(convs=[first, fused("r2", "r1 w2", activation="Clip", activation_params=[0.0, 6.0])])


def with_a_sum():
    shortcut = node("Conv", "r1 w2", "s", **CONV)
    first = fused("r1", "input w1", activation="Relu")
    return model(
        convs=[first, shortcut, fused("r2", "r1 w2 b2 s", activation="Relu")],
        weights=[("b2", W2[:, 0, 0, 0])],
    )


def of_image_scaler():
    scaler = node("ImageScaler", "input", "x", scale=0.5, bias=[0.1, 0.2, 0.3])
    return model([scaler], [node("Gemm", "f w3 b", "output")], 9, source="x", weights=[("b", W3[0])])


def sparse():
    built = model()
    dense = W3 * (np.abs(W3) > 0.8)
    places = np.flatnonzero(dense)
    values = numpy_helper.from_array(dense.ravel()[places], "w3")
    indices = numpy_helper.from_array(places, "w3_indices")
    kept = [weight for weight in built.graph.initializer if weight.name != "w3"]
    del built.graph.initializer[:]
    built.graph.initializer.extend(kept)
    built.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, dense.shape))
    return built


def function_of_opset_17():
    body = [node("Conv", "a b", "c", **CONV), node("Relu", "c", "d")]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("my.own", "ConvRelu", ["a", "b"], ["d"], body, opsets)
    calls = [
        node("ConvRelu", f"{x} {w}", y, domain="my.own")
        for x, w, y in (("input", "w1", "r1"), ("r1", "w2", "r2"))
    ]
    return model(convs=calls, functions=[function])


def split_sequence(index="one"):
    parts = [
        node("SplitToSequence", "r1 three", "parts", axis=1),
        node("SequenceAt", f"parts {index}", "part"),
    ]
    convs = [node("Conv", "input w1", "c1", **CONV), node("Relu", "c1", "r1"), *parts]
    convs += [node("Conv", "part w2", "c2", **CONV), node("Relu", "c2", "r2")]
    return model(convs=convs, weights=[("w2", W2[:, :3]), ("three", np.array(3)), ("one", np.array(1))])


def constant_if():
    then = helper.make_graph([node("Neg", "r1", "t")], "t", [], [helper.make_tensor_value_info("t", 1, None)])
    other = helper.make_graph(
        [node("Identity", "r1", "e")], "e", [], [helper.make_tensor_value_info("e", 1, None)]
    )
    decided = [node("Shape", "r1", "s", start=1, end=2), node("Equal", "s eight", "yes")]
    chosen = node("If", "yes", "q", then_branch=then, else_branch=other)
    convs = [node("Conv", "input w1", "c1", **CONV), node("Relu", "c1", "r1"), *decided, chosen]
    convs += [node("Conv", "q w2", "c2", **CONV), node("Relu", "c2", "r2")]
    return model(convs=convs, weights=[("eight", np.array([8]))])


def stored_in_int8():
    head = [node("DequantizeLinear", "q scale", "w"), node("Gemm", "f w", "output")]
    quantised = np.clip(np.round(W3 / 0.02), -127, 127).astype(np.int8)
    return model(head=head, weights=[("q", quantised), ("scale", np.float32(0.02))])


def resized():
    convs = [
        node("Conv", "input w1", "c1", **CONV),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", **CONV),
    ]
    convs += [node("Relu", "c2", "s"), helper.make_node("Resize", ["s", "", "scales"], ["r2"], mode="linear")]
    scales = np.array([1, 1, 1.3, 1.0], np.float32)
    return model(convs=convs, weights=[("scales", scales)], shape=["N", 3, 40, 32])


def rounded():
    return model([node("Round", "input", "x")], source="x")


def grey_without_channels():
    axes = ("axes", np.array([1]))
    return model(
        [node("Unsqueeze", "input axes", "x")],
        source="x",
        weights=[axes, ("w1", W1[:, :1])],
        shape=["N", 32, 32],
    )


def without_a_batch():
    axes = ("axes", np.array([0]))
    return model([node("Unsqueeze", "input axes", "x")], source="x", weights=[axes], shape=[3, 32, 32])


def wide_qdq():
    pair = [
        node("QuantizeLinear", "s scale zero", "q", domain="com.microsoft"),
        node("DequantizeLinear", "q scale zero", "r2", domain="com.microsoft"),
    ]
    convs = [
        node("Conv", "input w1", "c1", **CONV),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", **CONV),
    ]
    convs += [node("Relu", "c2", "s"), *pair]
    return model(convs=convs, weights=[("scale", np.float32(0.01)), ("zero", np.uint16(3))])


EXPORTED = [
    lambda: model(domain="ai.onnx", opset=18),
    two_fused,
    with_a_sum,
    of_image_scaler,
    sparse,
    function_of_opset_17,
    split_sequence,
    constant_if,
    stored_in_int8,
    resized,
    rounded,
    grey_without_channels,
    without_a_batch,
    wide_qdq,
]


@pytest.mark.parametrize("build", EXPORTED, ids=lambda build: build.__name__.strip("<>"))
def test_every_spelling_is_exported_with_the_numbers_of_the_file(tmp_path, build):
    path = tmp_path / "m.onnx"
    onnx.save(build(), path)
    examined, report = examine(path), export(path, tmp_path / "m.sise")
    assert (examined.refusals, examined.notes, examined.blocks) == ((), report.notes, report.manifest.blocks)
    assert len(report.manifest.blocks) == 2
    options = onnxruntime.SessionOptions()  # fused, weights in int8 would round the picture's tensors as well
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, *report.manifest.preprocess.input_size), np.float32)
    rank_three = {without_a_batch: image[0], grey_without_channels: image[:, 0]}
    wanted = session.run(None, {"input": rank_three.get(build, image)})[0]
    explainer = sise_rt.load(tmp_path / "m.sise", provider="cpu")
    given = explainer.engine.forward(image)
    np.testing.assert_allclose(np.ravel(given), np.ravel(wanted), rtol=1e-4, atol=1e-4)


def test_a_rounded_picture_has_scores_and_no_gradient(tmp_path):
    onnx.save(rounded(), tmp_path / "m.onnx")
    report = export(tmp_path / "m.onnx", tmp_path / "m.sise")
    assert any("Round (node 'x') gives whole steps" in note for note in report.notes)
    assert report.manifest.has_gradients
    assert not report.manifest.graphs.image_gradient


def test_labels_and_scores_of_a_dictionary(tmp_path):
    names = ["a", "b", "c", "d", "e"]
    zipped = node("ZipMap", "scores", "loss", domain="ai.onnx.ml", classlabels_strings=names)
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.STRING, None),
        onnx.ValueInfoProto(name="loss"),
    ]
    best = node("ArgMax", "scores", "best", axis=1)
    named = node(
        "LabelEncoder", "best", "label", domain="ai.onnx.ml", keys_int64s=range(5), values_strings=names
    )
    built = model(
        head=[node("Gemm", "f w3", "z"), node("Softmax", "z", "scores"), best, named, zipped], outputs=outputs
    )
    onnx.save(built, tmp_path / "m.onnx")
    report = export(tmp_path / "m.onnx", tmp_path / "m.sise")
    assert report.manifest.labels == tuple(names)
    assert any("'scores'" in note and "dictionary" in note for note in report.notes)


def picture_decides():
    built = constant_if()
    for inner in built.graph.node:
        if inner.op_type == "Equal":
            inner.CopyFrom(node("Greater", "top half", "yes"))
        if inner.op_type == "Shape":
            inner.CopyFrom(node("ReduceMax", "input", "top", keepdims=0))
    built.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    return built


def two_views():
    flipped = [node("Slice", "input ends starts axes steps", "x")]
    views = []
    for view, source in (("a", "input"), ("b", "x")):
        views += [node("Conv", f"{source} w1", f"c{view}", **CONV), node("Relu", f"c{view}", f"r{view}")]
        views += [node("GlobalAveragePool", f"r{view}", f"g{view}"), node("Flatten", f"g{view}", f"f{view}")]
        views += [node("Gemm", f"f{view} w", f"z{view}")]
    built = model(
        weights=[
            ("w", W3[:8]),
            *(
                (n, np.array([v]))
                for n, v in (("ends", -1), ("starts", -(2**63)), ("axes", 3), ("steps", -1))
            ),
        ]
    )
    del built.graph.node[:]
    built.graph.node.extend([*flipped, *views, node("Add", "za zb", "output")])
    return built


REFUSED = {
    "optimised for a machine": (
        lambda: model(convs=[node("Conv", "input w1", "r2", domain="com.microsoft.nchwc", **CONV)]),
        "com.microsoft.nchwc.Conv is what onnxruntime saves",
    ),
    "fused with what is unknown": (
        lambda: model(convs=[fused("r2", "input w1", activation="Swirl")]),
        "FusedConv with activation 'Swirl'",
    ),
    "picture decides": (picture_decides, "the picture decides which branch this If takes"),
    "two views": (
        two_views,
        r"test-time augmentation.*choose the scores of one of them as the output: za or zb",
    ),
    "past the end": (lambda: split_sequence("three"), "Invalid sequence index .3."),
    "signal": (lambda: model(shape=["N", 3, 500]), "has rank 3: it takes signals"),
    "video": (lambda: model(shape=["N", 3, 8, 32, 32]), "has rank 5: it takes videos or volumes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_why_and_an_examination_says_the_same(tmp_path, case):
    build, words = REFUSED[case]
    onnx.save(build(), tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=words) as caught:
        export(tmp_path / "m.onnx", tmp_path / "m.sise")
    (refusal,) = examine(tmp_path / "m.onnx").refusals
    assert refusal.message == caught.value.message


def test_the_way_on_from_two_views_works(tmp_path):
    onnx.save(two_views(), tmp_path / "m.onnx")
    assert len(export(tmp_path / "m.onnx", tmp_path / "m.sise", output_name="zb").manifest.blocks) == 1


@pytest.mark.parametrize("places", [[0, 0], [99, 1], [-1, 2]], ids=str)
def test_a_damaged_sparse_weight(tmp_path, places):
    built = model()
    values = numpy_helper.from_array(np.ones(2, np.float32), "w4")
    indices = numpy_helper.from_array(np.array(places), "i")
    built.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [12, 5]))
    onnx.save(built, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="sparse weight 'w4' is damaged"):
        export(tmp_path / "m.onnx", tmp_path / "m.sise")
