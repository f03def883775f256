"""How far a bundle's graphs are from each other."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sise_rt.bundle import read_bundle
from sise_rt.errors import BundleError
from sise_rt.running.consistency import chain_error, differences_error, relative_error, run_heads
from sise_rt.running.passes import FeaturePass, run_features
from sise_rt.running.sessions import Sessions


def test_relative_error():
    reference = np.array([1.0, -4.0])
    assert relative_error(np.array([1.0, -3.0]), reference) == 0.25
    assert relative_error(np.array([0.5]), np.zeros(1)) == 0.5
    assert relative_error(np.zeros(0), np.zeros(0)) == 0
    assert np.isnan(relative_error(np.array([np.nan]), np.ones(1)))


@pytest.fixture
def sessions(small_bundle):
    return Sessions(small_bundle, read_bundle(small_bundle), "cpu")


def passed(sessions):
    """An image, a target, and what the features graph and the heads give for them."""
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    targets = np.array([2])
    linked = run_features(sessions.open("features"), sessions.manifest, image, targets)
    return image, targets, linked, run_heads(sessions, targets, linked)


@pytest.mark.parametrize("part", ["maps", "alphas", "logits"])
def test_the_chain_sees_every_part(sessions, part):
    image, targets, linked, heads = passed(sessions)
    assert chain_error(sessions, image, targets, linked, heads) < 1e-5
    values = getattr(linked, part)
    changed = values * 1.1 if part == "logits" else [*values[:-1], values[-1] * np.float32(1.1)]
    assert chain_error(sessions, image, targets, linked._replace(**{part: changed}), heads) > 1e-2


@pytest.mark.parametrize("block", [0, 1, 2])
def test_scores_that_are_no_number_are_an_error_of_the_chain(sessions, block):
    image, targets, linked, heads = passed(sessions)
    heads.alphas[block][0, 1] = np.nan
    assert np.isnan(chain_error(sessions, image, targets, linked, heads))


def test_results_of_another_shape_are_refused(sessions, monkeypatch):
    image, targets, linked, heads = passed(sessions)
    real = Sessions.open

    def cut(self, name):
        graph = real(self, name)
        run = lambda _, inputs: [value[..., :-1] for value in graph.session.run(None, inputs)]  # noqa: E731
        return replace(graph, session=SimpleNamespace(run=run))

    monkeypatch.setattr(Sessions, "open", cut)
    with pytest.raises(BundleError, match=r"blocks.01\.onnx does not fit the manifest"):
        chain_error(sessions, image, targets, linked, heads)


def test_without_gradients_there_is_no_way_back(sessions):
    image, targets, linked, _ = passed(sessions)
    bare = FeaturePass(linked.maps, [], linked.logits)
    heads = run_heads(sessions, targets, bare)
    assert heads == ([], [])
    assert chain_error(sessions, image, targets, bare, heads) < 1e-5


def test_an_output_that_is_always_0_has_no_error(cnn, tmp_path):
    import onnx
    from sise_rt.export import export

    model = onnx.load(cnn(tmp_path / "zero.onnx"))
    for weight in model.graph.initializer:
        if weight.name.startswith("head."):
            weight.raw_data = bytes(len(weight.raw_data))
    onnx.save(model, tmp_path / "zero.onnx")
    bundle = export(tmp_path / "zero.onnx", tmp_path / "zero.sise", activation="none").path
    sessions = Sessions(bundle, read_bundle(bundle), "cpu")
    _, targets, linked, heads = passed(sessions)
    assert heads.rounding == [0, 0, 0]
    assert not any(alpha.any() for alpha in linked.alphas)
    assert differences_error(sessions, targets, linked) == 0
