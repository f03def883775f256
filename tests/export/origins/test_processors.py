"""What image processors do with sizes: each family's own rule."""

import pytest
from sise_rt.export.origins.processors import PROCESSORS, NotFramed, family, frame


def framed(kind, **values):
    return frame(kind, {**PROCESSORS[kind].defaults, **values})


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("ConvNext", {"size": 224}, (224, 224, "center", 0.875)),
        ("ConvNext", {"size": {"shortest_edge": 383}, "crop_pct": 0.95}, (383, 383, "center", 383 / 403)),
        ("ConvNext", {"size": {"shortest_edge": 384}}, (384, 384, "squash", 1.0)),
        ("ConvNext", {"size": 512, "crop_pct": 0.5}, (512, 512, "squash", 1.0)),
        ("ConvNext", {"size": 224, "do_center_crop": True, "crop_size": 224}, (224, 224, "center", 0.875)),
        ("EfficientNet", {}, (346, 346, "squash", 1.0)),
        ("EfficientNet", {"size": 160, "crop_size": 128, "do_center_crop": True}, (128, 128, "squash", 0.8)),
        ("MobileNetV2", {}, (224, 224, "center", 0.875)),
        ("MobileNetV1", {"size": 192, "crop_size": [160, 160]}, (160, 160, "center", 160 / 192)),
        ("MobileViT", {"size": {"shortest_edge": 288}}, (256, 256, "center", 256 / 288)),
        ("Levit", {}, (224, 224, "center", 0.875)),
        ("Levit", {"size": 192, "crop_size": 192}, (192, 192, "center", 192 / 219)),
        ("Levit", {"size": {"height": 256, "width": 256}}, (224, 224, "squash", 0.875)),
        ("PoolFormer", {}, (224, 224, "center", 224 / 248)),
        ("PoolFormer", {"size": [224, 224], "crop_pct": 0.95}, (224, 224, "center", 224 / 235)),
        ("PoolFormer", {"crop_pct": None, "size": 256}, (224, 224, "center", 0.875)),
        ("Pvt", {"size": {"height": 128, "width": 160}}, (128, 160, "squash", 1.0)),
        ("ViT", {"size": 384}, (384, 384, "squash", 1.0)),
        ("ViT", {"size": 256, "default_to_square": False, "crop_size": 224, "do_center_crop": True},
         (224, 224, "center", 0.875)),
        ("Bit", {"size": {"shortest_edge": 224, "longest_edge": None}}, (224, 224, "center", 1.0)),
        ("DeiT", {}, (224, 224, "squash", 0.875)),
    ],
)  # fmt: skip
def test_frames(kind, values, expected):
    assert framed(kind, **values) == expected


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("ViT", {"do_resize": False}, "do_resize is false"),
        ("ViT", {"size": {"shortest_edge": 224}}, "only the short side gets a size and nothing is cropped"),
        (
            "ViT",
            {"size": {"shortest_edge": 224, "longest_edge": 300}},
            "size gives longest_edge, shortest_edge",
        ),
        ("ViT", {"size": {"max_height": 3, "max_width": 4}}, "size gives max_height, max_width"),
        ("ViT", {"size": {}}, "size gives nothing"),
        ("ViT", {"size": "big"}, "size is 'big', where pixels are needed"),
        ("ViT", {"size": {"height": 224, "width": -1}}, "size is '-1', where pixels"),
        ("ViT", {"size": 1 << 40}, "where pixels are needed"),
        ("Bit", {"size": 224, "crop_size": {"height": 200, "width": 224}}, "crop_size is not square"),
        ("MobileViT", {}, "crop_size is larger than size"),
        ("EfficientNet", {"do_center_crop": True, "crop_size": [100, 200]}, "differ in their aspect ratio"),
        ("ConvNext", {"size": {"height": 224, "width": 224}}, "size has no shortest_edge"),
        ("ConvNext", {"size": 224, "do_center_crop": True, "crop_size": 200}, "crops once more"),
        ("ConvNext", {"size": 224, "crop_pct": 0}, "crop_pct is '0', where 0.01 to 1"),
        (
            "Bit",
            {"crop_size": {"shortest_edge": 224}},
            "crop_size has no height and width|crop_size is not square",
        ),
    ],
)
def test_what_is_no_frame(kind, values, words):
    with pytest.raises(NotFramed, match=words):
        framed(kind, **values)


def test_families():
    for name in ("ConvNextImageProcessor", "ConvNextImageProcessorFast", "ConvNextFeatureExtractor"):
        assert family(name) == "ConvNext"
    assert family("SomeOther") == "SomeOther"
