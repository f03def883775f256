"""What logits become."""

import numpy as np
import pytest

from sise_rt.running.logits import confidences, log_odds, log_odds_gradient


def test_confidences():
    z = np.array([0.0, np.log(3.0)], np.float32)
    assert confidences(z, "softmax") == pytest.approx([0.25, 0.75])
    assert confidences(z, "sigmoid") == pytest.approx([0.5, 0.75])
    large = np.array([1000.0, -1000.0], np.float32)
    assert confidences(large, "softmax").tolist() == [1.0, 0.0]
    assert confidences(large, "sigmoid").tolist() == [1.0, 0.0]


@pytest.mark.parametrize("target", [0, 2])
def test_log_odds_are_those_of_the_probability(target):
    z = np.random.default_rng(0).standard_normal((4, 3))
    softmax = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-z))
    for p, activation in ((softmax, "softmax"), (sigmoid, "sigmoid")):
        expected = np.log(p[:, target] / (1 - p[:, target]))
        assert np.allclose(log_odds(z, target, activation), expected)
    assert np.isfinite(log_odds(np.array([[800.0, 0.0, -800.0]]), target, "softmax")).all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_the_gradient_is_that_of_the_log_odds(activation):
    z = np.random.default_rng(1).standard_normal((2, 4))
    step = 1e-6
    found = log_odds_gradient(z, 1, activation)
    assert found.dtype == np.float32
    for j in range(4):
        up, down = z.copy(), z.copy()
        up[:, j] += step
        down[:, j] -= step
        slope = (log_odds(up, 1, activation) - log_odds(down, 1, activation)) / (2 * step)
        np.testing.assert_allclose(found[:, j], slope, atol=1e-6)
