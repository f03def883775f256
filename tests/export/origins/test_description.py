"""What files say of a model: typed when it is said, joined, settled by the user, told in lines."""

import pytest
from sise_rt.export.origins.description import Description, Said

from sise_rt.errors import ModelError


@pytest.mark.parametrize(
    ("setting", "value", "read"),
    [
        ("mean", [0.5, 1], (0.5, 1.0)),
        ("std", 2, (2.0,)),
        ("scale", 255, 255.0),
        ("crop_pct", 0.9, 0.9),
        ("crop_mode", "squash", "squash"),
        ("crop_floor", True, True),
        ("interpolation", "lanczos", "lanczos"),
        ("color", "BGR", "BGR"),
        ("input_size", [3, 32, 48], (3, 32, 48)),
        ("input_size", (None, 32, 48), (None, 32, 48)),
        ("activation", "sigmoid", "sigmoid"),
        ("labels", ("a", 2), ["a", "2"]),
        ("licence", "mit", "mit"),
    ],
)
def test_what_is_said(setting, value, read):
    description = Description()
    description.say(setting, value, "file.json", "key")
    assert description.said == {setting: Said(read, "file.json", "key")}
    assert type(description.value(setting)) is type(read)
    assert description.unsettled == []


@pytest.mark.parametrize(
    ("setting", "value", "needed"),
    [
        ("mean", "grey", "where a number, or one a channel, is needed"),
        ("mean", [], "where a number, or one a channel,"),
        ("mean", float("nan"), "where a number, or one a channel,"),
        ("mean", 10**400, "where a number, or one a channel,"),
        ("std", [1, "x"], "where a positive number, or one a channel,"),
        ("std", [1, 0], "where a positive number, or one a channel,"),
        ("scale", True, "where a positive number is"),
        ("scale", 1e-12, "where a positive number is"),
        ("crop_pct", 1.5, "where a share of 0.01 to 1 is"),
        ("crop_mode", "border", "where center, squash or cut is"),
        ("crop_floor", 1, "where true or false is"),
        ("interpolation", ["bilinear"], "where nearest, bilinear, bicubic"),
        ("color", {}, "where GRAY, RGB or BGR is"),
        ("input_size", [3, 64], "where a size in pixels is"),
        ("input_size", [3, 64, 0], "where a size in pixels is"),
        ("input_size", [3, 64, 1 << 30], "where a size in pixels is"),
        ("input_size", "wide", "where a size in pixels is"),
        ("input_size", 224, "where a size in pixels is"),
        ("activation", "relu", "where softmax, sigmoid or none is"),
        (
            "labels",
            "__import__('os').system('touch x')",
            "where a list of labels, or labels by index from 0, is",
        ),
        ("labels", [["a"]], "where a list of labels"),
        ("labels", [], "where a list of labels"),
        ("licence", 3, "where a text is"),
    ],
)
def test_what_makes_no_sense_is_not_settled(setting, value, needed):
    description = Description()
    description.say(setting, value, "file.json", "key")
    assert description.said == {}
    with pytest.raises(ModelError, match=rf"^file.json: key is .*, {needed}") as caught:
        description.require_settled(set())
    assert caught.value.settings == (setting,)
    assert len(caught.value.message) < 200
    description.require_settled({setting})


def test_nothing_is_nothing():
    description = Description.of("file.json", mean=None, labels=None)
    assert (description.said, description.value("mean")) == ({}, None)


def test_every_setting_settles_what_is_open():
    description = Description()
    description.leave_unsettled("size is odd", "file.json", "input_size", "crop_pct")
    for given in (set(), {"input_size"}, {"crop_pct", "mean"}):
        with pytest.raises(ModelError, match=r"file.json: size is odd \(see input_size, crop_pct\)"):
            description.require_settled(given)
    description.require_settled({"input_size", "crop_pct"})
    description.leave_unsettled("it cannot be helped", "file.json")
    with pytest.raises(ModelError, match="it cannot be helped"):
        description.require_settled({"input_size", "crop_pct"})


@pytest.mark.parametrize(
    ("setting", "one", "other"),
    [
        ("mean", 0.5, (0.5, 0.5, 0.5)),
        ("scale", 255, 255.00001),
        ("input_size", (None, 32, 32), (3, 32, 32)),
        ("labels", ["a"], ["a"]),
    ],
)
def test_two_files_that_say_the_same(setting, one, other):
    both = Description.of("a.json", **{setting: one}).with_more(Description.of("b.json", **{setting: other}))
    assert both.unsettled == []
    assert both.said[setting].file == "a.json"


@pytest.mark.parametrize(
    ("setting", "one", "other", "words"),
    [
        ("mean", (0.5, 0.4, 0.3), (0.5, 0.4, 0.2), "mean is 0.5,0.4,0.3, and b.json says 0.5,0.4,0.2 (mean)"),
        (
            "input_size",
            (None, 32, 32),
            (3, 64, 32),
            "input_size is 32x32, and b.json says 64x32 (input_size)",
        ),
        (
            "labels",
            ["a", "b"],
            ["b", "a"],
            "labels is 2 labels ('a', 'b'), and b.json says 2 labels ('b', 'a') (labels)",
        ),
        ("color", "RGB", "BGR", "color is RGB, and b.json says BGR (color)"),
    ],
)
def test_two_files_that_contradict_each_other(setting, one, other, words):
    both = Description.of("a.json", **{setting: one}).with_more(Description.of("b.json", **{setting: other}))
    with pytest.raises(ModelError) as caught:
        both.require_settled(set())
    assert caught.value.message == f"a.json: {words}: say which"
    both.require_settled({setting})


def test_what_was_taken_is_told_by_file_and_key():
    description = Description.of("config.json", labels=["a", "b"], crop_floor=True)
    description.say("mean", (0.5, 0.5, 0.25), "preprocessor_config.json", "image_mean")
    description.say("crop_pct", 0.875, "preprocessor_config.json", "size, crop_size")
    description.say("input_size", (3, 224, 192), "preprocessor_config.json", "size, crop_size")
    assert list(description.taken(description.said.keys())) == [
        "from config.json: 2 labels",
        "from preprocessor_config.json: mean 0.5,0.5,0.25 (image_mean); "
        "crop_pct 0.875, input_size 224x192 (size, crop_size)",
    ]
    assert list(description.taken({"mean"})) == [
        "from preprocessor_config.json: mean 0.5,0.5,0.25 (image_mean)"
    ]
    description.of_other_weights = True
    assert list(description.taken(description.said.keys())) == []
