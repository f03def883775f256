"""Verifying a bundle without its source."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import sise_rt
from sise_rt.bundle import MANIFEST, PROBE, WEIGHTS, sha256
from sise_rt.running.consistency import run_heads, shared_forward_error
from sise_rt.running.probe import probe_tensor, read_probe
from sise_rt.running.verify import TOLERANCES, failures, tolerances, verify


@pytest.fixture
def bundle(small_bundle, tmp_path) -> Path:
    """A copy that the test may break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copy.sise"))


def rehash(bundle: Path) -> None:
    data = json.loads((bundle / MANIFEST).read_text("utf-8"))
    data["files"] = {path: sha256(bundle / path) for path in data["files"]}
    (bundle / MANIFEST).write_text(json.dumps(data), "utf-8")


def test_a_sound_bundle_verifies(small_bundle):
    errors = verify(sise_rt.load(small_bundle, "cpu").engine)
    assert list(errors) == list(TOLERANCES)
    assert failures(errors, TOLERANCES) == []
    assert "differences" in tolerances(sise_rt.load(small_bundle, "cpu").manifest)
    assert max(errors["logits"], errors["maps"], errors["alpha"], errors["chain"]) < 1e-5


@pytest.fixture
def vanishing(normalised_bundle, tmp_path) -> Path:
    """A copy of a bundle whose first block's gradient scores are nothing but rounding."""
    return Path(shutil.copytree(normalised_bundle, tmp_path / "copy.sise"))


def rounded(bundle: Path) -> float:
    """How far the first block's scores for the probe picture may be off."""
    engine = sise_rt.load(bundle, "cpu").engine
    probe = read_probe(engine.sessions)
    image, targets = probe_tensor(probe.image, engine.manifest.preprocess), np.array([probe.target])
    return run_heads(engine.sessions, targets, engine.features(image, targets)).rounding[0]


def scores_stored(bundle: Path, change) -> None:
    """Change the first block's scores in the probe, as they might have been found elsewhere."""
    with np.load(bundle / PROBE) as stored:
        arrays = dict(stored)
    arrays["alpha_1"] = change(arrays["alpha_1"]).astype(np.float32)
    np.savez_compressed(bundle / PROBE, **arrays)
    rehash(bundle)


@pytest.mark.parametrize("share", [-0.9, 0.0, 0.5])
def test_scores_that_were_rounded_otherwise_elsewhere_verify(vanishing, share):
    least = rounded(vanishing)
    scores_stored(vanishing, lambda alpha: share * least * np.cos(np.arange(alpha.size)))
    engine = sise_rt.load(vanishing, "cpu").engine
    assert failures(verify(engine), tolerances(engine.manifest)) == []


@pytest.mark.parametrize("share", [1.2, 1e4])
def test_scores_that_differ_by_more_than_rounding_do_not_verify(vanishing, share):
    least = rounded(vanishing)
    scores_stored(vanishing, lambda alpha: alpha + share * least * (np.arange(alpha.size) == 3))
    errors = verify(sise_rt.load(vanishing, "cpu").engine)
    assert [line.split()[0] for line in failures(errors, TOLERANCES)] == ["alpha"]


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_several_targets_may_round_otherwise_than_each_alone(vanishing, share):
    """The features graph, whose first block's scores are moved where it takes several targets."""
    engine = sise_rt.load(vanishing, "cpu").engine
    graph, least = engine.features_graph, rounded(vanishing)

    def moved(_, inputs):
        outputs = graph.session.run(None, inputs)
        scores = outputs[len(engine.manifest.blocks)]
        return [a + share * least * (len(a) > 1) if a is scores else a for a in outputs]

    image = probe_tensor(read_probe(engine.sessions).image, engine.manifest.preprocess)
    other = replace(graph, session=SimpleNamespace(run=moved))
    targets = np.array([read_probe(engine.sessions).target] * 2)
    error = shared_forward_error(engine.sessions, other, image, targets)
    assert (error <= TOLERANCES["chain"]) is (share < 1)


def test_differences_add_nothing_to_autograd(bundle):
    data = json.loads((bundle / MANIFEST).read_text("utf-8"))
    data["parity"]["compared"]["alpha"] = len(data["blocks"])
    (bundle / MANIFEST).write_text(json.dumps(data), "utf-8")
    explainer = sise_rt.load(bundle, "cpu")
    assert tolerances(explainer.manifest).keys() == TOLERANCES.keys() - {"differences"}
    assert "differences" not in verify(explainer.engine)


@pytest.mark.parametrize(
    ("graph", "output", "errors"),
    [
        ("forward", "logits", ["chain", "score"]),
        ("last_block_gradient", "last_block_gradient", ["chain"]),
        ("image_gradient", "image_gradient", ["image_gradient"]),
        ("score", "confidences", ["score"]),
    ],
)
def test_every_graph_is_compared(bundle, graph, output, errors):
    assert failures(verify(sise_rt.load(bundle, "cpu").engine), TOLERANCES) == []
    path = bundle / f"{graph}.onnx"
    model = onnx.load(path, load_external_data=False)
    node = next(node for node in model.graph.node if output in node.output)
    node.output[list(node.output).index(output)] = "before"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.1), "factor"))
    model.graph.node.append(helper.make_node("Mul", ["before", "factor"], [output]))
    for other in model.graph.node:
        if other is not node:
            other.input[:] = ["before" if name == output else name for name in other.input]
    path.write_bytes(model.SerializeToString())
    rehash(bundle)
    failed = failures(verify(sise_rt.load(bundle, "cpu").engine), TOLERANCES)
    assert [line.split()[0] for line in failed] == errors


def test_other_weights_are_found_out(bundle):
    weights = np.fromfile(bundle / WEIGHTS, np.float32)
    middle = slice(len(weights) // 4, len(weights) // 2)
    weights[middle] *= 1.01
    weights.tofile(bundle / WEIGHTS)
    rehash(bundle)
    errors = verify(sise_rt.load(bundle, "cpu").engine)
    found = {line.split()[0] for line in failures(errors, TOLERANCES)}
    assert {"logits", "maps"} <= found
    assert "chain" not in found, "the graphs agree with each other"


@pytest.mark.parametrize("block", [0, -1])
def test_what_is_no_number_fails_in_any_block(small_bundle, monkeypatch, block):
    engine = sise_rt.load(small_bundle, "cpu").engine
    real = type(engine).features

    def features(self, images, targets):
        linked = real(self, images, targets)
        maps = [a.copy() for a in linked.maps]
        maps[block][..., 0, 0] = np.nan
        return linked._replace(maps=maps)

    monkeypatch.setattr(type(engine), "features", features)
    assert np.isnan(verify(engine)["maps"])


def test_failures_name_what_is_above_or_no_number():
    errors = {"logits": 1e-9, "maps": float("nan"), "chain": 1.0}
    assert failures(errors, TOLERANCES) == ["maps nan is above 1e-03", "chain 1.0e+00 is above 1e-04"]
