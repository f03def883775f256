"""The region that a map marks, hidden, shown alone and hidden elsewhere, against loops over pixels."""

import numpy as np
import pytest

from sise_rt.errors import ArgumentError
from sise_rt.metrics import Region, borne_by
from sise_rt.metrics.region import shifted_copies

SIZE = 12, 16
IMAGE = np.random.default_rng(1).normal(size=(3, *SIZE)).astype(np.float32)


def spot(top=3, left=4):
    region = np.zeros(SIZE, bool)
    region[top : top + 4, left : left + 5] = True
    return region


def brightness(images: np.ndarray) -> np.ndarray:
    """A model that answers to one place of its input alone."""
    return np.abs(images[:, :, 3:7, 4:9]).mean(axis=(1, 2, 3)).clip(0, 1)


def test_against_pictures_made_by_hand():
    region = spot(2, 6)
    told = borne_by(region, IMAGE, 0.9, brightness, shifts=5, seed=7, batch=2)
    hidden, alone = IMAGE.copy(), IMAGE.copy()
    for i in range(SIZE[0]):
        for j in range(SIZE[1]):
            (hidden if region[i, j] else alone)[:, i, j] = 0
    assert told.hidden == pytest.approx(brightness(hidden[None])[0], abs=1e-7)
    assert told.alone == pytest.approx(brightness(alone[None])[0], abs=1e-7)
    assert (told.area, told.whole) == (20 / 192, 0.9)
    for copy, confidence in zip(shifted_copies(region, 5, 7), told.random, strict=True):
        assert confidence == pytest.approx(brightness(np.where(copy, 0, IMAGE)[None])[0], abs=1e-7)


def test_copies_are_the_region_elsewhere_on_a_torus():
    region = spot()
    copies = shifted_copies(region, 200, 0)
    everywhere = {
        np.array([[region[(i - y) % 12, (j - x) % 16] for j in range(16)] for i in range(12)]).tobytes()
        for y in range(12)
        for x in range(16)
        if (y, x) != (0, 0)
    }
    assert {copy.tobytes() for copy in copies} <= everywhere
    assert len({copy.tobytes() for copy in copies}) > 100
    assert all(copy.sum() == region.sum() for copy in copies)
    again = shifted_copies(region, 200, 0)
    assert all((one == other).all() for one, other in zip(copies, again, strict=True))
    assert any(
        (one != other).any() for one, other in zip(copies, shifted_copies(region, 200, 1), strict=True)
    )


def test_the_place_that_the_model_answers_to_bears_and_another_does_not():
    assert borne_by(spot(), IMAGE, 0.9, brightness).bears is True
    assert borne_by(spot(8, 10), IMAGE, 0.9, brightness).bears is False
    assert borne_by(spot(), IMAGE, 0.9, lambda images: np.full(len(images), 0.9)).bears is False


@pytest.mark.parametrize(("whole", "hidden", "bears"), [
    (1.0, 0.9999, False),  # sure whatever is hidden
    (1.0, 0.9901, False),
    (1.0, 0.9899, True),
    (0.001, 0.000995, False),  # of what there is
    (0.001, 0.000985, True),
    (0.0004, 0.0002, True),
    (0.5, 0.6, False),  # more confident without it, if less than without the copies
])  # fmt: skip
def test_hiding_must_take_a_hundredth_of_the_confidence(whole, hidden, bears):
    told = Region(0.1, whole, hidden, 0.5, np.array([max(whole, hidden) + 0.00001, whole + 0.2]))
    assert told.bears is bears
    assert Region(0.1, whole, hidden, 0.5, np.full(2, hidden)).bears is False


@pytest.mark.parametrize(("elsewhere", "bears"), [(0.0003, False), (0.0091, False), (0.0094, True)])
def test_hiding_must_take_as_much_more_than_hiding_the_copies(elsewhere, bears):
    assert Region(0.1, 0.9, 0.0002, 0.5, np.array([elsewhere, elsewhere])).bears is bears


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything_have_nothing_to_be_compared_with(value):
    told = borne_by(np.full(SIZE, value), IMAGE, 0.9, brightness)
    assert (told.bears, len(told.random), told.area) == (None, 0, float(value))
    black, whole = brightness(0 * IMAGE[None])[0], brightness(IMAGE[None])[0]
    assert (told.hidden, told.alone) == pytest.approx((black, whole) if value else (whole, black))


def test_what_is_no_region_is_refused():
    with pytest.raises(ArgumentError, match="the region is float64, where bool is needed"):
        borne_by(spot().astype(float), IMAGE, 0.9, brightness)
    with pytest.raises(ArgumentError, match="masks have shape"):
        borne_by(spot()[:5], IMAGE, 0.9, brightness)
