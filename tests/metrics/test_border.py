"""The share of a map on the picture's border, against one pixel after the other cut by hand."""

import numpy as np
import pytest

from sise_rt.errors import ArgumentError
from sise_rt.metrics import border_share
from sise_rt.metrics.border import EVEN


def by_hand(map_: np.ndarray) -> float:
    """Every pixel is cut into the part within 5 % of an edge and the rest."""
    height, width = map_.shape

    def within(index: int, extent: int) -> float:
        low, high = max(index, 0.05 * extent), min(index + 1, 0.95 * extent)
        return max(0.0, high - low)

    inside = total = 0.0
    for i in range(height):
        for j in range(width):
            value = float(map_[i, j])
            inside += value * within(i, height) * within(j, width)
            total += value
    return (total - inside) / total


@pytest.mark.parametrize("shape", [(224, 224), (20, 20), (7, 33), (1, 1), (1, 50), (3, 2)])
def test_against_pixels_cut_by_hand(shape):
    map_ = np.random.default_rng(3).random(shape, dtype=np.float32)
    assert border_share(map_) == pytest.approx(by_hand(map_), abs=1e-12)


@pytest.mark.parametrize("shape", [(224, 224), (20, 20), (7, 33), (1, 1)])
def test_an_even_map_has_what_the_border_has_of_the_area(shape):
    assert border_share(np.full(shape, 0.3)) == pytest.approx(1 - 0.9**2, abs=1e-12)
    assert pytest.approx(0.19) == EVEN


def test_all_and_nothing():
    middle, frame = np.zeros((40, 40)), np.ones((40, 40))
    middle[2:38, 2:38], frame[2:38, 2:38] = 1, 0
    assert (border_share(middle), border_share(frame)) == (0, 1)
    assert border_share(np.zeros((5, 5))) == 0
    assert border_share(np.full((8, 8), 1e308)) == pytest.approx(0.19)


@pytest.mark.parametrize(
    ("map_", "words"),
    [
        (np.array([[-1.0, 2.0]]), "a value of -1"),
        (np.array([[np.nan, 2.0]]), "not finite"),
        (np.zeros(3), "where \\(H, W\\) is needed"),
    ],
)
def test_what_is_no_map_is_refused(map_, words):
    with pytest.raises(ArgumentError, match=words):
        border_share(map_)
