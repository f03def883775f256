"""The whole drawing: where the picture lies, what is said, and that it is legible whatever the picture."""

import numpy as np
import pytest

from sise_rt.drawing import drawn as module
from sise_rt.drawing.drawn import drawn, hatch, placed_map, placed_region
from sise_rt.drawing.framing import Caption, Scale, framed, text_size
from sise_rt.drawing.lettering import font_for
from sise_rt.drawing.painting import DRAWN, overlay
from sise_rt.errors import ArgumentError
from sise_rt.pictures.placement import Placement, to_original
from sise_rt.pictures.regions import region_of

CAPTION = Caption("Decision: pit (2)", ", confidence 0.988", ("Model surface.",))


def whole(rows, columns, side=32):
    return Placement((rows, columns), (side, side), 0, 0, (side, side))


def noise(*shape):
    return np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)


def blob(side=32):
    y, x = np.mgrid[:side, :side]
    return np.exp(-((y - 20) ** 2 + (x - 10) ** 2) / 18).astype(np.float32)


def inked(rgb):
    return (rgb.max(axis=2) < 128).any(axis=0)


def test_the_picture_lies_in_the_middle_in_its_drawn_size():
    picture = noise(100, 120, 3)
    made = drawn(picture, blob(), whole(100, 120), CAPTION, outline=None)
    text = text_size((512, 614))
    top = next(y for y in range(made.shape[0]) if (made[y, text : text + 614] != 255).all()) + 1
    inner = made[top : top + 512, text : text + 614]
    from sise_rt.drawing.sizes import fit_picture

    placed, seen = placed_map(blob(), whole(100, 120), (512, 614))
    expected = overlay(fit_picture(picture, (512, 614)), placed, seen, look=DRAWN)
    np.testing.assert_array_equal(inner, expected)
    assert made.shape[1] == 614 + 2 * text


def test_the_map_goes_straight_to_the_size_of_the_drawing():
    """Smoothing by 0.7 of its pixels apart, as if placed at once; and its highest value stays."""
    one = np.zeros((32, 32), np.float32)
    one[20, 10] = 1
    placed, seen = placed_map(one, whole(100, 100), (640, 640))
    assert seen.all()
    assert placed.max() > 0.95
    assert abs(placed.argmax() // 640 - 20.5 * 20) <= 11
    ramp = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (32, 1))
    placed, _ = placed_map(ramp, whole(100, 100), (640, 640))
    direct, _ = to_original(ramp, whole(640, 640))
    assert np.abs(placed - direct)[:, 40:-40].max() < 0.01
    assert len(np.unique(placed[5, 100:200])) > 90  # no steps


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (8, 8), (30, 4000), (4000, 30), (3000, 4000)])
def test_every_picture_is_legible(size):
    placement = Placement(size, (32, 32), 0, 0, (32, 32))
    made = drawn(noise(*size, 3), blob(), placement, CAPTION)
    text = text_size((made.shape[0], made.shape[1]))
    assert text >= 15
    assert made.shape[1] >= 20 * 15
    length = font_for("x", 21).getlength(CAPTION.subject + CAPTION.value)
    assert inked(made[: 4 * text]).sum() > 0.3 * length
    assert made.nbytes < 3 * 10_000_000


@pytest.mark.parametrize("subject", ["pit (2)", "a very long name of a class " * 9])
def test_all_of_the_confidence_stays_however_long_the_class_is(subject):
    def head(value):
        made = framed(np.full((100, 500, 3), 200, np.uint8), Caption(subject, value), (), 18)
        return made[18 : 18 + 30].astype(int)

    one, other = head(", confidence 0.988"), head(", confidence 0.111")
    end = np.flatnonzero(inked(one))[-1]
    assert end <= 18 + 500
    differ = np.flatnonzero((one != other).any(axis=(0, 2)))
    assert end - 60 < differ[0] < differ[-1] <= end + 1  # its last three digits
    if len(subject) > 100:
        assert end > 400
        assert inked(one)[18:300].mean() > 0.5  # and much of the name


@pytest.mark.parametrize(
    ("outline", "sentence"),
    [(None, ""), (0.5, "at least half as much"), (0.8, "at least 80% as much"), (0.004, "at least 0.4%")],
)
def test_what_is_said_below(monkeypatch, outline, sentence):
    said = []
    monkeypatch.setattr(module, "framed", lambda *arguments: said.append(arguments) or arguments[0])
    drawn(noise(64, 64, 3), blob(), whole(64, 64), CAPTION, outline=outline)
    _, caption, notes, _, scale = said[0]
    assert caption is CAPTION
    assert sentence in " ".join(notes)
    assert ("line" in " ".join(notes)) == (outline is not None)
    assert not any("Dark" in note for note in notes)
    assert (scale.low, scale.high) == ("mattered least", "mattered most")
    cropped = Placement((64, 128), (32, 64), 0, 16, (32, 32))
    drawn(noise(64, 128, 3), blob(), cropped, CAPTION, outline=outline)
    assert said[1][2][-1] == "Dark and hatched: cropped, the model did not see it."


