"""Folders of Teachable Machine, against its sample for Keras."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from sise_rt.pictures.placement import preprocess

METADATA = {
    "tfjsVersion": "1.3.1",
    "tmVersion": "2.4.7",
    "packageVersion": "0.8.4",
    "packageName": "@teachablemachine/image",
    "timeStamp": "2026-09-28T00:00:00.000Z",
    "userMetadata": {},
    "modelName": "tm-my-image-model",
    "labels": ["Class 1", "Class 2", "3", "Class 4", "Class 5"],
    "imageSize": 32,
}
NUMBERED = "".join(f"{index} {label}\n" for index, label in enumerate(METADATA["labels"]))
FILES = [
    {"metadata.json": METADATA},
    {"metadata.json": METADATA, "labels.txt": NUMBERED},
    {"keras_model.h5": "HDF", "labels.txt": NUMBERED},
]


@pytest.mark.parametrize("files", FILES)
def test_a_folder_needs_no_option(folder_of, prepared, files):
    made = prepared(folder_of({}, files))
    assert made.labels == tuple(METADATA["labels"])
    settings = made.preprocess
    assert (settings.mean, settings.std, settings.scale) == ((0.5,) * 3, (0.5,) * 3, 255.0)
    assert (settings.crop_mode, settings.crop_pct, settings.interpolation) == ("cut", 1.0, "lanczos")
    assert {note.setting for note in made.every_assumption()} <= {"activation"}


def test_two_classes_are_told_from_their_numbers(folder_of, prepared, cnn, tmp_path):
    model = cnn(tmp_path / "two.onnx", classes=2)
    files = {"keras_model.h5": "HDF", "labels.txt": "0 good\n1 bad\n"}
    assert prepared(folder_of({}, files, model=model)).labels == ("good", "bad")
    del files["keras_model.h5"]
    assert prepared(folder_of({}, files, model=model)).labels == ("0 good", "1 bad")


def test_pictures_are_prepared_as_by_the_sample(folder_of, prepared, pictures):
    settings = prepared(folder_of({}, FILES[0])).preprocess
    for picture in pictures:
        fitted = ImageOps.fit(Image.fromarray(picture), (32, 32), Image.Resampling.LANCZOS)
        theirs = (np.asarray(fitted, np.float32) / 127.5 - 1).transpose(2, 0, 1)
        np.testing.assert_allclose(preprocess(picture, settings)[0][0], theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"packageName": "@teachablemachine/pose"},
            "packageName is '@teachablemachine/pose', and only models of",
        ),
        ({"imageSize": 64}, "imageSize says 64x64, and the model takes 32x32"),
        ({"imageSize": "big"}, "imageSize is (None, 'big', 'big'), where a size in pixels is needed"),
        ({"labels": ["a"]}, "labels has 1 label for a model with 5 classes; the first is 'a'"),
        ({"labels": "__import__('os')"}, "labels is \"__import__('os')\", where a list of labels"),
    ],
)
def test_what_contradicts_is_refused(folder_of, refused, changes, words):
    message = refused(folder_of({}, {"metadata.json": METADATA | changes}))
    assert message.startswith("metadata.json: ")
    assert words in message


def test_other_files_of_that_name_are_not_read(folder_of, prepared):
    for content in ("no JSON", "[1]", {"labels": ["x"], "imageSize": 3}):
        assert prepared(folder_of({}, {"metadata.json": content})).labels == ()
