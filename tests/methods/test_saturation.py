"""Masks that all score alike, log-odds in place of probabilities, and a model's output as it is."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sise_rt.export import export

import sise_rt
from sise_rt.errors import ArgumentError
from sise_rt.methods import Query
from sise_rt.methods.query import Nothing
from sise_rt.methods.unexplained import undecided, unseen
from sise_rt.metrics.check import check
from sise_rt.phases.masks import constant_maps, select
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.logits import log_odds

SATURATED = "so sure that its probabilities are saturated"


def bundle_of(cnn, folder, change, **options):
    """The small network with its head's bias (5,) changed."""
    path = cnn(folder / "m.onnx", classes=options.pop("classes", 5))
    model = onnx.load(path)
    bias = next(w for w in model.graph.initializer if w.name == "head.bias")
    bias.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(bias)).astype("f4"), "head.bias"))
    onnx.save(model, path)
    return sise_rt.load(export(path, folder / "m.sise", **options).path, "cpu")


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def saturated(cnn, tmp_path_factory):
    """Of five classes the second is sure, whatever the picture is."""
    return bundle_of(cnn, tmp_path_factory.mktemp("saturated"), lambda b: b + 90 * (np.arange(5) == 1))


@pytest.fixture(scope="module")
def plain(cnn, tmp_path_factory):
    return bundle_of(cnn, tmp_path_factory.mktemp("plain"), lambda b: b)


@pytest.fixture(scope="module")
def raw(cnn, tmp_path_factory):
    """A model of two outputs, explained as they are: the second is far from 0."""
    shifted = {"activation": "none", "classes": 2}
    return bundle_of(cnn, tmp_path_factory.mktemp("raw"), lambda b: b + np.array([-50, 50]), **shifted)


@pytest.mark.parametrize("method", ["sise", "ada-sise", "score-cam", "sise:budget=0.5"])
def test_saturated_masks_are_said(saturated, picture, method):
    explanation = saturated.explain(picture, method=method)
    assert (explanation.target, explanation.confidence) == (1, 1.0)
    (said,) = [line for line in explanation.warnings if SATURATED in line]
    assert "it is above 0.999 under each" in said
    assert "the map shows the masks alone" in said
    assert "blank" not in said


def test_saturated_masks_are_no_evidence_for_rise(saturated, picture):
    with pytest.raises(sise_rt.NoEvidence, match=SATURATED) as caught:
        saturated.explain(picture, method="rise:masks=20")
    assert "blank" not in str(caught.value)


@pytest.mark.parametrize("method", ["sise", "ada-sise", "score-cam"])
def test_the_other_side_of_a_saturated_head_is_no_evidence(cnn, tmp_path, picture, method):
    """A probability of exactly 0 does not mean that the picture is blank."""
    sure = bundle_of(cnn, tmp_path, lambda b: b + 200, classes=1, activation="sigmoid")
    with pytest.raises(sise_rt.NoEvidence, match=f"no masked copy any confidence.*{SATURATED}") as caught:
        sure.explain(picture, target=0, method=method)
    assert "blank" not in str(caught.value)


def test_what_is_said_of_an_output_speaks_of_no_class(cnn, tmp_path, picture):
    """Of two outputs the first is the same for every picture: no map speaks for it."""
    path = cnn(tmp_path / "m.onnx", classes=2)
    model = onnx.load(path)
    weight = next(w for w in model.graph.initializer if w.name == "head.weight")
    still = numpy_helper.to_array(weight) * np.array([[0], [1]], "f4")
    weight.CopyFrom(numpy_helper.from_array(still, "head.weight"))
    onnx.save(model, path)
    explainer = sise_rt.load(export(path, tmp_path / "m.sise", activation="none").path, "cpu")
    with pytest.raises(sise_rt.NoEvidence, match="nothing in it may raise the output") as caught:
        explainer.explain(picture, target=0)
    assert "class" not in str(caught.value)


def test_others_are_not_warned_of(plain, picture):
    assert not any("no mask changes" in line for line in plain.explain(picture).warnings)


def test_log_odds_see_through_saturation(saturated, plain, picture):
    """The bias moves no map and no difference of log-odds: the map is that of the same class without it."""
    one = saturated.explain(picture, target=1, scores="log-odds")
    other = plain.explain(picture, target=1, scores="log-odds")
    assert not any("no mask changes" in line for line in one.warnings)
    assert one.settings["scores"] == "log-odds"
    np.testing.assert_allclose(one.raw, other.raw, atol=2e-3)


