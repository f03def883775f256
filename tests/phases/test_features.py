"""Feature maps, gradient scores and confidences; test_exactness.py holds them against torch."""

from dataclasses import replace

import numpy as np
import pytest

import sise_rt
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
    for row, target in enumerate((3, 0, 3)):
        alone = extract(explainer.engine, image, np.array([target]))
        assert all(np.array_equal(a[row], b[0]) for a, b in zip(together.alphas, alone.alphas, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(together.maps, alone.maps, strict=True))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("schema", ["1.2", "1.1"])
def test_the_best_classes_need_not_be_known(explainer, image, monkeypatch, schema, count):
    """In a bundle of today they cost a run each; an older one has to be asked for the logits first."""
    engine, runs = explainer.engine, []
    monkeypatch.setattr(engine.sessions, "manifest", replace(explainer.manifest, schema_version=schema))
    real = engine.features
    monkeypatch.setattr(engine, "features", lambda *given: runs.append(given[1].tolist()) or real(*given))
    order, found = extract_best(engine, image, count)
    asked = [target for run in runs for target in run]
    assert order.tolist() == np.argsort(-found.logits)[:count].tolist()
    assert asked == [-1, *order[1:]] if schema == "1.2" else asked == [0, *order]
    assert found.passes == len(asked)
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
