"""PBM, PGM and PPM against Pillow where that keeps their bits, and against the numbers themselves."""

import io

import numpy as np
import pytest
from PIL import Image

from sise_rt.errors import ImageError
from sise_rt.pictures.reading import read_picture


def numbers(shape, scale) -> np.ndarray:
    return np.random.default_rng(scale).integers(0, scale, shape, endpoint=True)


@pytest.mark.parametrize("scale", [1, 7, 100, 254, 255])
@pytest.mark.parametrize(("kind", "shape"), [(5, (6, 7)), (6, (6, 7, 3))])
def test_eight_bits_are_as_pillow_reads_them(scale, kind, shape):
    values = numbers(shape, scale)
    data = b"P%d # a comment\n7 6\n# another\n%d\n" % (kind, scale) + values.astype(np.uint8).tobytes()
    read = read_picture(data)
    np.testing.assert_array_equal(read.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert read.declared == 8
    plain = b"P%d 7 6 %d\n" % (kind - 3, scale) + b" ".join(b"%d" % value for value in values.ravel())
    np.testing.assert_array_equal(read_picture(plain).pixels, read.pixels)


@pytest.mark.parametrize(("scale", "declared"), [(1023, 10), (4095, 12), (65535, None)])
@pytest.mark.parametrize(("kind", "shape"), [(5, (6, 7, 1)), (6, (6, 7, 3))])
def test_more_bits_come_as_they_are(scale, declared, kind, shape):
    values = numbers(shape, scale)
    read = read_picture(b"P%d 7 6 %d\n" % (kind, scale) + values.astype(">u2").tobytes())
    np.testing.assert_array_equal(read.pixels, np.broadcast_to(values, (6, 7, 3)))
    assert (read.pixels.dtype, read.declared) == (np.uint16, declared)


def test_an_odd_full_scale_is_brought_to_sixteen_bits():
    read = read_picture(b"P5 3 1 1000\n" + np.array([0, 500, 1000], ">u2").tobytes())
    assert read.pixels[0, :, 0].tolist() == [0, 32768, 65535]
    assert read.declared == 16


def test_bits():
    bits = numbers((6, 11), 1)
    packed = b"P4\n11 6\n" + np.packbits(bits.astype(np.uint8), axis=1).tobytes()
    expected = np.asarray(Image.open(io.BytesIO(packed)).convert("RGB"))
    np.testing.assert_array_equal(read_picture(packed).pixels, expected)
    plain = b"P1\n11 6\n" + b"\n".join(b"".join(b"%d" % bit for bit in row) for row in bits)
    np.testing.assert_array_equal(read_picture(plain).pixels, expected)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"P6\n#" + b"x" * 60_000_000 + b"\n1 1\n255\nabc", "no width, height and full scale within 4,096"),
        (b"P6 " + b"1" * 6_000_000 + b" 1 255 abc", "no width, height"),
        (b"P6 90000 90000 255\n", "90000 x 90000 is more than 100,000,000 pixels"),
        (b"P3 9000 9000 255\n1 1 1", "243,000,000 values are written as text"),
        (b"P3 2 2 255\n" + b" " * 1_000_000 + b"1 1 1", "its 12 values are not within 4,240 bytes of text"),
        (b"P3 1 1 255\n" + b"1 2 25" + b"5" * 5000, "its 3 values are not within 4,132 bytes"),
        (b"P3 1 1 255\n1 2", "ends before its last pixel"),
        (b"P3 1 1 255\n1 2 1000000200", "what is no value of a pixel"),
        (b"P3 1 1 255\n1 -2 3", "what is no value of a pixel"),
        (b"P3 1 1 255\n1.5 3 4", "what is no value of a pixel"),
        (b"P1 2 2\n0120", "what is no bit"),
        (b"P3 1 1 255\n300 0 0", "300 is above its full scale of 255"),
        (b"P5 1 1 100\n\xff", "255 is above its full scale of 100"),
        (b"P5 1 1 70000\n\xff", "full scale of 70000"),
        (b"P5 0 1 255\n", "no pixels"),
        (b"P5 4 4 255\n123", "ends before its last pixel"),
    ],
    ids=range(16),
)
def test_broken_and_hostile_ones(data, words):
    with pytest.raises(ImageError, match=words):
        read_picture(data)
