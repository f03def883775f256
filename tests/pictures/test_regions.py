"""Which region a map marks."""

import numpy as np
import pytest

from sise_rt.errors import ArgumentError
from sise_rt.pictures.regions import ISLAND, region_of


def disc(shape, centre, radius):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def valued(inside):
    """A map that reaches the level there, and is highest at one place of the large disc."""
    map_ = 0.7 * inside
    map_[200, 130] = 1
    return map_


def test_islands_and_holes_below_a_tenth_of_the_largest_are_left_out():
    large = disc((400, 600), (200, 200), 100)
    area = large.sum()
    side = int(np.sqrt(ISLAND * area))
    for extra, stays in ((-3, False), (3, True)):
        inside = large.copy()
        inside[20 : 20 + side + extra, 450 : 450 + side + extra] = True
        region = region_of(valued(inside))
        assert region[25, 455] == stays
        assert (region & large == large).all()
        holed = large.copy()
        holed[170 : 170 + side + extra, 170 : 170 + side + extra] = False
        assert region_of(valued(holed))[180, 180] != (holed.sum() < area and stays)


def test_many_islands_of_one_size_all_stay():
    inside = np.zeros((400, 400), bool)
    for row in range(20, 400, 60):
        for column in range(20, 400, 60):
            inside[row : row + 8, column : column + 8] = True
    assert np.array_equal(region_of(inside.astype(float)), inside)


def test_the_island_with_the_highest_value_always_stays():
    map_ = np.zeros((100, 100))
    map_[10:60, 10:60] = 0.7
    map_[80, 80], map_[80, 20] = 1.0, 0.9
    region = region_of(map_)
    assert region[80, 80]
    assert not region[80, 20]
    assert region.sum() == 50 * 50 + 1
    map_[80, 20] = 1.0
    assert region_of(map_).sum() == 50 * 50 + 2


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_nothing_and_everything(value):
    assert (region_of(np.full((20, 30), value)) == bool(value)).all()


def test_the_region_reaches_the_level():
    map_ = np.array([[0.0, 0.49999], [0.5, 1.0]])
    assert region_of(map_).tolist() == [[False, False], [True, True]]
    assert region_of(map_, 1.0).tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize(
    "map_", [np.full((3, 3), np.nan), np.zeros(4), np.zeros((0, 2)), np.zeros((2, 2), complex)]
)
def test_what_is_no_map_is_refused(map_):
    with pytest.raises(ArgumentError, match="a map is"):
        region_of(map_)
