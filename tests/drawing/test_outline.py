"""The line around a region: against distances that SciPy works out, and drawings of known regions."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from sise_rt.drawing.outline import draw_outline
from sise_rt.pictures.regions import region_of


def disc(shape, centre, radius):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def lines_around(inside):
    """The pixels that are drawn on, and of these those near its middle, which is white."""
    painted = np.full((*inside.shape, 3), 128, np.uint8)
    draw_outline(painted, inside)
    return (painted != 128).any(axis=2), painted[..., 0] > 140


SHAPES = {
    "disc": disc((300, 400), (150, 200), 60),
    "pit": disc((512, 512), (400, 100), 2),
    "cross": np.pad(np.ones((20, 200), bool), ((140, 140), (100, 100)))
    | np.pad(np.ones((200, 20), bool), ((50, 50), (190, 190))),
    "two": disc((300, 400), (150, 100), 50) | disc((300, 400), (150, 300), 40),
    "ring": disc((300, 400), (150, 200), 120) & ~disc((300, 400), (150, 200), 70),
    "ragged": ndimage.gaussian_filter(np.random.default_rng(1).random((300, 400)), 8) > 0.505,
    "large": disc((1800, 1500), (900, 700), 400),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_line_lies_just_outside_and_encloses_all_of_the_region(name):
    inside = region = region_of(SHAPES[name].astype(float))
    drawn, white = lines_around(inside)
    assert not (drawn & region).any()
    # Everything that cannot be reached from the border of the picture without crossing the line ...
    free = np.pad(~drawn, 1, constant_values=True)
    parts, _ = ndimage.label(free)
    at_border = np.pad(region, 1, mode="edge")
    outside = parts == parts[0, 0]
    if not (region[[0, -1]].any() or region[:, [0, -1]].any()):
        assert not (outside & at_border).any()  # ... holds the region,
    # and the line is near to it: no farther than it should be, and what its corners are rounded by.
    distance = ndimage.distance_transform_edt(~region)
    reach = max(5, 0.012 * min(inside.shape))
    assert distance[white].max() < 2 * reach + 3
    assert distance[white].min() > reach / 2 - 2


def test_the_line_is_thin():
    for radius in (20, 60, 100):
        drawn, white = lines_around(disc((512, 512), (256, 256), radius))
        length = 2 * np.pi * (radius + 6)
        assert white.sum() / length < 2.5
        assert drawn.sum() / length < 7


def test_the_line_is_smooth():
    """A staircase of 12 pixels, as of an enlarged map, turns by less than its corners of 90 degrees."""
    y, x = np.mgrid[:400, :400]
    stairs = (y // 12 + x // 12) > 33
    _, white = lines_around(stairs & (y > 40) & (x > 40))
    middle = white & (np.abs(y - x) < 60)
    along = (y + x)[middle]  # constant on a straight line along the stairs
    assert np.ptp(along) < 14  # the stairs themselves: 24


@pytest.mark.parametrize("value", [False, True])
def test_nothing_and_everything_have_no_line(value):
    assert not lines_around(np.full((200, 300), value))[0].any()


def test_at_the_border_of_the_picture_the_line_is_open():
    inside = np.zeros((200, 300), bool)
    inside[:100, 100:200] = True
    _, white = lines_around(inside)
    assert white[102:112, 110:190].any(axis=0).all()
    assert white[:90, 80:100].any(axis=1).all()
    assert not white[:90, 105:195].any()


def test_one_pixel_of_a_huge_picture_has_a_line():
    inside = np.zeros((3000, 4000), bool)
    inside[1234, 2345] = True
    _, white = lines_around(inside)
    rows, columns = np.nonzero(white)
    assert abs(rows.mean() - 1234) < 8
    assert abs(columns.mean() - 2345) < 8
    lines, _ = cv2.findContours(white.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert len(lines) == 1


def test_the_line_stays_within_what_the_model_saw():
    region, seen = np.zeros((200, 300), bool), np.zeros((200, 300), bool)
    region[50:150, 50:150] = seen[:, :150] = True
    painted = np.full((200, 300, 3), 128, np.uint8)
    draw_outline(painted, region, seen)
    drawn = (painted != 128).any(axis=2)
    assert not drawn[:, 150:].any()
    assert drawn[60:140, 35:50].any(axis=1).all()
    assert drawn[35:50, 60:149].any(axis=0).all()
