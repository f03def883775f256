"""What a graph gives is held against what the manifest says of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bundle import MANIFEST, sha256
from sise_rt.errors import BundleError
from sise_rt.running.verify import TOLERANCES, failures, verify

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

PICTURE = np.random.default_rng(5).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def changed(bundle: Path, folder: Path, graph: str, output: str, made_by) -> Path:
    """A copy whose graph gives `made_by(value, place)` under the name of an output; the hashes fit."""
    shutil.copytree(bundle, folder)
    path = folder / f"{graph}.onnx"
    model = onnx.load(path, load_external_data=False)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["before" if name == output else name for name in names]
    made_by(model.graph, "before", output)
    path.write_bytes(model.SerializeToString())
    data = json.loads((folder / MANIFEST).read_text("utf-8"))
    data["files"] = {path: sha256(folder / path) for path in data["files"]}
    (folder / MANIFEST).write_text(json.dumps(data), "utf-8")
    return folder


def sliced(graph, value, output):
    """The first N + 1 along the second axis, or what there is: no file tells how many."""
    for name, numbers in (("zero", [0]), ("one", [1])):
        graph.initializer.append(numpy_helper.from_array(np.array(numbers), name))
    graph.node.extend(
        [
            helper.make_node("Shape", [value], ["images_of_the_pass"], start=0, end=1),
            helper.make_node("Add", ["images_of_the_pass", "one"], ["some"]),
            helper.make_node("Slice", [value, "zero", "some", "one"], [output]),
        ]
    )


def deepened(graph, value, output):
    """One axis more, which the file does not declare."""
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "zero"))
    graph.node.append(helper.make_node("Unsqueeze", [value, "zero"], [output]))
    next(o for o in graph.output if o.name == output).type.tensor_type.ClearField("shape")


def doubled(graph, value, output):
    """Every row twice."""
    graph.node.append(helper.make_node("Concat", [value, value], [output], axis=0))


@pytest.mark.parametrize(
    ("graph", "output", "change", "method", "what"),
    [
        ("features", "logits", sliced, "sise", r"\(1, 2\), and float32 \(1, 5\) is described"),
        ("features", "alpha_1", sliced, "sise", r"\(1, 2\), and float32 \(1, 8\)"),
        ("score", "confidences", doubled, "sise", r"\(4, 1\), and float32 \(2, 1\)"),
        ("score", "area", doubled, "sise", r"\(4,\), and float32 \(2,\)"),
        ("forward", "logits", doubled, "rise:masks=8", r"\(\d, 5\), and float32 \(\d, 5\)"),
        ("last_block_gradient", "last_block_gradient", sliced, "grad-cam", r"\(1, 2, .*\(1, 16, "),
        ("image_gradient", "image_gradient", doubled, "integrated-gradients", r".*\(\d, 3, 32, 32\)"),
    ],
)
def test_a_run_that_gives_another_shape_is_refused(
    small_bundle, tmp_path, graph, output, change, method, what
):
    bundle = changed(small_bundle, tmp_path / "a.sise", graph, output, change)
    words = rf"{graph}\.onnx does not fit the manifest: {output} is float32 {what}"
    with pytest.raises(BundleError, match=words):
        sise_rt.load(bundle, "cpu").explain(PICTURE, 0, method=method, batch_size=2)


@pytest.mark.parametrize("graph", ["blocks/01", "blocks/03", "heads/01", "heads/03", "classifier"])
def test_verify_sees_the_pieces_as_well(small_bundle, tmp_path, graph):
    model = onnx.load(small_bundle / f"{graph}.onnx", load_external_data=False)
    output = model.graph.output[-1].name
    bundle = changed(small_bundle, tmp_path / "a.sise", graph, output, sliced)
    with pytest.raises(BundleError, match=rf"{graph}\.onnx does not fit the manifest: {output} is float32"):
        verify(sise_rt.load(bundle, "cpu").engine)


def test_another_rank_is_refused(small_bundle, tmp_path):
    bundle = changed(small_bundle, tmp_path / "a.sise", "forward", "logits", deepened)
    with pytest.raises(BundleError, match=r"forward\.onnx does not fit the manifest"):
        verify(sise_rt.load(bundle, "cpu").engine)


def cast(graph, value, output):
    graph.node.append(helper.make_node("Cast", [value], [output], to=onnx.TensorProto.DOUBLE))
    declared = next(o for o in graph.output if o.name == output)
    declared.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def test_another_type_is_refused_when_the_graph_is_opened(small_bundle, tmp_path):
    bundle = changed(small_bundle, tmp_path / "a.sise", "forward", "logits", cast)
    with pytest.raises(BundleError, match=r"forward\.onnx does not fit the manifest"):
        verify(sise_rt.load(bundle, "cpu").engine)


def negated(graph, value, output):
    graph.node.append(helper.make_node("Neg", [value], [output]))


def times(number):
    """What multiplies by a number."""

    def change(graph, value, output):
        graph.initializer.append(numpy_helper.from_array(np.float32(number), "factor"))
        graph.node.append(helper.make_node("Mul", [value, "factor"], [output]))

    return change


@pytest.mark.parametrize("output", ["minimum", "maximum", "area"])
@pytest.mark.parametrize("change", [negated, times(0), times(np.nan), times(np.inf), times(1.01)])
def test_verify_sees_every_output_of_the_score_graph(small_bundle, tmp_path, output, change):
    explainer = sise_rt.load(changed(small_bundle, tmp_path / "a.sise", "score", output, change), "cpu")
    try:
        errors = verify(explainer.engine)
    except BundleError as error:
        assert "which cannot be" in str(error)  # noqa: PT017
    else:
        assert [line.split()[0] for line in failures(errors, TOLERANCES)] == ["masks"]


@pytest.mark.parametrize("output", ["maximum", "area"])
@pytest.mark.parametrize("change", [negated, times(0), times(np.nan)])
def test_no_explanation_is_made_of_masks_that_cannot_be(small_bundle, tmp_path, output, change):
    explainer = sise_rt.load(changed(small_bundle, tmp_path / "a.sise", "score", output, change), "cpu")
    with pytest.raises(BundleError, match=r"score\.onnx gives a minimum of .*, which cannot be: export"):
        explainer.explain(PICTURE, 0)
