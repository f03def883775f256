"""Salient pixels and fills, against sorting and definitions written out."""

import numpy as np
import pytest

from sise_rt.augmenting.occlusion import (
    FILLS,
    at_least,
    highest_share,
    occluded,
    random_map,
)

ALL = np.ones((20, 30), bool)


def rng():
    return np.random.default_rng(5)


def picture(*shape, dtype=np.uint8):
    return rng().integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.2, 0.5, 0.999])
@pytest.mark.parametrize("levels", [2, 7, 10**6])
def test_an_area_is_exact_to_the_pixel_and_holds_the_highest(share, levels):
    map_ = np.floor(rng().random((20, 30)) * levels).astype(np.float32) / levels
    seen = rng().random((20, 30)) < 0.7
    marked = highest_share(map_, seen, share)
    there = seen.sum()
    assert marked.sum() == min(max(int(share * there + 0.5), 1), there - 1)
    assert not (marked & ~seen).any()
    assert map_[marked].min() >= map_[seen & ~marked].max()


def test_ties_go_to_what_lies_nearest_then_row_by_row():
    map_ = np.zeros((9, 9), np.float32)
    map_[5, 5] = 1
    everywhere = np.ones((9, 9), bool)
    five = highest_share(map_, everywhere, 5 / 81)
    assert sorted(zip(*np.nonzero(five), strict=True)) == [(4, 5), (5, 4), (5, 5), (5, 6), (6, 5)]
    three = highest_share(map_, everywhere, 3 / 81)
    assert sorted(zip(*np.nonzero(three), strict=True)) == [(4, 5), (5, 4), (5, 5)]
    flat = highest_share(np.ones((9, 9), np.float32), everywhere, 4 / 81)
    assert np.flatnonzero(flat).tolist() == [0, 1, 2, 3]


def test_of_too_few_pixels_nothing_is_marked():
    seen = np.zeros((4, 4), bool)
    assert not highest_share(np.ones((4, 4), np.float32), seen, 0.5).any()
    seen[1, 1] = True
    assert not highest_share(np.ones((4, 4), np.float32), seen, 0.5).any()


def test_a_threshold_takes_its_own_value_and_nothing_unseen():
    map_ = np.array([[0.2, 0.5, 0.9]], np.float32)
    seen = np.array([[True, True, False]])
    assert at_least(map_, seen, 0.5).tolist() == [[False, True, False]]


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30, 1), (20, 30, 6), (700, 600, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_only_what_is_hidden_changes_whatever_the_picture_is(name, shape, dtype):
    if shape[0] > 512 and dtype == np.uint16:
        pytest.skip("the same as in 8 bits")
    pixels = picture(*shape, dtype=dtype)
    before = pixels.copy()
    hidden = np.zeros(shape[:2], bool)
    hidden[3:9, 4:20] = True
    made = occluded(pixels, hidden, FILLS[name], rng())
    assert made.dtype == dtype
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(made[~hidden], pixels[~hidden])
    assert (made[hidden] != pixels[hidden]).any()
    np.testing.assert_array_equal(made, occluded(pixels, hidden, FILLS[name], rng()))


def test_the_mean_is_of_what_is_left():
    pixels, hidden = picture(20, 30, 3), rng().random((20, 30)) < 0.3
    made = occluded(pixels, hidden, FILLS["mean"], rng())
    left = [pixels[y, x].astype(float) for y in range(20) for x in range(30) if not hidden[y, x]]
    assert {tuple(colour) for colour in made[hidden]} == {tuple(np.rint(np.mean(left, axis=0)).astype(int))}


def test_noise_has_colours_of_what_is_left_and_no_others():
    pixels, hidden = picture(20, 30, 3), rng().random((20, 30)) < 0.3
    made = occluded(pixels, hidden, FILLS["noise"], rng())
    left = {tuple(colour) for colour in pixels[~hidden]}
    drawn = {tuple(colour) for colour in made[hidden]}
    assert drawn <= left
    assert len(drawn) > 50
    other = occluded(pixels, hidden, FILLS["noise"], np.random.default_rng(6))
    assert (other != made).any()


@pytest.mark.parametrize("size", [(60, 70), (600, 700)])
@pytest.mark.parametrize("name", FILLS)
def test_blurring_leaves_a_trace_of_what_is_hidden_and_nothing_else_does(name, size):
    hidden = np.zeros(size, bool)
    hidden[size[0] // 3 : size[0] // 2, size[1] // 3 : size[1] // 2] = True
    pixels = picture(*size, 3)
    other = pixels.copy()
    other[hidden] = 255 - other[hidden] // 2
    same = (FILLS[name](pixels, hidden, rng()) == FILLS[name](other, hidden, rng())).all()
    assert same == (name != "blur")


def test_a_random_map_is_smooth_and_another_one_each_time():
    source = rng()
    one, other = random_map((64, 96), source), random_map((64, 96), source)
    assert one.shape == (64, 96)
    assert one.dtype == np.float32
    assert 0 <= one.min() < one.max() < 1
    assert np.abs(np.diff(one, axis=0)).max() < 7 / 64 + 1e-6  # a cell's height, over its pixels
    assert (one != other).mean() > 0.9
    np.testing.assert_array_equal(one, random_map((64, 96), rng()))
