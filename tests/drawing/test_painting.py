import cv2
import numpy as np
import pytest

from sise_rt.drawing.painting import overlay, transparent
from sise_rt.errors import ArgumentError


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
    painted = overlay(picture, np.ones((120, 160), np.float32) * seen, seen)
    outside = painted[~seen].astype(int)
    assert np.ptp(outside, axis=1).max() <= 1  # no colour
    assert luma(outside).mean() < 0.5 * luma(picture[~seen]).mean()
    assert np.corrcoef(luma(outside), luma(picture[~seen]))[0, 1] > 0.99
    inside = overlay(picture, np.ones((120, 160), np.float32))[30:90, 50:110]
    np.testing.assert_array_equal(painted[30:90, 50:110], inside)


def test_the_line_runs_around_what_reaches_one_half():
    y, x = np.mgrid[:200, :300]
    distance = np.hypot(y - 100, x - 150)
    map_ = np.clip(1 - distance / 100, 0, 1).astype(np.float32)  # one half at distance 50
    picture = np.full((200, 300, 3), 128, np.uint8)
    with_line, without = overlay(picture, map_, region=map_ >= 0.5), overlay(picture, map_)
    changed = (with_line != without).any(axis=2)
    assert distance[changed].min() > 50  # nothing of it is covered
    assert distance[changed].max() < 60
    angles = np.degrees(np.arctan2(y - 100, x - 150)[changed]).astype(int)
    assert len(np.unique(angles)) > 300  # all around
    assert luma(with_line[changed]).max() >= 240
    assert luma(with_line[changed]).min() < 70  # white with a dark edge
    tighter = (overlay(picture, map_, region=map_ >= 0.8) != without).any(axis=2)
    assert 20 < distance[tighter].min() < distance[tighter].max() < 30


def test_the_line_goes_around_what_the_model_saw():
    map_ = np.zeros((200, 300))
    map_[50:150, 50:250] = 1
    seen = np.zeros((200, 300), bool)
    seen[:, :150] = True
    picture = np.full((200, 300, 3), 128, np.uint8)
    changed = (overlay(picture, map_, seen, region=map_ >= 0.5) != overlay(picture, map_, seen)).any(axis=2)
    assert changed[:, 40:50].any()
    assert not changed[50:150, 50:].any()
    assert not changed[:, 150:].any()


@pytest.mark.parametrize(("size", "low", "high"), [((95, 300), 0, 1), ((99, 99), 0, 0), ((99, 99), 1, 1)])
def test_no_line_on_small_pictures_and_constant_maps(size, low, high):
    map_ = np.tile(np.linspace(low, high, size[1]), (size[0], 1))
    picture = noise(*size, 3)
    np.testing.assert_array_equal(overlay(picture, map_, region=map_ >= 0.5), overlay(picture, map_))


def test_painting_by_parts_equals_painting_at_once(monkeypatch):
    picture, map_ = noise(50, 40, 3), np.random.default_rng(0).random((50, 40))
    seen = map_ > 0.3
    whole = overlay(picture, map_, seen)
    monkeypatch.setattr("sise_rt.drawing.painting.ROWS_PIXELS", 270)
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


# ---- transparent


def test_the_alpha_of_a_transparent_map_is_the_map():
    map_ = np.random.default_rng(0).random((30, 40), np.float32)
    made = transparent(map_, "viridis")
    assert made.shape == (30, 40, 4)
    np.testing.assert_array_equal(made[..., 3], np.rint(255 * map_))
    assert len(np.unique(made[made[..., 3] > 128][:, :3], axis=0)) > 50
    with pytest.raises(ArgumentError, match="a map lies in"):
        transparent(map_ + 1)
