"""The regression over masks, against the textbook's equations and a function that has to be found."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl

from sise_rt.phases.surrogate import (
    CELLS,
    LEAST,
    LENGTHS,
    LINEAR,
    MOST,
    NOISES,
    USUAL,
    log_odds,
    one_blas_thread,
    pooled_masks,
    predict,
    sigmoid,
)


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


def kernels(masks):
    """The kernel as a dense matrix, by length and linear share."""
    squared = np.array([[((a - b) ** 2).sum() for b in masks] for a in masks])
    median = np.median(squared[np.triu_indices(len(masks), 1)])
    linear_part = masks @ masks.T / np.mean((masks**2).sum(axis=1))

    def kernel(length, linear):
        return (1 - linear) * np.exp(-squared / (2 * length * median)) + linear * linear_part

    return kernel


def posterior(kernel, noise, index, values):
    """Rasmussen and Williams, eq. 2.25, with the values' mean taken off."""
    inverse = np.linalg.inv(kernel[np.ix_(index, index)] + noise * np.eye(len(index)))
    mean = values.mean(axis=0)
    return mean + kernel[:, index] @ inverse @ (values - mean)


def test_the_posterior_is_the_textbooks(masks):
    rng = np.random.default_rng(2)
    index = rng.permutation(60)[: LEAST - 4]
    values = rng.standard_normal((len(index), 2))
    found = predict(masks, index, values)
    length, linear, noise = USUAL
    expected = posterior(kernels(masks)(length, linear), noise, index, values)
    others = np.setdiff1d(np.arange(60), index)
    assert np.allclose(found[others], expected[others], atol=1e-8)
    assert np.array_equal(found[index], values)


def test_the_chosen_kernel_is_the_most_likely(masks):
    """The marginal likelihood (Rasmussen and Williams, eq. 5.8), its scale at the maximum."""
    index = np.arange(0, 60, 3)
    values = (masks @ np.random.default_rng(3).standard_normal((CELLS * CELLS, 1)))[index]
    rest, kernel = values[:, 0] - values.mean(), kernels(masks)

    def likelihood(length, linear, noise):
        known = kernel(length, linear)[np.ix_(index, index)] + noise * np.eye(len(index))
        scale = rest @ np.linalg.solve(known, rest) / len(index)
        return -0.5 * (len(index) * np.log(scale) + np.linalg.slogdet(known)[1])

    best = max(itertools.product(LENGTHS, LINEAR, NOISES), key=lambda one: likelihood(*one))
    expected = posterior(kernel(*best[:2]), best[2], index, values)
    others = np.setdiff1d(np.arange(60), index)
    assert best != USUAL
    assert np.allclose(predict(masks, index, values)[others], expected[others], atol=1e-6)


def test_a_smooth_function_is_found_from_half_of_the_masks():
    rng = np.random.default_rng(4)
    places = rng.random((200, 2))
    grid = np.stack(np.meshgrid(*[(np.arange(CELLS) + 0.5) / CELLS] * 2), axis=-1).reshape(-1, 2)
    masks = np.exp(-((grid[None] - places[:, None]) ** 2).sum(axis=-1) / 0.05)
    truth = np.sin(4 * places[:, :1]) + places[:, 1:]
    index = np.arange(0, 200, 2)
    error = (predict(masks, index, truth[index]) - truth)[1::2, 0]
    assert np.sqrt((error**2).mean()) < 0.1 * truth.std()


@pytest.mark.parametrize("count", [1, 2, 60])
def test_few_or_all_or_equal_values(masks, count):
    assert np.allclose(predict(masks, np.arange(count), np.full((count, 3), -2.0)), -2)
    assert predict(masks[:1], np.zeros(1, int), np.ones((1, 1))).tolist() == [[1.0]]
    same = predict(np.ones((40, 4)), np.arange(30), np.arange(30.0)[:, None])
    assert np.isfinite(same).all()


def test_many_values_are_predicted_by_the_kernel_of_the_first(masks):
    """What is known is met closely, also by more masks than the kernel is chosen by."""
    rng = np.random.default_rng(5)
    many = rng.random((2 * MOST, CELLS * CELLS))
    truth = many @ rng.standard_normal((CELLS * CELLS, 1))
    index = rng.permutation(2 * MOST)[: MOST + 100]
    others = np.setdiff1d(np.arange(2 * MOST), index)
    error = (predict(many, index, truth[index]) - truth)[others]
    assert np.sqrt((error**2).mean()) < 0.2 * truth.std()


def test_linear_algebra_on_one_thread_and_on_all_again():
    def threads():
        found = threadpoolctl.threadpool_info()
        return {library["num_threads"] for library in found if library["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(3, user_api="blas"):
        before = threads()
        with one_blas_thread():
            assert threads() == {1}
        assert threads() == before


def test_the_hosts_number_of_threads_outlives_concurrent_calls():
    def threads():
        blas = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
        return {info["num_threads"] for info in blas}

    def call(_):
        for _ in range(20):
            with one_blas_thread(), one_blas_thread():
                seen.append(threads())

    seen: list[set[int]] = []
    before = threads()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(8)))
    assert len(seen) == 160
    assert all(numbers == {1} for numbers in seen)
    assert threads() == before
    if os.cpu_count() > 1 and "OPENBLAS_NUM_THREADS" not in os.environ:
        assert before != {1}, "or this shows nothing"
