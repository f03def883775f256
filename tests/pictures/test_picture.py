"""The prepared picture: once read, it is what everything else looks at."""

import io
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from sise_rt.bundle import Preprocess
from sise_rt.errors import ArgumentError, ImageError
from sise_rt.pictures.picture import Picture, in_rgb, prepare
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import load_image

SPEC = Preprocess((3, 8, 8), "bilinear", 0.8, "center", (0.5,) * 3, (0.25,) * 3, "RGB", 255.0)
WHOLE = replace(SPEC, crop_pct=1.0)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_it_is_what_reading_and_placing_give(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(12, 20, 3)).save(path)
    picture = prepare(path, SPEC)
    tensor, placement = preprocess(load_image(path), SPEC)
    assert np.array_equal(picture.pixels, noise(12, 20, 3))
    assert np.array_equal(picture.tensor, tensor)
    assert (picture.placement, picture.name) == (placement, str(path))
    assert picture.seconds > 0


def test_a_picture_is_not_prepared_again():
    picture = prepare(noise(9, 9, 3), SPEC)
    assert prepare(picture, SPEC) is picture


def test_a_picture_of_another_model_is_refused():
    picture = prepare(noise(9, 9, 3), SPEC)
    with pytest.raises(ArgumentError, match="was prepared for another model"):
        prepare(picture, replace(SPEC, mean=(0.4,) * 3))


@pytest.mark.parametrize("bits", [None, 12])
def test_where_zero_is_white_the_bit_depth_is_that_of_the_file(bits):
    grey = noise(12, 12).astype(np.uint16) * 16
    tifffile.imwrite(buffer := io.BytesIO(), grey, photometric="miniswhite")
    picture = prepare(buffer.getvalue(), WHOLE, bit_depth=bits)
    upright = np.repeat((4095 if bits else 65535) - grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(picture.tensor, preprocess(upright, WHOLE, bits or 16)[0])
    np.testing.assert_array_equal(picture.pixels, np.rint(upright * (255 / (4095 if bits else 65535))))
    assert [note.split(": if")[0] for note in picture.notes] == (
        [] if bits else [f"the largest value, where 0 is white, is {grey.max()} of 65535"]
    )


def test_what_it_is_called(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(noise(9, 9, 3)).save(path)
    with Image.open(path) as opened:
        assert prepare(opened, SPEC).name == str(path)
    assert prepare(noise(9, 9, 3), SPEC).name == prepare(path.read_bytes(), SPEC).name == "image"
    assert prepare(path, SPEC, name="part 7").name == "part 7"


@pytest.mark.parametrize(
    ("image", "name", "message"),
    [
        ("none.png", None, "none.png: no such file: check the path"),
        ("none.png", "part 7", "part 7: no such file: check the path"),
        (b"", "part 7", "part 7: is empty: save or copy the picture again"),
        (np.zeros((4, 4)), "part 7", "part 7: an array of float64 has no known range"),
        (np.zeros((1, 10**7, 3), np.uint8), "part 7", "part 7: a picture of 10000000 x 1 is too narrow"),
        (io.BytesIO(b""), None, "image: a BytesIO is no picture"),
    ],
)
def test_messages_say_which_picture_once(image, name, message):
    with pytest.raises(ImageError) as caught:
        prepare(image, SPEC, name=name)
    assert str(caught.value).startswith(message)


def test_what_is_doubtful_of_a_picture_is_noted():
    dark = np.full((8, 8), 4000, np.uint16)
    picture = prepare(dark, SPEC)
    assert picture.notes[0].startswith("the brightest value is 4000 of 65535: if the picture is 12-bit data")
    assert (picture.bit_depth, picture.pixels.max()) == (16, 16)
    picture = prepare(dark, SPEC, bit_depth=12)
    assert (picture.notes, picture.bit_depth, picture.pixels.max()) == ((), 12, 249)
    np.testing.assert_allclose(picture.tensor, (4000 / 4095 - 0.5) / 0.25, rtol=1e-5)
    with pytest.raises(
        ImageError, match="part 7: its brightest value is 4000, above the 1023 of 10 bits"
    ) as caught:
        prepare(dark, SPEC, bit_depth=10, name="part 7")
    assert caught.value.settings == ("bit_depth",)


def test_a_picture_of_which_more_than_a_quarter_is_cropped_is_noted():
    most = replace(SPEC, crop_pct=0.9)
    assert prepare(noise(20, 20, 3), most).notes == ()
    (note,) = prepare(noise(20, 30, 3), most).notes
    assert note == "the model sees 67% of the picture: the rest is cropped"
    assert prepare(noise(20, 40, 3), SPEC).notes == (
        "the model sees 32% of the picture: the rest is cropped",
    )


def test_other_channels_are_shown_as_their_mean():
    assert np.array_equal(in_rgb(noise(4, 5, 3)), noise(4, 5, 3))
    grey = in_rgb(noise(4, 5, 12))
    assert grey.shape == (4, 5, 3)
    assert np.array_equal(grey[..., 0], noise(4, 5, 12).mean(axis=2).round())
    assert np.array_equal(grey[..., 0], grey[..., 2])


def test_pictures_are_told_apart_by_what_they_are_and_not_by_their_pixels():
    """Comparing arrays would raise; a picture is itself."""
    picture = prepare(noise(9, 9, 3), SPEC)
    assert picture == picture
    assert picture != replace(picture)
    assert repr(picture).startswith("Picture(placement=Placement(original=(9, 9)")
    assert isinstance(picture, Picture)
