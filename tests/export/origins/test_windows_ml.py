"""The image properties of Windows ML."""

import numpy as np
import pytest
from sise_rt.export.origins.windows_ml import of_properties

from sise_rt.pictures.placement import preprocess


@pytest.mark.parametrize(
    ("range_", "black", "white"),
    [
        ("NominalRange_0_255", 0, 255),
        ("Normalized_0_1", 0, 1),
        ("Normalized_1_1", -1, 1),
        ("normalized_1_1", -1, 1),
        ("NominalRange_16_235", 16, 235),
    ],
)
def test_pixels_are_brought_to_the_range(folder_of, prepared, range_, black, white):
    settings = prepared(folder_of({"Image.NominalPixelRange": range_})).preprocess
    for level, value in ((0, black), (255, white), (51, black + (white - black) / 5)):
        picture = np.full((32, 32, 3), level, np.uint8)
        np.testing.assert_allclose(preprocess(picture, settings)[0], value, atol=1e-5)


@pytest.mark.parametrize(("value", "color"), [("Bgr8", "BGR"), ("Rgb8", "RGB"), ("bgr8", "BGR")])
def test_channels_have_the_order(folder_of, prepared, value, color):
    settings = prepared(folder_of({"Image.BitmapPixelFormat": value})).preprocess
    assert settings.color == color


def test_how_pictures_are_resized_stays_assumed_and_is_said(folder_of, prepared):
    written = {
        "Image.BitmapPixelFormat": "Bgr8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }
    made = prepared(folder_of(written))
    assert made.described == (
        "from the model's metadata: color BGR (Image.BitmapPixelFormat); scale 1.0, mean 0, std 1 "
        "(Image.NominalPixelRange)",
    )
    assert {note.setting for note in made.every_assumption()} - {"activation"} == {
        "interpolation",
        "crop_pct",
        "crop_mode",
    }


@pytest.mark.parametrize(
    ("properties", "channels", "words"),
    [
        ({"Image.BitmapPixelFormat": "Rgba8"}, 3, "Image.BitmapPixelFormat is 'Rgba8', where Gray8, Rgb8 or"),
        (
            {"Image.BitmapPixelFormat": "Gray8"},
            3,
            "Image.BitmapPixelFormat is Gray8, and the model takes 3 channels",
        ),
        (
            {"Image.BitmapPixelFormat": "Bgr8"},
            1,
            "Image.BitmapPixelFormat is Bgr8, and the model takes 1 channels",
        ),
        (
            {"Image.ColorSpaceGamma": "Linear"},
            3,
            "Image.ColorSpaceGamma is 'Linear', and pictures are prepared in",
        ),
        ({"Image.NominalPixelRange": "0..1"}, 3, "Image.NominalPixelRange is '0..1', which is unknown"),
    ],
)
def test_what_cannot_be_followed(properties, channels, words):
    description = of_properties(properties, "m.json", channels)
    (unsettled,) = description.unsettled
    assert unsettled.reason.startswith(f"m.json: {words}")
    assert not description.said


def test_the_user_settles_a_range(folder_of, prepared, refused):
    folder = folder_of({"Image.NominalPixelRange": "eval('1')"})
    assert "the model's metadata: Image.NominalPixelRange is \"eval('1')\", which is unknown" in refused(
        folder
    )
    given = {"scale": 1.0, "mean": 0.0, "std": 1.0}
    assert prepared(folder, preprocess=given).preprocess.scale == 1.0
