"""What a pixel's value means."""

import numpy as np
import pytest

from sise_rt.errors import ArgumentError, ImageError
from sise_rt.pictures.raster import Raster, bit_depth_of, in_eight_bits


def raster(brightest: int, declared: int | None = None) -> Raster:
    return Raster(np.array([[[0, brightest, brightest // 2]]], np.uint16), declared)


@pytest.mark.parametrize(
    ("read", "asked", "model", "expected"),
    [
        (Raster(np.zeros((1, 1, 3), np.uint8)), None, 8, 8),
        (Raster(np.zeros((1, 1, 3), np.uint8)), 12, 8, 8),  # of pictures in 16 bits alone
        (raster(65535), None, 8, 16),
        (raster(4095), 12, 8, 12),
        (raster(4095), 12, 16, 12),
        (raster(4095), None, 12, 12),
        (raster(4095), None, 16, 16),
        (raster(4000, 12), None, 8, 12),
        (raster(4000, 12), 16, 8, 12),  # the file knows
        (raster(0), None, 8, 16),
    ],
)
def test_who_says_it(read, asked, model, expected):
    bits, notes = bit_depth_of(read, asked, model)
    assert bits == expected
    assert notes == ()


@pytest.mark.parametrize(
    ("brightest", "fewer"), [(200, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16383, 14)]
)
def test_a_dark_picture_may_have_fewer_bits(brightest, fewer):
    bits, (note,) = bit_depth_of(raster(brightest), None, 8)
    assert bits == 16
    assert note.startswith(f"the brightest value is {brightest} of 65535: if the picture is {fewer}-bit data")


def test_eight_bits_for_a_model_of_more_are_said():
    assert bit_depth_of(Raster(np.zeros((1, 1, 3), np.uint8)), None, 12) == (
        8,
        ("the picture has 8 bits, the model takes 12: its values are brought to them",),
    )


def test_what_cannot_be():
    with pytest.raises(ImageError, match="brightest value is 5000, above the 4095 of 12 bits") as caught:
        bit_depth_of(raster(5000), 12, 8)
    assert caught.value.settings == ("bit_depth",)
    with pytest.raises(ImageError, match="above the 4095"):
        bit_depth_of(raster(5000), None, 12)
    for asked in (7, 17, 12.5, True, "12"):
        with pytest.raises(ArgumentError, match="a bit depth of"):
            bit_depth_of(raster(10), asked, 8)


def test_shown_in_eight_bits():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    np.testing.assert_array_equal(in_eight_bits(values, 16), (values.astype(np.uint32) + 128) // 257)
    assert in_eight_bits(np.array([0, 2048, 4095], np.uint16), 12).tolist() == [0, 128, 255]
