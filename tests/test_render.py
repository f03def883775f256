import os

import cv2
import numpy as np
import pytest
from PIL import Image

from sise_rt.errors import ArgumentError, OutputError
from sise_rt.render import overlay, save_png, strip


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb @ np.array([0.299, 0.587, 0.114])


def lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


def without_red_green(rgb: np.ndarray) -> np.ndarray:
    """Colours as a deuteranope sees them (Machado, Oliveira and Fernandes 2009, severity 1), linear RGB."""
    linear = (rgb / 255.0) ** 2.2
    red, green = (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413)
    blue = (-0.01182, 0.04294, 0.968881)
    return np.clip(linear @ np.array([red, green, blue]).T, 0, 1) ** (1 / 2.2) * 255


RAMP = np.linspace(0, 1, 200, dtype=np.float32)


# ---- overlay


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (32, 32), (97, 130), (480, 640)])
def test_the_overlay_is_exactly_the_pictures_size_and_leaves_its_inputs(size):
    picture, map_ = noise(*size, 3), np.random.default_rng(0).random(size, dtype=np.float32)
    before = picture.copy(), map_.copy()
    painted = overlay(picture, map_, map_ > 0.2)
    assert painted.shape == picture.shape
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(map_, before[1])


def test_where_the_map_is_zero_the_picture_stays_recognisable():
    picture = noise(60, 60, 3)
    painted = overlay(picture, np.zeros((60, 60), np.float32))
    assert np.corrcoef(luma(picture).ravel(), luma(painted).ravel())[0, 1] > 0.99
    assert luma(painted).mean() > 0.85 * luma(picture).mean()


def test_where_the_map_is_one_texture_still_shows_through():
    picture = noise(60, 60, 3)
    painted = overlay(picture, np.ones((60, 60), np.float32))
    assert np.corrcoef(luma(picture).ravel(), luma(painted).ravel())[0, 1] > 0.95
    assert luma(painted).std() > 0.15 * luma(picture).std()
    red, _, blue = painted.reshape(-1, 3).mean(axis=0)
    assert red > blue + 40  # the hot end


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255])
def test_higher_values_are_farther_from_the_bare_picture_for_colour_blind_eyes_too(level):
    # On surfaces from black to white, a one-pixel row of rising values.
    painted = overlay(np.full((1, 200, 3), level, np.uint8), RAMP[None]).astype(float)
    for seen_as in (painted, without_red_green(painted)):
        colours = lab(seen_as)[0]
        distance = np.linalg.norm(colours - colours[0], axis=1)[[0, 50, 100, 150, 199]]
        assert (np.diff(distance) > 3).all()  # 2.3 is what people just notice


def test_colours_rise_evenly_in_lightness_on_a_dark_surface():
    light = lab(overlay(np.zeros((1, 200, 3), np.uint8), RAMP[None]))[0, :, 0]
    assert np.diff(light[::10]).min() > 0  # monotonous: no false edges as with a rainbow
    assert light[-1] > 50


def test_outside_the_crop_is_grey_dark_and_still_there():
    picture = noise(120, 160, 3)
    seen = np.zeros((120, 160), bool)
    seen[20:100, 40:120] = True
    painted = overlay(picture, np.ones((120, 160), np.float32) * seen, seen, contour=False)
    outside = painted[~seen].astype(int)
    assert np.ptp(outside, axis=1).max() <= 1  # no colour
    assert luma(outside).mean() < 0.5 * luma(picture[~seen]).mean()
    assert np.corrcoef(luma(outside), luma(picture[~seen]))[0, 1] > 0.99
    inside = overlay(picture, np.ones((120, 160), np.float32), contour=False)[30:90, 50:110]
    np.testing.assert_array_equal(painted[30:90, 50:110], inside)


def test_the_contour_runs_where_the_map_crosses_one_half():
    y, x = np.mgrid[:200, :300]
    distance = np.hypot(y - 100, x - 150)
    map_ = np.clip(1 - distance / 100, 0, 1).astype(np.float32)  # one half at distance 50
    picture = np.full((200, 300, 3), 128, np.uint8)
    with_line, without = overlay(picture, map_), overlay(picture, map_, contour=False)
    changed = (with_line != without).any(axis=2)
    assert np.abs(distance[changed] - 50).max() < 5
    angles = np.degrees(np.arctan2(y - 100, x - 150)[changed]).astype(int)
    assert len(np.unique(angles)) > 300  # all around
    assert luma(with_line[changed]).max() > 240
    assert luma(with_line[changed]).min() < 70  # white with a dark edge


def test_the_contour_stays_where_the_model_looked():
    map_ = np.zeros((200, 300))
    map_[50:150, 50:250] = 1
    seen = np.zeros((200, 300), bool)
    seen[:, :150] = True
    picture = np.full((200, 300, 3), 128, np.uint8)
    changed = (overlay(picture, map_, seen) != overlay(picture, map_, seen, contour=False)).any(axis=2)
    assert changed[:, 40:60].any()
    assert changed[60:140, 145:150].any()
    assert not changed[:, 155:].any()


