"""What an ONNX file says of itself in its `metadata_props`."""

from pathlib import Path

import pytest
from sise_rt.export.origins.properties import describe
from sise_rt.export.origins.published import Published

from sise_rt.literals import parsed


def described(properties):
    return describe(Published(None, Path("model.onnx"), properties))


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        (
            {
                "mean": "[0.5, 0.4, 0.3]",
                "std": "[0.1, 0.2, 0.3]",
                "crop_pct": "0.95",
                "interpolation": "bicubic",
                "input_size": "[3, 64, 96]",
                "license": "apache-2.0",
            },
            {
                "mean": (0.5, 0.4, 0.3),
                "std": (0.1, 0.2, 0.3),
                "crop_pct": 0.95,
                "interpolation": "bicubic",
                "input_size": (3, 64, 96),
                "licence": "apache-2.0",
            },
        ),
        (
            {"names": "{0: 'cat', 1: 'dog', 3: 'owl', 2: 'hen'}", "stride": "32", "imgsz": "[64, 96]"},
            {"labels": ["cat", "dog", "hen", "owl"], "input_size": (None, 64, 96)},
        ),
        (
            {"id2label": '{"1": "dog", "0": "cat"}', "image_mean": "[0.5, 0.4, 0.3]", "image_std": "[1]"},
            {"labels": ["cat", "dog"], "mean": (0.5, 0.4, 0.3), "std": (1.0,)},
        ),
        (
            {"class_names": '["cat", "dog"]', "imgsz": "64"},
            {"labels": ["cat", "dog"], "input_size": (None, 64, 64)},
        ),
    ],
    ids=["timm", "ultralytics", "hugging face", "list"],
)
def test_properties(properties, said):
    description = described(properties)
    assert {setting: value for setting, (value, _, _) in description.said.items()} == said
    assert {file for _, file, _ in description.said.values()} == {"the model's metadata"}
    assert description.unsettled == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"input_size": "wide"}, "input_size is 'wide', where a size in pixels is needed"),
        ({"input_size": "[3, 64]"}, "input_size is [3, 64], where"),
        ({"names": "{[]: 'cat'}"}, "names is \"{[]: 'cat'}\", where"),
        ({"names": "[" * 200_000}, "names is '[[[[[["),
        ({"names": "__import__('os').getcwd()"}, "names is \"__import__('os').getcwd()\", where"),
        ({"names": "{0: 'a', 7: 'b'}"}, "names has no label of class 1"),
        ({"imgsz": "-" * 200_000 + "1"}, "imgsz is (None, '-----"),
    ],
    ids=lambda properties: str(properties)[:40],
)
def test_properties_that_make_no_sense(properties, reason):
    description = described(properties)
    assert description.said == {}
    (unsettled,) = description.unsettled
    assert unsettled.reason.startswith(f"the model's metadata: {reason}")
    assert len(unsettled.reason) < 200


def test_a_model_that_says_nothing():
    assert described({}) is None
    assert described({"note": "x", "stride": "32"}) is None


@pytest.mark.parametrize("text", ["[{}]", "{{{}: 0}}", "{{'a': {}}}", "{{'names': {{0: {}}}}}"])
def test_a_number_that_python_does_not_write_is_text(text):
    assert isinstance(parsed(text.format("0x" + "f" * 5000)), str)
