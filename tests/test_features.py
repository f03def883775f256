"""Feature maps, gradient scores and confidences; test_exactness.py holds them against torch."""

import numpy as np
import pytest

import sise_rt
from sise_rt.errors import ModelError
from sise_rt.features import confidences, extract


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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_a_model_error(explainer, image, value):
    image[0, 0, 5, 5] = value
    with pytest.raises(ModelError, match="not finite"):
        extract(explainer.engine, image, np.array([0]))


def test_confidences():
    z = np.array([0.0, np.log(3.0)], np.float32)
    assert confidences(z, "softmax") == pytest.approx([0.25, 0.75])
    assert confidences(z, "sigmoid") == pytest.approx([0.5, 0.75])
    large = np.array([1000.0, -1000.0], np.float32)
    assert confidences(large, "softmax").tolist() == [1.0, 0.0]
    assert confidences(large, "sigmoid").tolist() == [1.0, 0.0]