@pytest.mark.parametrize(("size", "low", "high"), [((95, 300), 0, 1), ((99, 99), 0, 0), ((99, 99), 1, 1)])
def test_no_contour_on_small_pictures_and_constant_maps(size, low, high):
    map_ = np.tile(np.linspace(low, high, size[1]), (size[0], 1))
    picture = noise(*size, 3)
    np.testing.assert_array_equal(overlay(picture, map_), overlay(picture, map_, contour=False))


def test_painting_by_parts_equals_painting_at_once(monkeypatch):
    picture, map_ = noise(50, 40, 3), np.random.default_rng(0).random((50, 40))
    seen = map_ > 0.3
    whole = overlay(picture, map_, seen)
    monkeypatch.setattr("sise_rt.render.ROWS_PIXELS", 270)
    np.testing.assert_array_equal(overlay(picture, map_, seen), whole)
    backwards = overlay(picture[::-1, ::-1], map_[::-1, ::-1], seen[::-1, ::-1])
    np.testing.assert_array_equal(backwards[::-1, ::-1], whole)


def one_bad(value) -> np.ndarray:
    map_ = np.zeros((4, 5), np.float32)
    map_[2, 3] = value
    return map_


@pytest.mark.parametrize(
    ("picture", "map_", "seen"),
    [
        (noise(4, 5, 3), one_bad(np.nan), None),
        (noise(4, 5, 3), one_bad(np.inf), None),
        (noise(4, 5, 3), one_bad(1.001), None),
        (noise(4, 5, 3), one_bad(-0.001), None),
        (noise(4, 5, 3), np.zeros((5, 4)), None),
        (noise(4, 5, 3), np.zeros((4, 5), np.uint8), None),
        (noise(4, 5, 3), np.zeros((4, 5, 1)), None),
        (noise(4, 5, 3), np.zeros((4, 5)), np.ones((5, 4), bool)),
        (noise(4, 5, 3), np.zeros((4, 5)), np.ones((4, 5))),
        (noise(4, 5, 4), np.zeros((4, 5)), None),
        (noise(4, 5), np.zeros((4, 5)), None),
        (noise(4, 5, 3) / 255, np.zeros((4, 5)), None),
        (noise(0, 5, 3), np.zeros((0, 5)), None),
    ],
)
def test_overlay_refuses_what_does_not_fit(picture, map_, seen):
    with pytest.raises(ArgumentError, match=r"is uint8|lies in|is float|does not fit|is bool"):
        overlay(picture, map_, seen)


# ---- strip


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


def test_a_single_map_has_its_contour_and_many_have_none():
    picture = np.full((240, 240, 3), 128, np.uint8)
    map_ = np.tile(np.linspace(0, 1, 240), (240, 1))
    one = strip(picture, [("explanation", map_)])[30:270, 256:496]
    two = strip(picture, [("explanation", map_)] * 2)[30:270, 256:496]
    np.testing.assert_array_equal(one, overlay(picture, map_))
    np.testing.assert_array_equal(two, overlay(picture, map_, contour=False))
    assert (one != two).any()


def test_the_strip_dims_what_was_not_seen():
    picture = np.full((240, 240, 3), 200, np.uint8)
    seen = np.zeros((240, 240), bool)
    seen[:, 120:] = True
    made = strip(picture, [("a", np.zeros((240, 240))), ("b", np.zeros((240, 240)))], seen=seen)
    assert made[150, 256 + 60].max() < 100
    assert made[150, 256 + 180].min() > 150


def test_the_strip_refuses_bad_maps_and_pictures():
    for map_ in (one_bad(np.nan), one_bad(2), np.zeros((2, 2), int), np.zeros((0, 3))):
        with pytest.raises(ArgumentError, match="a map"):
            strip(noise(4, 5, 3), [("V_1", map_)])
    with pytest.raises(ArgumentError, match="a picture"):
        strip(noise(4, 5), [])


# ---- save_png


def test_png_round_trip(tmp_path):
    picture = noise(20, 30, 3)
    path = tmp_path / "größe 猫.png"
    save_png(path, picture)
    np.testing.assert_array_equal(np.array(Image.open(path)), picture)
    save_png(str(path), picture[:, ::-1])  # over an old one, and from a view
    np.testing.assert_array_equal(np.array(Image.open(path)), picture[:, ::-1])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def refuse(*_):
        raise PermissionError(13, "no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OutputError, match=r"a\.png.*cannot be written"):
        save_png(path, noise(4, 4, 3))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["missing/a.png", "file/a.png", "folder", "a\0b.png", "x" * 300 + ".png"])
def test_places_that_cannot_be_written(tmp_path, name):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_png(tmp_path / name, noise(4, 4, 3))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]


def test_what_is_no_picture_is_not_written(tmp_path):
    for array in (np.zeros((4, 4)), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ArgumentError, match="a picture"):
            save_png(tmp_path / "a.png", array)
    assert not list(tmp_path.iterdir())
