import re

import cv2
import numpy as np
import pytest

from sise_rt.drawing.palettes import ORANGE, PALETTES, PURPLE, palette_colours, require_palette
from sise_rt.errors import ArgumentError


def lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor((rgb / 255).astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]


def as_deuteranope(rgb: np.ndarray) -> np.ndarray:
    """Machado, Oliveira and Fernandes 2009, severity 1, in linear RGB."""
    red, green = (0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413)
    blue = (-0.01182, 0.04294, 0.968881)
    linear = (rgb / 255.0) ** 2.2
    return np.clip(linear @ np.array([red, green, blue]).T, 0, 1) ** (1 / 2.2) * 255


@pytest.mark.parametrize("name", PALETTES)
def test_palettes_rise_in_lightness_and_so_in_grey_print(name):
    colours = palette_colours(name)
    assert colours.shape == (256, 3)
    assert np.diff(lab(colours)[::8, 0]).min() > 0
    assert np.diff(lab(as_deuteranope(colours))[::16, 0]).min() > 0
    matplotlib = pytest.importorskip("matplotlib")
    theirs = np.rint(255 * matplotlib.colormaps[name](np.arange(256))[:, :3])
    assert np.abs(colours - theirs).max() <= 2


@pytest.mark.parametrize("name", ["jet", [], None, 3])
def test_an_unknown_palette_is_refused(name):
    with pytest.raises(ArgumentError, match=rf"no palette {re.escape(repr(name))}; known are inf") as refused:
        require_palette(name)
    assert refused.value.settings == ("palette",)


def test_the_two_colours_of_a_difference_are_told_apart_by_all():
    colours = np.array([PURPLE, ORANGE])
    for seen in (colours, as_deuteranope(colours)):
        low, high = lab(seen)
        assert np.linalg.norm(low - high) > 80
    dark, light = colours @ np.array([0.299, 0.587, 0.114])
    assert light - dark > 80
