"""One preparation for an export and an examination: what is said before is what is done."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sise_rt.export import export
from sise_rt.export.examine import examine
from sise_rt.export.preparation import prepare

from sise_rt.errors import SiseError


def mutilated(model, path, change):
    loaded = onnx.load(model)
    change(loaded)
    onnx.save(loaded, path)
    return path


def with_a_mean_that_is_none(model):
    model.metadata_props.add(key="mean", value="grey")


def with_labels_that_do_not_fit(model):
    model.metadata_props.add(key="names", value="{0: 'a', 7: 'b'}")


@pytest.mark.parametrize("options", [{}, {"tail": "Softmax"}, {"classes": 1}, {"size": None}])
def test_an_examination_says_what_an_export_does(cnn, tmp_path, options):
    path = cnn(tmp_path / "m.onnx", **options)
    examined, report = examine(path), export(path, tmp_path / "m.sise")
    assert examined.refusals == ()
    assert examined.notes == report.notes
    assert examined.size == report.manifest.preprocess.input_size
    assert (examined.classes, examined.activation) == (report.manifest.classes, report.manifest.activation)
    assert examined.blocks == report.manifest.blocks


@pytest.mark.parametrize(
    ("change", "message", "setting"),
    [
        (
            with_labels_that_do_not_fit,
            "names has no label of class 1: there are 2 labels, with indices from 0 to 7",
            "labels",
        ),
        (with_a_mean_that_is_none, "mean is 'grey', where a number, or one a channel, is needed", "mean"),
    ],
)
def test_what_the_model_says_wrongly_is_refused_before(small_model, tmp_path, change, message, setting):
    path = mutilated(small_model, tmp_path / "m.onnx", change)
    (refusal,) = examine(path).refusals
    assert refusal.settings == (setting,)
    with pytest.raises(SiseError) as error:
        export(path, tmp_path / "m.sise")
    assert error.value.message == refusal.message == f"the model's metadata: {message}"


def test_the_manifest_names_every_graph_before_there_are_any(small_model, tmp_path):
    prepared = prepare(small_model, tmp_path)
    cuts = prepared.find_blocks(None)
    manifest = prepared.manifest("small", cuts)
    assert manifest.graphs.blocks == ("blocks/01.onnx", "blocks/02.onnx", "blocks/03.onnx")
    assert manifest.graphs.heads == ("heads/01.onnx", "heads/02.onnx", "heads/03.onnx")
    assert manifest.graphs.image_gradient == "image_gradient.onnx"
    bare = prepared.manifest("small", cuts, gradients=False).graphs
    assert (bare.heads, bare.forward, bare.last_block_gradient) == ((), "forward.onnx", "")


@pytest.mark.parametrize(("classes", "two_sided"), [(1, True), (2, False)])
def test_a_single_logit_has_two_sides(cnn, tmp_path, classes, two_sided):
    labels = ["scratch", "none"][:classes]
    prepared = prepare(cnn(tmp_path / "m.onnx", classes=classes), tmp_path, labels=labels)
    assert prepared.network.two_sided is two_sided
    assert prepared.labels == (("not scratch", "scratch") if two_sided else ("scratch", "none"))


@pytest.fixture
def free(cnn, tmp_path):
    """A network of unpadded convolutions that leaves its input size free."""

    def leave_free(model):
        for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
            dim.dim_param = name
        for node in model.graph.node:
            for attribute in node.attribute if node.op_type == "Conv" and "shortcut" not in node.name else ():
                if attribute.name == "pads":
                    attribute.ints[:] = [0] * 4

    return mutilated(cnn(tmp_path / "m.onnx"), tmp_path / "free.onnx", leave_free)


def test_an_input_size_on_which_the_model_does_not_run(free, tmp_path):
    (refusal,) = examine(free, input_size=(3, 4)).refusals
    says = "the model does not run on 3x4 pixels, a size that it leaves free: give the one that it was "
    assert refusal.message.startswith(says)
    assert "ONNXRuntimeError" not in refusal.message
    assert refusal.settings == ("input_size",)


def test_an_input_size_is_not_blamed_for_something_else(cnn, tmp_path):
    path = mutilated(cnn(tmp_path / "m.onnx", tail="Softmax"), tmp_path / "free.onnx", lambda model: None)
    for wanted in ((32, 32), None):
        (refusal,) = examine(path, input_size=wanted, activation="sigmoid").refusals
        assert "ends in softmax" in refusal.message


def test_what_outputs_mean_is_told_by_the_same_pictures(cnn, tmp_path):
    path = mutilated(cnn(tmp_path / "m.onnx", classes=1), tmp_path / "steep.onnx", with_steep_scores)
    (refusal,) = examine(path).refusals
    assert refusal.message.startswith("it is unclear what the model's only output is: it reaches")
    with pytest.raises(SiseError) as error:
        export(path, tmp_path / "m.sise")
    assert error.value.message == refusal.message
    darker = {"mean": 0, "std": 30}
    examined, report = examine(path, preprocess=darker), export(path, tmp_path / "m.sise", preprocess=darker)
    assert examined.refusals == ()
    assert examined.notes == report.notes
    assert "assumed: activation sigmoid, as the model ends in a single logit" in report.notes


def with_steep_scores(model):
    """Scores that depend on how bright the pictures are: no biases, and a steep head."""
    for weight in model.graph.initializer:
        value = numpy_helper.to_array(weight)
        if weight.name.endswith("bias") or weight.name.endswith(".mean"):
            value = np.zeros_like(value)
        elif weight.name == "head.weight":
            value = 300 * value
        weight.CopyFrom(numpy_helper.from_array(value, weight.name))
