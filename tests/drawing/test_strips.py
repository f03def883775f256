import numpy as np
import pytest

from sise_rt.drawing.drawn import paint
from sise_rt.drawing.painting import BARE, overlay
from sise_rt.drawing.strips import strip
from sise_rt.errors import ArgumentError
from sise_rt.pictures.placement import Placement


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114])


def columns_of(strip_: np.ndarray, colour) -> np.ndarray:
    return np.flatnonzero((strip_ == np.array(colour, np.uint8)).all(axis=2).sum(axis=0) > 100)


def test_the_strip_holds_picture_maps_and_bar_in_order():
    picture = np.full((120, 160, 3), (10, 90, 200), np.uint8)
    low, high = np.zeros((7, 7), np.float32), np.ones((14, 14), np.float32)
    made = strip(picture, [("V_1", low), ("V_2", None), ("explanation", high)])
    assert made.dtype == np.uint8
    centres = [10 + 320 // 2 + i * 326 for i in range(4)]  # tiles of 240 x 320, 6 apart
    middle = 20 + 10 + 120
    np.testing.assert_array_equal(made[middle - 40, centres[0]], (10, 90, 200))
    np.testing.assert_array_equal(made[middle - 40, centres[1]], overlay(picture, np.zeros((120, 160)))[0, 0])
    np.testing.assert_array_equal(made[middle - 40, centres[2]], (225, 225, 225))
    np.testing.assert_array_equal(made[middle - 40, centres[3]], overlay(picture, np.ones((120, 160)))[0, 0])
    assert len(columns_of(made, (10, 90, 200))) == 320
    assert (made[:, :9] == 255).all()  # white all around
    # The bar, at the right: lighter and warmer from 0 to 1.
    bar = made[30 : 30 + 240, 10 + 4 * 326 + 6 + 5].astype(int)
    warm = bar[:, 0] - bar[:, 2]
    assert warm[5] > 60
    assert abs(warm[-1]) <= 2
    # The grey tile says why it is grey.
    tile = made[30:270, 10 + 2 * 326 : 10 + 2 * 326 + 320]
    assert (tile < 120).any()


def test_a_strip_of_many_maps_has_rows():
    picture = np.full((120, 160, 3), (10, 90, 200), np.uint8)
    maps = [(str(i), np.full((7, 7), i / 4, np.float32)) for i in range(5)]
    made = strip(picture, maps, heading="tabby", columns=4)
    one_row = strip(picture, maps[:3], heading="tabby")
    assert made.shape[1] == one_row.shape[1]
    below = one_row.shape[0] - 10 + 6  # without the margin, and a gap
    np.testing.assert_array_equal(made[: below - 6], one_row[:-10])
    for column, value in enumerate((0.75, 1.0)):
        shown = overlay(picture, np.full((120, 160), value))[0, 0]
        np.testing.assert_array_equal(made[below + 20 + 120, 10 + 160 + column * 326], shown)
    assert (made[below:, 10 + 2 * 326 :] == 255).all()  # no more tiles, and one colour bar is enough


def text_pixels(made: np.ndarray, rows: slice) -> int:
    return int((luma(made[rows]) < 128).sum())


def test_captions_and_heading_are_written_and_cut_to_fit():
    picture, map_ = np.full((240, 240, 3), 255, np.uint8), np.zeros((240, 240), np.float32)
    bare = strip(picture, [("", map_)], title="")
    assert text_pixels(bare, slice(0, 25)) == 0
    assert text_pixels(strip(picture, [("explanation", map_)], title=""), slice(0, 25)) > 50
    headed = strip(picture, [("", map_)], title="", heading="cat.jpg: tabby, 0.93")
    assert headed.shape[0] > bare.shape[0]
    assert headed.shape[1] == bare.shape[1]
    assert text_pixels(headed, slice(0, 30)) > 50
    long = strip(picture, [("", map_)], title="x" * 2000, heading="two\nlines " * 300)
    assert long.shape == headed.shape
    assert (long[:, -10:] == 255).all()
    assert text_pixels(long, slice(0, 30)) > text_pixels(headed, slice(0, 30))
    caption = long[36:52]
    assert text_pixels(caption[:, 200:250], slice(None)) > 50
    assert (caption[:, 250:] == 255).all()  # it stays out of the next tile's
    # Letters beyond ASCII do not fail, whatever fonts there are.
    assert strip(picture, [("Größe 猫 \0", map_)]).shape == bare.shape


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (32, 32), (30, 4000), (4000, 30)])
def test_strips_of_extreme_pictures_stay_small(size):
    made = strip(noise(*size, 3), [("V_1", None), ("explanation", np.ones((3, 3)))], heading="a heading")
    assert made.shape[0] <= 320
    assert made.shape[1] <= 3 * 500 + 100
    assert made.shape[0] >= 26 + 20 + 42 + 20  # heading, captions, and a colour bar that can be read
    assert made.shape[1] > 200


def test_small_pictures_show_their_pixels():
    picture = noise(16, 16, 3)
    made = strip(picture, [], title="")
    tile = made[30:270, 10:250]
    for offset in (1, 7, 13):
        np.testing.assert_array_equal(tile[offset::15, offset::15], picture)


def test_a_single_map_has_its_outline_and_many_have_none():
    picture = np.full((240, 240, 3), 128, np.uint8)
    map_ = np.tile(np.linspace(0, 1, 240), (240, 1))
    one = strip(picture, [("explanation", map_)])[30:270, 256:496]
    two = strip(picture, [("explanation", map_)] * 2)[30:270, 256:496]
    placement = Placement((240, 240), (240, 240), 0, 0, (240, 240))
    np.testing.assert_array_equal(one, paint(picture, map_, placement, (240, 240), look=BARE)[0])
    np.testing.assert_array_equal(
        two, paint(picture, map_, placement, (240, 240), outline=None, look=BARE)[0]
    )
    assert (one != two).any()


def test_the_strip_dims_what_was_not_seen():
    picture = np.full((240, 240, 3), 200, np.uint8)
    right_half = Placement((240, 240), (24, 24), 0, 12, (24, 12))
    maps = [("a", np.zeros((24, 12))), ("b", np.zeros((24, 12)))]
    made, whole = strip(picture, maps, placement=right_half), strip(picture, maps)
    left = made[150, 256 : 256 + 118].max(axis=1)
    assert np.median(left) < 100
    assert 10 < (left > 150).sum() < 40  # hatched
    assert made[150, 256 + 180].min() > 150
    assert text_pixels(made, slice(whole.shape[0], None)) > 100  # which is told below


def test_the_strip_refuses_bad_maps_and_pictures():
    for map_ in (np.full((4, 5), np.nan), np.full((4, 5), 2.0), np.zeros((2, 2), int), np.zeros((0, 3))):
        with pytest.raises(ArgumentError, match="a map"):
            strip(noise(4, 5, 3), [("V_1", map_)])
    with pytest.raises(ArgumentError, match="a picture"):
        strip(noise(4, 5), [])
