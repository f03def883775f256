"""Parity at export: what passes, and that a wrong gradient or a wrong map does not."""

import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sise_rt.export import export
from sise_rt.export.examine import examine
from sise_rt.export.gradients import rules
from sise_rt.export.proof.original import by_file
from sise_rt.export.proof.parity import EXPORT_TOLERANCES, probe_picture

import sise_rt
from sise_rt.bundle import read_bundle
from sise_rt.errors import ModelError, ParityError, SiseError
from sise_rt.manifest import Compared
from sise_rt.running.verify import failures, tolerances, verify


@pytest.mark.parametrize("tail", ["", "Softmax", "LogSoftmax", "Sigmoid"])
@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_small_models_pass(cnn, tmp_path, tail, batch):
    report = export(cnn(tmp_path / "m.onnx", tail=tail, batch=batch), tmp_path / "m.sise")
    parity = report.manifest.parity
    assert parity.reference == "the original ONNX model"
    assert parity.errors.keys() == {
        *("logits", "maps", "chain", "score", "masks", "tangents", "differences", "image_gradient")
    }
    assert parity.errors["tangents"] < 1e-5
    assert parity.errors["logits"] < 1e-5
    assert parity.errors["maps"] < 1e-5
    assert parity.errors["chain"] < 1e-6
    assert parity.errors["differences"] < 2e-2
    with np.load(report.path / "parity.npz") as stored:
        assert ("confidences" if tail else "logits") in stored.files


@pytest.mark.parametrize("tail", ["", "Sigmoid"])
def test_single_logit_passes(cnn, tmp_path, tail):
    report = export(cnn(tmp_path / "m.onnx", tail=tail, classes=1), tmp_path / "m.sise")
    assert report.manifest.classes == 2
    assert report.manifest.labels == ("negative", "positive")


def wrong_relu(op, g, y, x):
    return (g,)


def wrong_add(op, g, y, a, b):
    return g, op.Mul(g, op.constant(0.5))


@pytest.mark.parametrize(("op_type", "rule"), [("Relu", wrong_relu), ("Add", wrong_add)])
@pytest.mark.parametrize("existing", [True, False])
def test_a_wrong_rule_fails_and_leaves_nothing(small_model, tmp_path, monkeypatch, op_type, rule, existing):
    output = tmp_path / "m.sise"
    if existing:
        export(small_model, output)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    monkeypatch.setitem(rules.RULES, op_type, rule)
    with pytest.raises(ParityError, match=r"differ from the source's .*: .*tangents .* is above"):
        export(small_model, output, overwrite=True)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    if existing:
        read_bundle(output)