@pytest.mark.parametrize(("size", "map_"), [(64, blob()), (512, np.zeros((32, 32), np.float32))])
def test_no_line_is_told_where_none_is_drawn(monkeypatch, size, map_):
    told = []
    monkeypatch.setattr(module, "framed", lambda *arguments: told.append(arguments[2]) or arguments[0])
    drawn(noise(64, 64, 3), map_, whole(64, 64), CAPTION, size=size)
    assert "line" not in " ".join(told[0])


def test_what_was_cropped_is_dark_and_hatched():
    cropped = Placement((600, 1200), (32, 64), 0, 16, (32, 32))
    picture = np.full((600, 1200, 3), 200, np.uint8)
    plain = drawn(picture, np.zeros((32, 32), np.float32), cropped, CAPTION)
    text = text_size((600, 1200))
    row = plain[plain.shape[0] // 2, text : text + 1200].astype(int).max(axis=1)
    assert (row[300:900] > 150).all()
    assert np.median(row[:295]) < 100
    lines = np.flatnonzero(row[:295] > np.median(row[:295]) + 10)
    assert 5 < len(lines) < 60


def test_the_scale_runs_from_the_bare_picture_to_what_mattered_most():
    grey = np.full((40, 400, 3), 128, np.uint8)
    ramp = np.stack([np.arange(256)] * 3, axis=1).astype(np.uint8)
    made = framed(grey, CAPTION, (), 18, Scale(ramp, "least", "most"))
    bar = made[-18 - 9]  # in its middle
    run = bar[:, 0].astype(int)
    at = np.flatnonzero((np.diff(run) >= 0) & (run[1:] > 0) & (run[1:] < 255))
    longest = max(np.split(at, np.flatnonzero(np.diff(at) > 1) + 1), key=len)
    assert len(longest) > 120
    assert inked(made[-40:][:, : longest[0] - 2]).any()
    assert inked(made[-40:][:, longest[-1] + 4 :]).any()


def test_longer_captions_are_wider_or_higher():
    blank = framed(np.full((100, 400, 3), 200, np.uint8), Caption("a"), (), 18)
    noted = framed(np.full((100, 400, 3), 200, np.uint8), Caption("a"), ["word " * 30], 18)
    assert noted.shape[0] > blank.shape[0] + 2 * 18
    assert noted.shape[1] == blank.shape[1]


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [({"size": 5}, "size"), ({"size": "a"}, "size"), ({"size": 99.5}, "size"), ({"outline": "a"}, "outline"),
     ({"outline": [0.5]}, "outline"), ({"palette": []}, "palette"),
     ({"outline": 0}, "outline"), ({"outline": np.nan}, "outline"),
     ({"outline": 1.1}, "outline"), ({"palette": "jet"}, "palette")],
)  # fmt: skip
def test_arguments_that_cannot_be(arguments, setting):
    with pytest.raises(ArgumentError) as refused:
        drawn(noise(64, 64, 3), blob(), whole(64, 64), CAPTION, **arguments)
    assert refused.value.settings == (setting,)


def test_the_line_goes_around_the_region_that_is_tested():
    """Also where the highest value is a single pixel, and smoothing would take it away."""
    map_ = np.zeros((32, 32), np.float32)
    map_[2:20, 2:12], map_[26, 28], map_[28, 4] = 0.6, 1, 0.9
    assert np.flatnonzero(region_of(map_)[20:].any(axis=0)).tolist() == [28]
    around = placed_region(map_, 0.5, whole(32, 32), (512, 512))
    assert around[26 * 16 + 8, 28 * 16 + 8]
    assert not around[27 * 16 :, :256].any()
    assert around.mean() == pytest.approx(region_of(map_).mean(), rel=0.15)
    cropped = placed_region(map_, 0.5, Placement((32, 64), (32, 64), 0, 16, (32, 32)), (512, 1024))
    np.testing.assert_array_equal(cropped[:, 256:768], around)
    assert cropped.sum() == around.sum()


@pytest.mark.parametrize("level", [0, 60, 255])
def test_hatching_is_legible_on_dark_and_light(level):
    unseen = np.full((64, 64, 3), round(0.4 * level), np.uint8)
    painted = unseen.copy()
    hatch(painted, np.zeros((64, 64), bool), 15)
    lines = (painted != unseen).any(axis=2)
    assert 0.1 < lines.mean() < 0.2
    light, dark = (((tone / 255) ** 2.2 + 0.05) for tone in (painted[lines].min(), unseen[0, 0, 0]))
    assert light / dark > 2  # contrast as WCAG reckons it
