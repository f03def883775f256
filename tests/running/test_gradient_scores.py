"""Gradient scores against others: rounding is no error, and nothing else is forgiven."""

import numpy as np
import pytest

from sise_rt.running.consistency import relative_error
from sise_rt.running.gradient_scores import only_rounding, rounding, score_error

TOLERANCES = (1e-4, 1e-3, 2e-2)


def drawn(maps=8, side=24, size=0.02):
    """A gradient (1, K, h, w) with means of its own."""
    rng = np.random.default_rng(side)
    gradient = rng.standard_normal((1, maps, side, side)) + rng.standard_normal((1, maps, 1, 1))
    return (size * gradient).astype(np.float32)


def vanishing(maps=8, side=24, size=0.02):
    """A gradient whose means are 0 but for the rounding of its values."""
    gradient = drawn(maps, side, size).astype(np.float64)
    return (gradient - gradient.mean(axis=(2, 3), keepdims=True)).astype(np.float32)


def summed(gradient, lanes):
    """The means (1, K) in float32, as registers of some lanes add up: each lane one value after the other."""
    flat = gradient.reshape(*gradient.shape[:2], -1, lanes)
    parts = np.add.accumulate(flat, axis=2, dtype=np.float32)[:, :, -1]
    return np.add.accumulate(parts, axis=2, dtype=np.float32)[..., -1] / np.float32(flat[0, 0].size)


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
@pytest.mark.parametrize("side", [4, 24, 112])
@pytest.mark.parametrize("order", ["as it comes", "all of one sign first"])
def test_the_rounding_of_a_mean_is_no_error(side, lanes, order, tolerance):
    gradient = vanishing(side=side)
    if order != "as it comes":
        gradient = np.sort(gradient.reshape(1, 8, -1), axis=2).reshape(gradient.shape)
    found, rounded = summed(gradient, lanes), rounding(gradient)
    assert score_error(found, np.zeros(found.shape), rounded, tolerance) <= tolerance
    assert score_error(found, gradient.mean(axis=(2, 3), dtype=np.float64), rounded, tolerance) <= tolerance
    assert score_error(found, np.full(found.shape, 1e-18), rounded, tolerance) <= tolerance


def test_a_difference_that_a_processor_without_avx512_made():
    """Measured where means of 576 values of 0.0164 in the mean were added up in registers of 8."""
    gradient = np.full((1, 8, 24, 24), 0.0164, np.float32)
    assert score_error(np.full((1, 8), 2.6e-10), np.zeros((1, 8)), rounding(gradient), 1e-3) < 1e-4


@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_what_is_above_rounding_is_an_error_where_scores_vanish(tolerance):
    gradient = vanishing()
    noise = rounding(gradient) * np.where(np.arange(8) == 3, 1.1, 0.1)[None]
    assert score_error(noise, np.zeros((1, 8)), rounding(gradient), tolerance) > tolerance
    assert rounding(gradient) < 2e-5 * np.abs(gradient).mean(), "far below what scores usually are"


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize(
    "wrong",
    [lambda a: 1.05 * a, lambda a: -a, lambda a: np.roll(a, 1), lambda a: a + 0.05 * np.abs(a).max()],
    ids=["scaled", "of another sign", "of other maps", "moved"],
)
def test_wrong_scores_are_an_error(wrong, tolerance):
    gradient = drawn()
    right = gradient.mean(axis=(2, 3), dtype=np.float64)
    error = score_error(wrong(right), right, rounding(gradient), tolerance)
    assert error > tolerance
    assert error == relative_error(wrong(right), right), "as of anything else"


def test_an_error_is_held_against_scores_or_their_rounding_whichever_is_larger():
    expected, measured = np.array([4.0, 0.0]), np.array([4.0, 1.0])
    assert score_error(measured, expected, 0.0, 1e-3) == 0.25
    assert score_error(measured, expected, 4e-3, 1e-3) == 0.25
    assert score_error(measured, expected, 8e-3, 1e-3) == 0.125
    assert score_error(measured, np.zeros(2), 0.0, 1e-3) == 4.0
    assert score_error(np.zeros(2), np.zeros(2), 0.0, 1e-3) == 0.0


@pytest.mark.parametrize("place", [0, 1])
def test_what_is_no_number_stays_so(place):
    broken = np.where(np.arange(2) == place, np.nan, 1.0)
    assert np.isnan(score_error(broken, np.ones(2), 1e-6, 1e-3))
    assert np.isnan(score_error(np.ones(2), broken, 1e-6, 1e-3))


def test_scores_that_are_nothing_but_rounding_are_told():
    gradient = vanishing()
    assert only_rounding(summed(gradient, 8), rounding(gradient))
    assert not only_rounding(drawn().mean(axis=(2, 3)), rounding(drawn()))
    assert not only_rounding(np.zeros((1, 8)), 0.0), "where an output is 0 whatever goes in"
    assert not only_rounding(np.full((1, 8), np.nan), rounding(gradient))


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("level", [0, 30, 300])
def test_the_rounding_of_maps_far_from_zero_is_no_error(level, lanes):
    """Float32 all the way through the gradient of a normalisation over each map."""
    rng = np.random.default_rng(level)
    maps = (level + rng.standard_normal((1, 8, 24, 24))).astype(np.float32)
    behind = rng.standard_normal(maps.shape).astype(np.float32) + maps - level

    def mean(values):
        return summed(values, lanes)[..., None, None]

    centred = maps - mean(maps)
    inverse = np.float32(1) / np.sqrt(mean(centred * centred))
    unit = centred * inverse
    rest = behind - unit * mean(behind * unit)
    gradient = inverse * (rest - mean(rest))
    scores = summed(gradient, lanes)
    assert score_error(scores, np.zeros((1, 8)), rounding(gradient), 1e-4) <= 1e-4
    assert only_rounding(scores, rounding(gradient))
