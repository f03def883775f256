"""How preprocessing is told in a sentence, against what `preprocess` does."""

from dataclasses import replace

import numpy as np
import pytest

from sise_rt.pictures.placement import preprocess
from sise_rt.preprocessing import Preprocess

IMAGENET = Preprocess(
    (3, 224, 224), "bilinear", 0.875, "center", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "RGB", 255
)
PLAIN = replace(IMAGENET, crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1))


def test_the_sentence_of_imagenet():
    assert IMAGENET.sentence() == (
        "The short side is resized to 256 pixels (bilinear), and the middle 224 x 224 is cropped; "
        "the channels are RGB; "
        "pixel values, 0 to 255, are divided by 255, reduced by the mean 0.485, 0.456, 0.406 and divided by "
        "the std 0.229, 0.224, 0.225, which gives -2.12 to 2.64."
    )


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            replace(IMAGENET, crop_assumed=True),
            "(a picture of exactly 224 x 224 is taken as it is, as nobody",
        ),
        (replace(PLAIN, crop_mode="squash"), "to 224 x 224 pixels (bilinear), whatever its proportions; the"),
        (
            replace(PLAIN, crop_mode="squash", crop_pct=0.5),
            "448 x 448 pixels (bilinear), whatever its proportions, and the middle 224 x 224 is cropped;",
        ),
        (
            replace(PLAIN, input_size=(3, 240, 320), interpolation="bicubic"),
            "until it just covers 320 x 240 pixels (width x height, bicubic), and the middle 320 x 240 is",
        ),
        (
            replace(PLAIN, crop_mode="cut", interpolation="lanczos"),
            "The middle of the picture, the largest part with the input's proportions, is cut out and "
            "resized to 224 x 224 pixels (Lanczos); the",
        ),
        (replace(PLAIN, crop_mode="cut", crop_pct=0.875), "The middle of the picture, 0.875 of the largest"),
        (replace(IMAGENET, crop_floor=True), " 224 x 224 is cropped (from the first of two pixels where it"),
        (replace(PLAIN, crop_mode="squash", interpolation="linear"), "(bilinear as OpenCV's), whatever"),
        (replace(PLAIN, interpolation="nearest"), "resized to 224 pixels (nearest pixel), and"),
        (PLAIN, "are divided by 255, which gives 0 to 1."),
        (replace(PLAIN, color="BGR"), "; the channels are BGR; "),
        (replace(PLAIN, input_size=(1, 9, 9), mean=(0,), std=(1,), color="GRAY"), "; colours become grey; "),
        (replace(PLAIN, input_size=(2, 9, 9), mean=(0,) * 2, std=(1,) * 2), "; its 2 channels come as they"),
        (replace(PLAIN, scale=1), "; pixel values, 0 to 255, stay as they are."),
        (
            replace(PLAIN, scale=127.5, mean=(1, 1, 1)),
            "by 127.5 and reduced by the mean 1, which gives -1 to 1.",
        ),
        (
            replace(PLAIN, scale=4095, bit_depth=12),
            "values, 0 to 4095 at 12 bits, are divided by 4095, which",
        ),
        (
            replace(PLAIN, scale=1, mean=(104, 117, 123)),
            "are reduced by the mean 104, 117, 123, which gives -123",
        ),
    ],
)
def test_the_sentence_says(spec, says):
    assert says in spec.sentence()


def test_frame_and_ends_are_those_of_preprocessing():
    """A picture of the darkest and the brightest value, of other proportions than the input."""
    spec = replace(IMAGENET, input_size=(3, 30, 40), crop_pct=0.5)
    for value, pick in ((0, 0), (255, 1)):
        tensor, placement = preprocess(np.full((60, 200, 3), value, np.uint8), spec)
        np.testing.assert_allclose(tensor[0, :, 0, 0], [pair[pick] for pair in spec.ends], rtol=1e-6)
        assert (placement.resized[0], placement.input) == (spec.frame[0], (30, 40))
    squashed = preprocess(np.zeros((60, 200, 3), np.uint8), replace(spec, crop_mode="squash"))[1]
    assert squashed.resized == spec.frame == (60, 80)