def with_tail(path, small_model, power: float, low: float):
    """The small network with generalised-mean pooling: differences of whole maps leave the domain of Pow."""
    model = onnx.load(small_model)
    nodes = [node for node in model.graph.node if node.op_type != "GlobalAveragePool"]
    values = {"low": low, "p": power, "root": 1 / power}
    model.graph.initializer.extend(numpy_helper.from_array(np.float32(v), k) for k, v in values.items())
    place = next(i for i, node in enumerate(nodes) if node.op_type == "Flatten")
    nodes[place:place] = [
        helper.make_node("Max", ["b.relu", "low"], ["clipped"], "clipped"),
        helper.make_node("Pow", ["clipped", "p"], ["powers"], "powers"),
        helper.make_node("GlobalAveragePool", ["powers"], ["mean of powers"], "mean of powers"),
        helper.make_node("Pow", ["mean of powers", "root"], ["mean"], "mean"),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("power", [3.0, 2.5])
def test_generalised_mean_pooling_passes(small_model, tmp_path, power):
    path = with_tail(tmp_path / "gem.onnx", small_model, power, 1e-6)
    parity = export(path, tmp_path / "m.sise").manifest.parity
    assert parity.errors["tangents"] < 1e-5
    assert parity.errors["image_gradient"] < 1e-4


@pytest.mark.parametrize("measure", [lambda *_: float("nan"), lambda *_: 0.3])
def test_differences_that_err_do_not_refuse(small_model, tmp_path, monkeypatch, measure):
    from sise_rt.export.proof.parity import consistency

    from sise_rt.running.verify import tolerances

    monkeypatch.setattr(consistency, "differences_error", measure)
    manifest = export(small_model, tmp_path / "m.sise").manifest
    assert manifest.parity.unproven == ("differences",)
    assert "differences" not in manifest.parity.errors
    assert "differences" not in tolerances(read_bundle(tmp_path / "m.sise"))


def wrong_in_the_stem(op, g, y, x, *others, **attributes):
    """MaxPool's gradient is needed behind the picture only."""
    return (op.Mul(op.Expand(op.ReduceMean(g), op.constant([1])), op.Mul(x, op.constant(0.0))),)


def test_the_image_s_gradient_alone_refuses_nothing(small_model, tmp_path, monkeypatch):
    monkeypatch.setitem(rules.RULES, "MaxPool", wrong_in_the_stem)
    blocks = ["a.relu", "b.relu"]  # behind the max pooling
    report = export(small_model, tmp_path / "m.sise", blocks=blocks)
    manifest = report.manifest
    assert manifest.parity.unproven == ("image_gradient",)
    assert manifest.graphs.image_gradient == ""
    assert not (tmp_path / "m.sise" / "image_gradient.onnx").exists()
    assert "image_gradient.onnx" not in manifest.files
    assert any("it was not shown to be right" in note for note in report.notes)
    read_bundle(tmp_path / "m.sise")


def test_a_model_of_which_nothing_can_be_measured_is_exported_with_a_warning(
    small_model, tmp_path, monkeypatch
):
    from sise_rt.export.proof import slopes
    from sise_rt.export.proof.parity import consistency

    def unable(*_):
        raise ModelError("no kernel")

    monkeypatch.setattr(slopes, "carry", unable)
    monkeypatch.setattr(consistency, "differences_error", lambda *_: float("nan"))
    report = export(small_model, tmp_path / "m.sise")
    assert report.manifest.parity.unproven == ("tangents", "differences", "image_gradient")
    assert any("compared with nothing" in warning for warning in report.warnings)


def test_a_wrong_forward_pass_fails(small_model, tmp_path, monkeypatch):
    from sise_rt.export.proof import parity

    def other(*arguments):
        reference = by_file(*arguments)
        return replace(reference, output=reference.output + 0.1 * np.abs(reference.output).max())

    monkeypatch.setattr(parity, "by_file", other)
    with pytest.raises(ParityError, match=r"logits .* is above"):
        export(small_model, tmp_path / "m.sise")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_gives_nan_fails(small_model, tmp_path):
    model = onnx.load(small_model)
    head = next(node for node in model.graph.node if node.op_type == "Gemm")
    model.graph.node.append(helper.make_node("Log", [head.output[0]], ["y"], name="log"))
    model.graph.output[0].name = "y"
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(SiseError):
        export(tmp_path / "nan.onnx", tmp_path / "m.sise", activation="softmax")
    assert not (tmp_path / "m.sise").exists()


@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 7, 5)])
def test_probe_picture(shape):
    picture = probe_picture(*shape, seed=1)
    assert (picture.shape, picture.dtype) == (shape, np.uint8)
    assert (picture.min(), picture.max()) == (0, 255)
    np.testing.assert_array_equal(picture, probe_picture(*shape, seed=1))
    assert (picture != probe_picture(*shape, seed=2)).any()


def test_export_is_stricter_than_verify():
    assert EXPORT_TOLERANCES["alpha"] == 1e-3


@pytest.mark.parametrize("known", [0, 1])
def test_blocks_that_autograd_does_not_know_are_said(tmp_path, monkeypatch, known):
    torch = pytest.importorskip("torch")
    from sise_rt.export.proof import kinks

    nn = torch.nn
    net = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    )
    original = kinks.autograd_reference

    def renamed(*arguments):
        *others, tensors, values, merged = arguments
        return original(*others, tensors[:known], values, merged)

    monkeypatch.setattr(kinks, "autograd_reference", renamed)
    report = export(net, tmp_path / "m.sise", input_size=(32, 32))
    assert f"alpha compared with torch autograd for {known} of 2 blocks" in report.notes
    assert report.manifest.parity.compared == Compared(maps=known, alpha=known)
    reference = report.manifest.parity.reference
    assert reference == (
        "torch autograd, float64"
        if known
        else "torch's exported program, float64; slopes of its operators for alpha"
    )


def torch_net(torch):
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(16, 16, 3), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.ReLU6()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )


