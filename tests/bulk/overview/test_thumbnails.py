"""What is kept of an explanation: pictures that can be looked at, and the map in few values."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from sise_rt.bulk.overview.thumbnails import CELLS, SIDE, thumbnails
from sise_rt.errors import NoEvidence


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def test_picture_overlay_and_map(explanation):
    (shown,) = thumbnails(explanation.picture, [explanation])
    assert shown.size == (SIDE, SIDE)
    picture, overlay = decoded(shown.picture), decoded(shown.overlay)
    assert picture.shape == overlay.shape == (SIDE, SIDE, 3)
    like = cv2.resize(explanation.pixels(), (SIDE, SIDE))
    assert np.abs(picture.astype(int) - like).mean() < 6
    # where the map is highest the overlay is far from the picture, where it is 0 it is its grey
    heat = cv2.resize(explanation.map, (SIDE, SIDE))
    change = np.abs(overlay.astype(int) - picture).mean(axis=2)
    assert change[heat > 0.9].mean() > 2 * change[heat < 0.05].mean()
    height, width = explanation.map.shape
    assert height % CELLS  # or the means below would be another test
    at = [
        round((place + 0.5) * CELLS / side - 0.5)
        for place, side in zip(
            np.unravel_index(explanation.map.argmax(), explanation.map.shape), (height, width), strict=True
        )
    ]
    highest = np.unravel_index(shown.map.argmax(), shown.map.shape)
    assert np.abs(np.subtract(highest, at)).max() <= 1
    assert shown.map.mean() / 255 == pytest.approx(explanation.map.mean(), abs=0.01)


def test_without_a_map_the_picture_stays(explanation):
    parts = [NoEvidence("nothing"), explanation]
    nothing, something = thumbnails(explanation.picture, parts)
    assert nothing.overlay is None
    assert nothing.map is None
    assert nothing.picture == something.picture
    (bare,) = thumbnails(explanation.picture)
    assert bare.picture == nothing.picture
    assert bare.overlay is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 2), (40, 30), (1500, 2000)])
def test_pictures_of_any_shape(explainer, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    explained = explainer.explain(pixels, 0, method="rise:masks=8")
    (shown,) = thumbnails(explained.picture, [explained])
    width, height = shown.size
    assert max(width, height) == SIDE
    assert decoded(shown.picture).shape == decoded(shown.overlay).shape == (height, width, 3)


def test_a_grey_picture_of_sixteen_bits(explainer):
    pixels = np.random.default_rng(0).integers(0, 65536, (50, 60), np.uint16)
    picture = explainer.prepare(pixels, bit_depth=16)
    (shown,) = thumbnails(picture)
    assert decoded(shown.picture).std() > 10


def test_a_map_of_zeros(explanation):
    (shown,) = thumbnails(explanation.picture, [replace(explanation, map=np.zeros_like(explanation.map))])
    assert not shown.map.any()
