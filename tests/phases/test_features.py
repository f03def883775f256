"""Feature maps, gradient scores and confidences; test_exactness.py holds them against torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.bundle import read_bundle
from sise_rt.errors import ModelError
from sise_rt.phases.features import extract, extract_best


@pytest.fixture(scope="module")
def explainer(small_bundle) -> sise_rt.Explainer:
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(9).standard_normal((1, 3, 32, 32)).astype(np.float32)


def test_several_targets_are_one_after_the_other(explainer, image):
    together = extract(explainer.engine, image, np.array([3, 0, 3]))
    assert together.passes == 1
    for row, target in enumerate((3, 0, 3)):
        alone = extract(explainer.engine, image, np.array([target]))
        assert all(np.array_equal(a[row], b[0]) for a, b in zip(together.alphas, alone.alphas, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(together.maps, alone.maps, strict=True))


def test_targets_are_split_by_the_memory(small_bundle, image, monkeypatch):
    needed = read_bundle(small_bundle).memory["backward"]
    engine, runs = sise_rt.load(small_bundle, "cpu", memory=2 * needed + 1).engine, []
    real = engine.features
    monkeypatch.setattr(engine, "features", lambda *given: runs.append(given[1].tolist()) or real(*given))
    split = extract(engine, image, np.arange(5))
    assert runs == [[0, 1], [2, 3], [4]]
    assert split.passes == 3
    whole = extract(sise_rt.load(small_bundle, "cpu").engine, image, np.arange(5))
    for a, b in zip(split.alphas, whole.alphas, strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-8)


def test_a_bundle_of_before_takes_a_target_a_run():
    """The one that is built in is of schema 1.2."""
    demo = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
    engine = sise_rt.load(demo, "cpu").engine
    image = np.random.default_rng(9).standard_normal((1, *engine.manifest.preprocess.input_size), np.float32)
    together = extract(engine, image, np.array([2, 0]))
    assert (engine.manifest.shared_forward, together.passes) == (False, 2)
    for row, target in enumerate((2, 0)):
        alone = extract(engine, image, np.array([target]))
        assert all(np.array_equal(a[row], b[0]) for a, b in zip(together.alphas, alone.alphas, strict=True))


@pytest.mark.parametrize("count", [1, 3, 9])
@pytest.mark.parametrize("schema", ["1.5", "1.2", "1.1"])
def test_the_best_classes_need_not_be_known(explainer, image, monkeypatch, schema, count):
    """They cost one run together; in an older bundle one each, and in the oldest another for the logits."""
    engine, runs = explainer.engine, []
    manifest = replace(explainer.manifest, schema_version=schema, shared_forward=schema == "1.5")
    monkeypatch.setattr(engine.sessions, "manifest", manifest)
    real = engine.features
    monkeypatch.setattr(engine, "features", lambda *given: runs.append(given[1].tolist()) or real(*given))
    order, found = extract_best(engine, image, count)
    count = min(count, 5)
    first, *others = order.tolist()
    assert order.tolist() == np.argsort(-found.logits)[:count].tolist()
    assert (
        runs
        == {
            "1.5": [list(range(-1, -1 - count, -1))],
            "1.2": [[-1], *([other] for other in others)],
            "1.1": [[0], [first], *([other] for other in others)],
        }[schema]
    )
    assert found.passes == len(runs)
    named = extract(engine, image, order)
    assert all(np.array_equal(a, b) for a, b in zip(found.alphas, named.alphas, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(found.maps, named.maps, strict=True))


def test_the_best_class_without_gradients(small_model, tmp_path, image):
    from sise_rt.export import export

    bundle = export(small_model, tmp_path / "bare.sise", gradients=False).path
    engine = sise_rt.load(bundle, "cpu").engine
    order, found = extract_best(engine, image, 2)
    assert order.tolist() == np.argsort(-found.logits)[:2].tolist()
    assert (found.passes, found.alphas) == (1, [])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_a_model_error(explainer, image, value):
    image[0, 0, 5, 5] = value
    with pytest.raises(ModelError, match="not finite"):
        extract(explainer.engine, image, np.array([0]))