def test_units_on_the_other_side_of_their_kinks_are_no_error(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from sise_rt.export.proof import kinks

    original = kinks.autograd_reference

    def displaced(program, images, *others):
        """Rounding of another kind: the float64 run sees a picture that is off by a thousandth."""
        return original(program, images * 1.01 + 0.01, *others)

    monkeypatch.setattr(kinks, "autograd_reference", displaced)
    monkeypatch.setitem(EXPORT_TOLERANCES, "logits", 1.0)
    monkeypatch.setitem(EXPORT_TOLERANCES, "maps", 1.0)
    parity = export(torch_net(torch), tmp_path / "m.sise", input_size=(64, 64)).manifest.parity
    assert parity.reference == "torch autograd, float64, each unit on the bundle's side of its kink"
    assert parity.errors["alpha"] < 1e-5


@pytest.mark.parametrize(("op_type", "rule"), [("Relu", wrong_relu), ("MaxPool", wrong_relu)])
def test_a_wrong_rule_fails_on_either_side_of_the_kinks(tmp_path, monkeypatch, op_type, rule):
    torch = pytest.importorskip("torch")

    def wrong(op, g, y, x, **attributes):
        return rule(op, op.reshape_like(g, x), y, x) if op_type == "Relu" else (op.Mul(x, op.constant(0.01)),)

    monkeypatch.setitem(rules.RULES, op_type, wrong)
    with pytest.raises(ParityError, match=r"side of its kink\): .*alpha .* is above"):
        export(torch_net(torch), tmp_path / "m.sise", input_size=(64, 64))


# ------------------------------------------------------------------------------------ scores that vanish

BY_CHANCE = "gradient scores of block1 .* nothing but rounding, .* other blocks"


def normalised_net(torch, pool):
    """The first block's scores vanish, as what follows it does not see the level of a map."""
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), pool(nn), nn.InstanceNorm2d(8, affine=True)),
        *(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 12, 3), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)),
    ).eval()


POOLS = {
    "mean": lambda nn: nn.AvgPool2d(2),
    "convolution": lambda nn: nn.Conv2d(8, 8, 3, 2, padding=1, padding_mode="reflect"),
}


@pytest.mark.parametrize("pool", POOLS)
def test_scores_that_vanish_in_torch_are_compared_by_their_rounding(tmp_path, pool):
    torch = pytest.importorskip("torch")
    report = export(normalised_net(torch, POOLS[pool]), tmp_path / "m.sise", input_size=(24, 24))
    with np.load(report.path / "parity.npz") as stored:
        assert np.abs(stored["alpha_1"]).max() < 1e-12 * np.abs(stored["alpha_2"]).max()
    assert report.manifest.parity.compared.alpha == len(report.manifest.blocks) == 3
    explainer = sise_rt.load(report.path)
    assert failures(verify(explainer.engine), tolerances(explainer.manifest)) == []
    explanation = explainer.explain(np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8))
    assert np.isfinite(explanation.map).all()
    assert explanation.map.max() == 1
    assert re.search(BY_CHANCE, explanation.warnings[0])


def test_scores_that_vanish_in_a_file_are_compared_by_their_rounding(normalised_bundle):
    manifest = read_bundle(normalised_bundle)
    (warning,) = (line for line in manifest.warnings if "rounding" in line)
    assert re.search(BY_CHANCE, warning)
    assert "(stem.relu)" in warning
    assert manifest.parity.errors["tangents"] < 1e-4


def test_blocks_behind_the_normalisation_are_not_warned_of(normalised_model, tmp_path):
    blocks = ["normal", "a.relu", "b.relu"]
    report = export(normalised_model, tmp_path / "m.sise", blocks=blocks)
    assert [block.tensor for block in report.manifest.blocks] == blocks
    assert not [line for line in report.warnings if "rounding" in line]


def test_an_examination_warns_of_scores_that_vanish(normalised_model):
    assert [line for line in examine(normalised_model).warnings if re.search(BY_CHANCE, line)]


def not_centred(op, g, y, x, scale, bias, *, epsilon=1e-5):
    """The normalisation's gradient without the mean, whose own mean does not vanish."""
    return op.Mul(g, op.constant(0.7)), None, None


def off_by_a_little(op, g, y, x, scale, bias, *, epsilon=1e-5):
    """The right gradient, raised by a hundredth of its size where it should have a mean of 0."""
    right, *none = RIGHT(op, g, y, x, scale, bias, epsilon=epsilon)
    size = op.ReduceMean(op.Abs(right), op.constant([2, 3]), keepdims=1)
    return op.Add(right, op.Mul(size, op.constant(1e-2))), *none


RIGHT = rules.RULES["InstanceNormalization"]


@pytest.mark.parametrize(
    ("source", "rule"),
    [("torch", off_by_a_little), ("a file", off_by_a_little), ("a file", not_centred)],
)
def test_scores_that_do_not_vanish_though_they_should_fail(
    normalised_model, tmp_path, monkeypatch, source, rule
):
    model, error, size = normalised_model, "tangents", {}
    if source == "torch":
        torch = pytest.importorskip("torch")
        model, error, size = normalised_net(torch, POOLS["mean"]), "alpha", {"input_size": (24, 24)}
    monkeypatch.setitem(rules.RULES, "InstanceNormalization", rule)
    with pytest.raises(ParityError, match=f"{error} .* is above"):
        export(model, tmp_path / "m.sise", **size)
