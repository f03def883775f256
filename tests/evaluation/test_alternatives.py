"""What preprocessing might be instead: each is one that a model may have, and differs from the stated one."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from sise_rt.evaluation.alternatives import alternatives
from sise_rt.pictures.placement import preprocess
from sise_rt.preprocessing import Preprocess

IMAGENET = Preprocess(
    (3, 24, 24), "bilinear", 0.875, "center", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "RGB", 255
)
VALUES = ["pixels of 0 to 1", "pixels of 0 to 255", "pixels of -1 to 1", "ImageNet's mean and std"]
CAFFE = "pixels of 0 to 255 less Caffe's mean"
TAUGHT = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_of_imagenet_s_convention():
    values = [*VALUES[:3], CAFFE]
    assert list(alternatives(IMAGENET)) == [
        *values,
        "BGR",
        *(f"BGR, {words}" for words in values),
        "squashed",
        "with the whole short side",
    ]


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("crop", [1, 0.875])
def test_all_give_other_inputs(color, crop):
    specs = [IMAGENET, *alternatives(replace(IMAGENET, color=color, crop_pct=crop)).values()]
    tensors = [preprocess(TAUGHT, spec)[0] for spec in specs[1:]]
    for one, other in combinations(tensors, 2):
        assert np.abs(one - other).max() > 0.02 * np.ptp(one)


def test_the_mean_goes_with_its_colour():
    assert alternatives(IMAGENET)["BGR"].mean == (0.406, 0.456, 0.485)
    assert alternatives(IMAGENET)[f"BGR, {CAFFE}"].mean == (103.939, 116.779, 123.68)
    again = alternatives(alternatives(IMAGENET)["BGR"])["RGB"]
    np.testing.assert_array_equal(preprocess(TAUGHT, again)[0], preprocess(TAUGHT, IMAGENET)[0])


def test_what_comes_to_the_same_is_no_alternative():
    other = replace(IMAGENET, scale=127.5, mean=(1, 1, 1), std=(1, 1, 1))  # -1 to 1
    assert VALUES[2] not in alternatives(other)
    assert VALUES[0] not in alternatives(replace(IMAGENET, scale=256, mean=(0,) * 3, std=(1,) * 3))
    caffe = replace(IMAGENET, scale=1, mean=(104, 117, 123), std=(1,) * 3, color="BGR")
    assert f"BGR, {CAFFE}" not in alternatives(caffe)
    assert CAFFE not in alternatives(caffe)
    assert "RGB" in alternatives(caffe)


def test_other_channels_and_depths():
    grey = replace(IMAGENET, input_size=(1, 24, 24), mean=(0,), std=(1,), color="GRAY", crop_pct=1)
    assert list(alternatives(grey)) == [
        "pixels of 0 to 255",
        "pixels of -1 to 1",
        "squashed",
        "cropped to 0.875",
    ]
    five = replace(IMAGENET, input_size=(5, 24, 24), mean=(0,) * 5, std=(1,) * 5, scale=4095, bit_depth=12)
    found = alternatives(five)
    assert list(found)[:2] == ["pixels of 0 to 4095", "pixels of -1 to 1"]
    assert found["pixels of -1 to 1"].ends == ((-1, 1),) * 5
    assert found["pixels of 0 to 4095"].ends == ((0, 4095),) * 5


def test_a_crop_that_was_assumed_is_stated():
    assumed = replace(IMAGENET, crop_assumed=True)
    assert not any(
        alternatives(assumed)[words].crop_assumed for words in ("squashed", "with the whole short side")
    )
