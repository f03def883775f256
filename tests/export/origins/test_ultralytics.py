"""Models of Ultralytics: properties that are Python literals, and the transform for classification."""

import numpy as np
import pytest
from PIL import Image

from sise_rt.pictures.placement import preprocess

WRITTEN = {
    "description": "Ultralytics YOLO11n-cls model",
    "author": "Ultralytics",
    "version": "8.4.190",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "stride": "1",
    "task": "classify",
    "batch": "1",
    "imgsz": "[32, 32]",
    "names": "{0: 'ant', 1: \"bee's\", 2: 'cat', 3: 'dog', 4: 'elk'}",
    "args": "{'data': None, 'batch': 1, 'dynamic': False}",
    "channels": "3",
}


def test_a_model_needs_no_option(folder_of, prepared):
    made = prepared(folder_of(WRITTEN))
    assert made.labels == ("ant", "bee's", "cat", "dog", "elk")
    settings = made.preprocess
    assert (settings.input_size, settings.crop_mode, settings.crop_pct) == ((3, 32, 32), "center", 1.0)
    assert (settings.mean, settings.std, settings.scale) == ((0.0,) * 3, (1.0,) * 3, 255.0)
    assert (settings.interpolation, settings.color, settings.crop_assumed) == ("bilinear", "RGB", False)
    assert not [note for note in made.every_assumption() if note.setting != "activation"]
    first, second = made.described
    assert first.startswith("from the model's metadata: licence AGPL-3.0")
    assert first.endswith("input_size 32x32 (imgsz, channels); 5 labels (names)")
    assert second.startswith("from Ultralytics' transform for classification: crop_mode center")


def test_pictures_are_prepared_as_by_the_transform(folder_of, prepared, pictures, torchvision):
    settings = prepared(folder_of(WRITTEN)).preprocess
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32), transforms.ToTensor()])
    for picture in pictures:
        np.testing.assert_allclose(
            preprocess(picture, settings)[0][0], theirs(Image.fromarray(picture)).numpy(), atol=1e-6
        )


def test_pictures_are_prepared_as_by_ultralytics(folder_of, prepared, pictures, torchvision):
    augment = pytest.importorskip("ultralytics.data.augment")
    settings = prepared(folder_of(WRITTEN)).preprocess
    theirs = augment.classify_transforms(32)
    for picture in pictures:
        np.testing.assert_allclose(
            preprocess(picture, settings)[0][0], theirs(Image.fromarray(picture)).numpy(), atol=1e-6
        )


def test_an_input_that_is_not_square_is_squashed_to(folder_of, prepared, cnn, tmp_path):
    import onnx

    model = onnx.load(cnn(tmp_path / "wide.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 48
    onnx.save(model, tmp_path / "wide.onnx")
    settings = prepared(folder_of(WRITTEN | {"imgsz": "[32, 48]"}, model=tmp_path / "wide.onnx")).preprocess
    assert (settings.input_size, settings.crop_mode) == ((3, 32, 48), "squash")


def test_what_the_user_says_comes_first(folder_of, prepared):
    made = prepared(folder_of(WRITTEN), labels=list("abcde"), preprocess={"crop_pct": 0.5})
    assert (made.labels, made.preprocess.crop_pct) == (tuple("abcde"), 0.5)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("task", "detect", "the model's metadata: task is 'detect', and only classifiers (classify) can be"),
        (
            "names",
            "{0: 'a', 1: 'b'}",
            "the model's metadata: names has 2 labels for a model with 5 classes; the",
        ),
        (
            "names",
            "{0: 'a', 2: 'b'}",
            "the model's metadata: names has no label of class 1",
        ),
        (
            "names",
            "__import__('os').system('id')",
            "names is \"__import__('os').system('id')\", where a list of labels",
        ),
        ("names", "{" * 10**5, "the model's metadata: names is '{{{{{{"),
        (
            "names",
            "'" + "a" * 10**7 + "'",
            "the model's metadata: names is \"'aaaaa",
        ),
        ("names", "[[]]", "the model's metadata: names holds '[]', which is no label"),
        (
            "imgsz",
            "[64, 64]",
            "the model's metadata: imgsz, channels says 64x64 with 3 channels, and the model",
        ),
        (
            "imgsz",
            "[9e999, 64]",
            "the model's metadata: imgsz, channels is (3, inf, 64), where a size in pixels",
        ),
        (
            "imgsz",
            "[1, 2, 3, 4]",
            "the model's metadata: imgsz, channels is (3, 1, 2, 3, 4), where a size in",
        ),
        ("imgsz", "[[64], 64]", "the model's metadata: imgsz, channels is (3, [64], 64), where a size in"),
        (
            "imgsz",
            "{'side': 64}",
            "the model's metadata: imgsz, channels is (3, {'side': 64}, {'side': 64}),",
        ),
        ("channels", "'x'", "the model's metadata: imgsz, channels is ('x', 32, 32), where a size in pixels"),
    ],
)
def test_what_contradicts_the_model_is_refused(folder_of, refused, key, value, words):
    assert words in refused(folder_of(WRITTEN | {key: value}))


def test_no_value_is_run(folder_of, refused, tmp_path):
    refused(folder_of(WRITTEN | {"names": f"open({str(tmp_path / 'run')!r}, 'w')"}))
    assert not (tmp_path / "run").exists()


def test_sides_that_are_no_numbers_are_refused(folder_of, refused):
    assert "imgsz, channels is (3, {}, {})" in refused(folder_of(WRITTEN | {"imgsz": "{}"}))
