"""Other maps of the same passes: the first rule is SISE itself, and each does what it says."""

import numpy as np
import pytest

import sise_rt
from benchmarks import best_map
from benchmarks.best_map import RULES, Rule, peak_at_edge, ranks, tempered


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def found(explainer):
    pixels = np.random.default_rng(3).integers(0, 256, (6, 7, 3), np.uint8)
    picture = explainer.prepare(np.kron(pixels, np.ones((8, 8, 1), np.uint8)))
    return picture, {each.name: each for each in best_map.variants(explainer.engine, picture, 1, 0)}


def test_the_first_rule_is_the_product(explainer, found):
    picture, maps = found
    explanation = explainer.explain(picture, 1)
    assert list(maps) == list(RULES)
    np.testing.assert_allclose(maps["exact"].map, explanation.raw, atol=1e-5)
    assert {each.passes for each in maps.values()} == {explanation.passes}


def test_ties_and_smoothing_change_what_they_say(found):
    exact, ties, smooth = (found[1][name].map for name in ("exact", "ties", "smooth 1/64"))
    assert 0 < np.abs(ties - exact).max() <= best_map.TIES
    assert len(np.unique(ties)) > len(np.unique(exact))
    assert smooth.sum() == pytest.approx(exact.sum(), rel=0.1)
    assert np.abs(np.diff(smooth)).max() < np.abs(np.diff(exact)).max()


def test_weights():
    odds = np.array([9.0, 5.0, -3.0])
    np.testing.assert_allclose(best_map.confidence(odds), np.exp(odds) / (1 + np.exp(odds)))
    np.testing.assert_allclose(tempered(2)(odds), [0.5, 1 / (1 + np.e**2), 1 / (1 + np.e**6)])
    np.testing.assert_allclose(best_map.odds_themselves(odds), [1, np.e**-4, np.e**-12])
    assert ranks(odds).tolist() == [1, 0.5, 0]
    assert ranks(odds[:1]).tolist() == [0]


def test_nothing_scored_is_no_map(explainer, found):
    features = best_map.extract(explainer.engine, found[0].tensor, np.array([1]))
    assert best_map.ruled(Rule(), features, [None] * len(features.maps), (32, 32)) is None


@pytest.mark.parametrize(("at", "near"), [((0, 9), True), ((4, 9), True), ((5, 9), False), ((15, 15), True)])
def test_peaks_at_the_edge(at, near):
    map_ = np.zeros((20, 20))
    map_[at] = 1
    assert peak_at_edge(map_) == near
