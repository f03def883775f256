import numpy as np
import pytest

from sise_rt.drawing import contrast as module
from sise_rt.drawing.contrast import contrast, on_one_scale
from sise_rt.drawing.framing import Caption
from sise_rt.drawing.painting import overlay_difference
from sise_rt.pictures.placement import Placement

CLASSES = Caption("cat (281)", ", confidence 0.7"), Caption("dog (243)", ", confidence 0.2")


def test_one_scale_keeps_the_order_of_all_values_and_their_differences():
    rng = np.random.default_rng(0)
    first, second = 4 * rng.random((9, 7)), 1 + rng.random((9, 7))
    a, b = on_one_scale(first, second)
    everything, scaled = (np.concatenate([x.ravel(), y.ravel()]) for x, y in ((first, second), (a, b)))
    slope, offset = np.polyfit(everything, scaled, 1)
    np.testing.assert_allclose(scaled, slope * everything + offset, atol=1e-12)
    assert (scaled.min(), scaled.max()) == (0, 1)
    assert b.max() < 0.6  # the weaker one stays weaker
    for map_ in on_one_scale(np.full((3, 3), 2.0), np.full((3, 3), 2.0)):
        assert not map_.any()


def test_differences_are_orange_above_and_purple_below_and_nothing_at_zero():
    picture = np.full((1, 5, 3), 128, np.uint8)
    made = overlay_difference(picture, np.array([[-1, -0.5, 0, 0.5, 1]])).astype(int)[0]
    assert np.ptp(made[2]) <= 2
    assert made[4, 0] > made[4, 2] + 100
    assert made[0, 2] > made[0, 1] + 40
    assert made[0].mean() < made[1].mean() < made[2].mean() < made[3].mean() < made[4].mean()


def drawn_with(monkeypatch, raw, size=(64, 64), placement=None):
    seen = {}
    for name in ("overlay", "overlay_difference"):
        real = getattr(module, name)

        def spy(picture, map_, *rest, _name=name, _real=real, **options):
            if map_.shape[0] > 1:  # not the scale
                seen.setdefault(_name, []).append((map_, options.get("region")))
            return _real(picture, map_, *rest, **options)

        monkeypatch.setattr(module, name, spy)
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    placement = placement or Placement(size, (16, 16), 0, 0, (16, 16))
    made = contrast(picture, raw, placement, Caption("Why?"), CLASSES, size=256)
    return made, seen


def test_both_maps_and_their_difference_are_drawn(monkeypatch):
    first, second = np.zeros((16, 16)), np.zeros((16, 16))
    first[2:6, 2:6], second[10:14, 10:14] = 4, 1
    made, seen = drawn_with(monkeypatch, (first, second))
    (a, around_a), (b, around_b) = seen["overlay"]
    assert a.max() == pytest.approx(1, abs=0.02)
    assert b.max() == pytest.approx(0.25, abs=0.01)
    scale = 256 // 16
    for around, top in ((around_a, 2), (around_b, 10)):
        rows, columns = np.nonzero(around)
        assert (rows.min(), columns.min()) == pytest.approx((top * scale, top * scale), abs=2)
        assert around.sum() == pytest.approx((4 * scale) ** 2, rel=0.1)
    np.testing.assert_array_equal(seen["overlay_difference"][0][0], a - b)
    assert made.shape[1] > 3 * 256


def test_wide_pictures_stand_below_each_other(monkeypatch):
    raw = np.eye(16), np.eye(16)[::-1]
    wide, _ = drawn_with(monkeypatch, raw, (64, 128))
    assert wide.shape[0] > 3 * 256
    assert wide.shape[1] < 2 * 512


def test_equal_maps_differ_nowhere(monkeypatch):
    map_ = np.random.default_rng(0).random((16, 16))
    _, seen = drawn_with(monkeypatch, (map_, map_.copy()))
    assert not seen["overlay_difference"][0][0].any()
    drawn_with(monkeypatch, (np.zeros((16, 16)), np.zeros((16, 16))))  # and nothing at all is no error


@pytest.mark.parametrize(
    ("outline", "size", "line"),
    [
        (0.5, 128, "at least half as much as the most for that class"),
        (0.3, 128, "at least 30% as much as the most for that class"),
        (None, 128, None),
        (0.5, 64, None),  # too small for a line
    ],
)
def test_the_line_is_told_as_it_is_drawn(monkeypatch, outline, size, line):
    told = []
    monkeypatch.setattr(module, "framed", lambda *arguments: told.append(arguments[2]) or arguments[0])
    placement = Placement((64, 64), (16, 16), 0, 0, (16, 16))
    picture, raw = np.zeros((64, 64, 3), np.uint8), (np.eye(16), np.eye(16)[::-1])
    contrast(picture, raw, placement, Caption("Why?"), CLASSES, size=size, outline=outline)
    notes = " ".join(told[-1])
    assert (line in notes) if line else ("line" not in notes)


@pytest.mark.parametrize("size", [(2, 300), (300, 2), (1, 1)])
@pytest.mark.parametrize("named", ["a", "a class with a long name " * 4])
def test_panels_with_more_words_below_fit_together(size, named):
    placement = Placement(size, (16, 16), 0, 0, (16, 16))
    raw, caption = (np.eye(16), np.eye(16)[::-1]), Caption(named)
    picture = np.zeros((*size, 3), np.uint8)
    made = contrast(picture, raw, placement, Caption("Why?"), (caption, caption), size=64)
    assert max(made.shape) < 2000
