"""The regression over masks, against the textbook's equations and a function that has to be found."""

import numpy as np
import pytest

from sise_rt.surrogate import CELLS, Surrogate, log_odds, pooled_masks, sigmoid


@pytest.fixture
def masks() -> np.ndarray:
    return np.random.default_rng(0).random((60, CELLS * CELLS))


@pytest.mark.parametrize("size", [(3, 5), (14, 14), (56, 28), (20, 7)])
def test_pooled_masks(size):
    maps = np.random.default_rng(1).standard_normal((4, *size)).astype(np.float32)
    found = pooled_masks(maps)
    assert found.shape == (4, CELLS * CELLS)
    assert found.dtype == np.float64
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.allclose(pooled_masks(3 * maps - 7), found, atol=1e-5), "masks are normalised"
    if size == (56, 28):
        low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
        expected = ((maps - low) / (high - low)).reshape(4, 14, 4, 14, 2).mean(axis=(2, 4))
        assert np.allclose(found, expected.reshape(4, -1), atol=1e-6)


def test_log_odds_are_finite_and_undone_by_the_sigmoid():
    p = np.array([0, 1e-6, 0.3, 0.5, 0.999, 1], np.float32)
    z = log_odds(p)
    assert np.isfinite(z).all()
    assert (np.diff(z) > 0).all()
    assert np.allclose(sigmoid(z), p, atol=1e-6)


def test_the_posterior_is_the_textbooks(masks):
    """Rasmussen and Williams, eq. 2.23 and 2.24, with the kernel that was chosen."""
    rng = np.random.default_rng(2)
    values = rng.standard_normal((12, 2))
    index = rng.permutation(60)[:12]
    surrogate = Surrogate(masks)
    mean, spread = surrogate.predict(index, values)
    length, linear, noise = surrogate._chosen
    points = masks / CELLS
    squared = np.array([[((a - b) ** 2).sum() for b in points] for a in points])
    median = np.median(squared[np.triu_indices(60, 1)])
    kernel = (1 - linear) * np.exp(-squared / (2 * length * median))
    kernel += linear * points @ points.T / np.mean((points**2).sum(axis=1))
    inverse = np.linalg.inv(kernel[np.ix_(index, index)] + noise * np.eye(12))
    for t in range(2):
        rest = values[:, t] - values[:, t].mean()
        scale = rest @ inverse @ rest / 12
        others = np.setdiff1d(np.arange(60), index)
        for k in others:
            row = kernel[k, index]
            assert mean[k, t] == pytest.approx(values[:, t].mean() + row @ inverse @ rest, abs=1e-8)
            variance = scale * (kernel[k, k] - row @ inverse @ row)
            assert spread[k, t] == pytest.approx(np.sqrt(max(variance, 0)), abs=1e-6)
    assert np.array_equal(mean[index], values)
    assert not spread[index].any()


def test_the_chosen_kernel_is_the_most_likely(masks):
    """The marginal likelihood (Rasmussen and Williams, eq. 5.8), its scale at the maximum."""
    from sise_rt.surrogate import LENGTHS, LINEAR, NOISES

    index = np.arange(0, 60, 3)
    values = (masks @ np.random.default_rng(3).standard_normal((CELLS * CELLS, 1)))[index]
    surrogate = Surrogate(masks)
    surrogate.predict(index, values)
    rest = values[:, 0] - values.mean()

    def likelihood(length, linear, noise):
        kernel = surrogate._kernel(index, length, linear)[index] + noise * np.eye(len(index))
        scale = rest @ np.linalg.solve(kernel, rest) / len(index)
        return -0.5 * (len(index) * np.log(scale) + np.linalg.slogdet(kernel)[1])

    every = [(a, b, c) for a in LENGTHS for b in LINEAR for c in NOISES]
    best = max(likelihood(*one) for one in every)
    assert likelihood(*surrogate._chosen) == pytest.approx(best, abs=1e-3)


def test_a_smooth_function_is_found_from_half_of_the_masks():
    rng = np.random.default_rng(4)
    places = rng.random((200, 2))
    grid = np.stack(np.meshgrid(*[(np.arange(CELLS) + 0.5) / CELLS] * 2), axis=-1).reshape(-1, 2)
    masks = np.exp(-((grid[None] - places[:, None]) ** 2).sum(axis=-1) / 0.05)
    truth = np.sin(4 * places[:, :1]) + places[:, 1:]
    index = np.arange(0, 200, 2)
    mean, spread = Surrogate(masks).predict(index, truth[index])
    error = (mean - truth)[1::2, 0]
    assert np.sqrt((error**2).mean()) < 0.1 * truth.std()
    assert np.corrcoef(np.abs(error), spread[1::2, 0])[0, 1] > 0.2, "it is unsure where it errs"


@pytest.mark.parametrize("count", [1, 2, 60])
def test_few_or_all_or_equal_values(masks, count):
    surrogate = Surrogate(masks)
    mean, spread = surrogate.predict(np.arange(count), np.full((count, 3), -2.0))
    assert np.allclose(mean, -2)
    assert np.isfinite(spread).all()
    one, _ = Surrogate(masks[:1]).predict(np.zeros(1, int), np.ones((1, 1)))
    assert one.tolist() == [[1.0]]
    same, _ = Surrogate(np.ones((5, 4))).predict(np.arange(3), np.arange(3.0)[:, None])
    assert np.isfinite(same).all()
