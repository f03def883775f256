"""Means of maps, by class and method."""

import cv2
import numpy as np
import pytest

from sise_rt.bulk.overview.mean_maps import MeanMap, MeanMaps, drawn_mean
from sise_rt.bulk.overview.thumbnails import CELLS


def test_means_are_those_of_numpy():
    rng, means = np.random.default_rng(0), MeanMaps()
    maps = {
        name: rng.integers(0, 256, (count, CELLS, CELLS), np.uint8) for name, count in (("a", 3), ("b", 300))
    }
    for name, several in maps.items():
        for map_ in several:
            means.add(name, "sise", map_)
    everything, second, first = means.commonest(24)
    assert (everything.target, second.target, first.target) == ("", "b", "a")
    assert (everything.count, second.count, first.count) == (303, 300, 3)
    for mean, expected in (
        (first, maps["a"]),
        (second, maps["b"]),
        (everything, np.concatenate([*maps.values()])),
    ):
        np.testing.assert_allclose(mean.values, expected.mean(axis=0, dtype=np.float64) / 255, atol=1e-6)


def test_methods_are_not_mixed():
    means = MeanMaps()
    for method, value in (("sise", 255), ("rise", 0)):
        means.add("a", method, np.full((CELLS, CELLS), value, np.uint8))
    found = {(mean.target, mean.method): mean.values.mean() for mean in means.commonest(24)}
    assert found == {("", "sise"): 1, ("", "rise"): 0, ("a", "sise"): 1, ("a", "rise"): 0}


def test_one_class_needs_no_mean_of_all():
    means = MeanMaps()
    assert means.commonest(24) == []
    means.add("a", "sise", np.zeros((CELLS, CELLS), np.uint8))
    assert [mean.target for mean in means.commonest(24)] == ["a"]


def test_the_rarest_are_left_out():
    means = MeanMaps()
    for number in range(30):
        for _ in range(number + 1):
            means.add(f"{number}", "sise", np.zeros((CELLS, CELLS), np.uint8))
    assert [mean.target for mean in means.commonest(3)] == ["", "29", "28", "27"]


@pytest.mark.parametrize(("aspect", "shape"), [(1, (112, 112)), (2, (56, 112)), (0.5, (112, 56))])
def test_it_is_bright_where_it_is_highest(aspect, shape):
    values = np.full((CELLS, CELLS), 0.1, np.float32)
    values[3:6, 20:24] = 0.3
    png = drawn_mean(MeanMap("a", "sise", 5, values), aspect)
    drawn = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape[:2] == shape
    row, column = np.unravel_index(drawn.sum(axis=2, dtype=int).argmax(), shape)
    assert 3 <= CELLS * row / shape[0] <= 6
    assert 20 <= CELLS * column / shape[1] <= 24


def test_a_mean_of_zeros_is_drawn():
    assert drawn_mean(MeanMap("a", "sise", 5, np.zeros((CELLS, CELLS), np.float32)))