@pytest.mark.parametrize("name", ["plain", "raw"])
def test_the_last_block_by_its_equations(name, picture, request):
    """V_b of eq. 10-12 with scores counted from the smallest, in float64."""
    explainer = request.getfixturevalue(name)
    explanation = explainer.explain(picture, target=1, scores="log-odds", batch_size=4)
    image = explainer.prepare(picture).tensor
    linked, lowest = explainer.engine.features(image, np.array([1])), np.inf
    for (maps,), (alpha,) in zip(linked.maps, linked.alphas, strict=True):
        chosen = np.flatnonzero(select(alpha, 0.0) & ~constant_maps(maps))
        resized = np.array([resize_map(maps[k], (32, 32)) for k in chosen], np.float64)
        masks = resized - resized.min(axis=(1, 2), keepdims=True)
        masks /= masks.max(axis=(1, 2), keepdims=True)
        logits = explainer.engine.forward((image * masks[:, None]).astype(np.float32))
        scores = log_odds(logits, 1, explainer.manifest.activation)
        lowest = min(lowest, scores.min())
    scores -= lowest
    v = np.einsum("k,khw->hw", scores / masks.sum(axis=(1, 2)), masks)
    v = (v - v.min()) / np.ptp(v)
    np.testing.assert_allclose(explanation.blocks[-1].visualization, v, atol=2e-3)


def test_an_output_is_explained_as_it_is(raw, plain, picture):
    explanation = raw.explain(picture, target=1)
    output = raw.engine.forward(raw.prepare(picture).tensor)[0, 1]
    record = json.loads(json.dumps(explanation.record()))
    assert (record["activation"], record["confidence"]) == ("none", pytest.approx(float(output)))
    assert output > 30
    assert f"output {output:.4g}" in repr(explanation)
    assert explanation.map.max() == 1
    assert not any("no mask changes" in line for line in explanation.warnings)


def test_an_offset_of_the_output_changes_no_map(cnn, tmp_path, raw, picture):
    """What is far from 0 is not all alike: scores are counted from the smallest."""
    near = bundle_of(cnn, tmp_path, lambda b: b, activation="none", classes=2)
    for method in ("sise", "score-cam", "rise:masks=40", "sise:budget=0.5", "grad-cam"):
        one, other = (e.explain(picture, target=1, method=method) for e in (raw, near))
        np.testing.assert_allclose(one.map, other.map, atol=5e-3, err_msg=method)


def test_probabilities_are_needed_to_judge_a_map(raw, picture):
    explanation = raw.explain(picture, target=1)
    with pytest.raises(ArgumentError, match="need probabilities") as caught:
        check(raw.engine, explanation, picture)
    assert caught.value.settings == ("check", "metrics")


def changed_head(cnn, folder, change, activation="softmax"):
    """The bundle of the small network with nodes behind its logits."""
    path = cnn(folder / "m.onnx", classes=5)
    model = onnx.load(path)
    last = next(node for node in model.graph.node if model.graph.output[0].name in node.output)
    name = last.output[0]
    last.output[0] = "z"
    nodes, constants = change("z", name)
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.float32(v), k) for k, v in constants.items())
    onnx.save(model, path)
    return sise_rt.load(export(path, folder / "m.sise", activation=activation).path, "cpu")


@pytest.fixture(scope="module")
def flat(cnn, tmp_path_factory):
    """A hard sigmoid that is 1 for the second class, whatever the picture is."""

    def change(z, name):
        nodes = [
            helper.make_node("Add", [z, "up"], ["raised"], "raise"),
            helper.make_node("HardSigmoid", ["raised"], [name], "hard"),
        ]
        return nodes, {"up": 1e3 * (np.arange(5) == 1)}

    return changed_head(cnn, tmp_path_factory.mktemp("flat"), change, activation="sigmoid")


def asked(explainer, picture, logits):
    return Query(explainer.engine, explainer.prepare(picture), np.array([0]), np.array(logits))


def test_a_head_without_a_gradient_is_laid_to_saturation(plain, picture):
    sure, unsure = (asked(plain, picture, [z, 0, 0, 0, 0]) for z in (90, 1))
    for what in ("no feature map speaks", "no pixel speaks"):
        told = unseen(sure, 0, what)
        assert told.advice.startswith(
            "The model is sure of it all the same (above 0.999): its head may be saturated"
        )
        assert "score-cam and rise" in told.advice
        assert (told.what, unseen(unsure, 0, what).advice) == (what, Nothing().advice)


def test_a_shared_score_may_hide_behind_a_softmax(plain, picture):
    told = undecided(asked(plain, picture, [1, 0, 0, 0, 0]), 0.4)
    assert told.advice.endswith("or may rise and fall together, which a softmax does not show")


@pytest.mark.parametrize(
    "method",
    [
        *("sise", "ada-sise", "grad-cam", "grad-cam++", "hirescam", "layercam", "xgrad-cam", "smoothgrad"),
        *("refinecam", "winsor-cam"),
        "extremal-perturbation",
    ],
)
def test_every_method_by_gradients_says_that_the_head_is_saturated(flat, picture, method):
    with pytest.raises(sise_rt.NoEvidence) as caught:
        flat.explain(picture, target=1, method=method)
    assert (
        "The model is sure of it all the same (above 0.999): its head may be saturated"
        in caught.value.message
    )
    assert "blank" not in caught.value.message
