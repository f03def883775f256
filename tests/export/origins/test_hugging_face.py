"""Hugging Face folders: what their two files mean, and what is refused."""

import importlib.util
import json
import warnings

import onnx
import pytest
from onnx import TensorProto
from sise_rt.export import export
from sise_rt.export.origins.hugging_face import describe
from sise_rt.export.origins.published import Published

from sise_rt.bundle import read_bundle

CONFIG = {
    "architectures": ["ResNetForImageClassification"],
    "model_type": "resnet",
    "num_channels": 3,
    "id2label": {"1": "dog", "0": "cat", "2": "hen"},
    "problem_type": "single_label_classification",
}
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.1],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 32, "width": 32},
}


def described(folder, processor=None, config=CONFIG):
    for name, content in (("config.json", config), ("preprocessor_config.json", processor)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    return describe(Published(folder, folder / "model.onnx"))


def said(description):
    return {setting: value for setting, (value, _, _) in description.said.items()}


def test_both_files(tmp_path):
    description = described(tmp_path, PROCESSOR)
    assert description.unsettled == []
    assert said(description) == {
        "labels": ["cat", "dog", "hen"],
        "activation": "softmax",
        "input_size": (3, 32, 32),
        "crop_mode": "squash",
        "crop_pct": 1.0,
        "crop_floor": True,
        "interpolation": "bicubic",
        "color": "RGB",
        "scale": 255.0,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.1),
    }
    assert description.said["mean"][1:] == (
        "preprocessor_config.json",
        "do_normalize, image_mean, image_std",
    )


@pytest.mark.parametrize(
    ("problem", "activation"),
    [
        ("single_label_classification", "softmax"),
        ("multi_label_classification", "sigmoid"),
        ("regression", "none"),
        (None, None),
    ],
)
def test_problem_types(tmp_path, problem, activation):
    assert described(tmp_path, config=CONFIG | {"problem_type": problem}).value("activation") == activation


def test_files_of_another_shape(tmp_path):
    assert describe(Published(tmp_path, tmp_path / "model.onnx")) is None
    assert described(tmp_path, config={"architecture": "resnet10t"}) is None
    only_size = described(tmp_path, config=CONFIG | {"image_size": 64})
    assert only_size.said["input_size"] == ((3, 64, 64), "config.json", "image_size")
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": PROCESSOR}))
    inner = describe(Published(tmp_path, tmp_path / "model.onnx"))
    assert inner.said["interpolation"] == ("bicubic", "processor_config.json", "resample")


def test_an_old_file_has_its_processors_defaults(tmp_path):
    old = {
        "crop_pct": 0.875,
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "resample": 3,
        "size": 224,
    }
    made = said(described(tmp_path, old))
    assert (made["input_size"], made["crop_mode"], made["crop_pct"]) == ((3, 224, 224), "center", 0.875)
    assert (made["scale"], made["mean"], made["std"]) == (255.0, (0.5,) * 3, (0.5,) * 3)
    del old["feature_extractor_type"]
    assert said(described(tmp_path, old)) == made  # by the model's type


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"do_rescale": False}, {"scale": 1.0, "mean": (0.5, 0.4, 0.3)}),
        ({"do_normalize": False}, {"scale": 255.0, "mean": (0.0,) * 3, "std": (1.0,) * 3}),
        ({"rescale_factor": 1 / 127.5}, {"scale": 127.5}),
        ({"resample": 0}, {"interpolation": "nearest"}),
        ({"resample": 1}, {"interpolation": "lanczos"}),
        ({"resample": 2}, {"interpolation": "bilinear"}),
        (
            {"image_processor_type": "EfficientNetImageProcessor"},
            {"mean": (0.5, 0.4, 0.3), "std": pytest.approx((0.04, 0.04, 0.01))},
        ),
        (
            {"image_processor_type": "EfficientNetImageProcessor", "do_normalize": False},
            {"mean": (0.0,) * 3, "std": (0.2, 0.2, 0.1)},
        ),
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "include_top": False,
                "rescale_offset": True,
            },
            {"mean": pytest.approx((1.5, 1.4, 1.3)), "std": (0.2, 0.2, 0.1)},
        ),
        (
            {"image_processor_type": "MobileViTImageProcessor", "crop_size": 32},
            {"color": "BGR", "mean": (0.0,) * 3, "std": (1.0,) * 3},
        ),
        (
            {
                "image_processor_type": "MobileViTImageProcessor",
                "do_flip_channel_order": False,
                "crop_size": 32,
            },
            {"color": "RGB"},
        ),
    ],
)
def test_traps(tmp_path, changes, expected):
    description = described(tmp_path, PROCESSOR | changes)
    assert description.unsettled == []
    made = said(description)
    assert {key: made[key] for key in expected} == expected


PIXELS = ("mean", "std", "scale", "interpolation", "crop_pct", "crop_mode")


@pytest.mark.parametrize(
    ("changes", "reason", "settings"),
    [
        ({"image_processor_type": "FooImageProcessor"}, "image_processor_type 'Foo' is unknown: say", PIXELS),
        ({"image_processor_type": "x" * 10**5}, "image_processor_type 'xxx", PIXELS),
        (
            {"sharpen": 3},
            "'sharpen' is no known key of ViTImageProcessor: say what is done to pixels",
            PIXELS,
        ),
        ({"do_pad": True}, "'do_pad' is no known key", PIXELS),
        ({"resample": 5}, "resample '5' is none of 0 to 3", ("interpolation",)),
        ({"resample": "bicubic"}, "resample 'bicubic' is none of", ("interpolation",)),
        ({"size": {"shortest_edge": 32}}, "only the short side", ("input_size", "crop_pct", "crop_mode")),
        ({"image_mean": "import os"}, "image_mean is 'import os', where a number", ("mean",)),
        ({"image_std": [0.2, 0, 0.1]}, "image_std is [0.2, 0, 0.1], where a positive number", ("std",)),
        ({"rescale_factor": 0}, "rescale_factor is 0, where a positive number is", ("scale",)),
        ({"rescale_factor": "1/255"}, "rescale_factor is '1/255', where a positive number", ("scale",)),
    ],
)
def test_what_a_processor_cannot_be_followed_in(tmp_path, changes, reason, settings):
    (unsettled,) = described(tmp_path, PROCESSOR | changes).unsettled
    assert unsettled.reason.startswith(f"preprocessor_config.json: {reason}")
    assert len(unsettled.reason) < 250
    assert unsettled.settings == settings


@pytest.mark.parametrize(
    ("changes", "reason", "setting"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "id2label has no label of class 1", "labels"),
        ({"id2label": "open('x')"}, "id2label is \"open('x')\", where a list", "labels"),
        ({"problem_type": "detection"}, "problem_type is 'detection'", "activation"),
        ({"problem_type": ["regression"]}, "problem_type is \"['regression']\"", "activation"),
    ],
)
def test_what_a_config_says_wrongly(tmp_path, changes, reason, setting):
    (unsettled,) = described(tmp_path, config=CONFIG | changes).unsettled
    assert unsettled.reason.startswith(f"config.json: {reason}")
    assert unsettled.settings == (setting,)


# ---------------------------------------------------------------------------------------------- whole folders

FIVE = CONFIG | {"id2label": {str(index): f"class {index}" for index in range(5)}}


def test_a_folder_needs_no_option(folder_of, tmp_path):
    folder = folder_of(files={"config.json": FIVE, "preprocessor_config.json": PROCESSOR})
    report = export(folder, tmp_path / "m.sise")
    manifest = read_bundle(report.path)
    assert manifest.assumed == ()
    assert manifest.labels == tuple(FIVE["id2label"].values())
    assert manifest.source.name == folder.name
    assert manifest.described == (
        "from config.json: 5 labels (id2label); activation softmax (problem_type)",
        "from preprocessor_config.json: input_size 32x32, crop_mode squash, crop_pct 1.0 (size); "
        "interpolation bicubic (resample); scale 255.0 (do_rescale, rescale_factor); "
        "mean 0.5,0.4,0.3, std 0.2,0.2,0.1 (do_normalize, image_mean, image_std)",
        "from transformers' rules for preprocessor_config.json: color RGB",
    )
    assert set(manifest.described) <= set(report.notes)
    named = export(folder / "model.onnx", tmp_path / "n.sise")
    assert named.manifest.described == manifest.described


def test_the_user_comes_first(folder_of, prepared):
    folder = folder_of(files={"config.json": FIVE, "preprocessor_config.json": PROCESSOR})
    settings = {"mean": (0.1,), "std": (1.0,), "interpolation": "bilinear"}
    made = prepared(folder, preprocess=settings, labels=list("abcde"), activation="sigmoid")
    assert (made.preprocess.mean, made.preprocess.interpolation) == ((0.1,) * 3, "bilinear")
    assert (made.labels, made.network.activation) == (tuple("abcde"), "sigmoid")
    assert made.described == (
        "from preprocessor_config.json: input_size 32x32, crop_mode squash, crop_pct 1.0 (size); "
        "scale 255.0 (do_rescale, rescale_factor)",
        "from transformers' rules for preprocessor_config.json: color RGB",
    )


def test_what_contradicts_the_graph(folder_of, refused, prepared, cnn, tmp_path):
    files = {"config.json": FIVE, "preprocessor_config.json": PROCESSOR | {"size": 64}}
    assert refused(folder_of(files=files)) == (
        "preprocessor_config.json: size says 64x64 with 3 channels, and the model takes 32x32 with "
        "3 channels (see input_size)"
    )
    assert prepared(folder_of(files=files), input_size=(32, 32)).preprocess.input_size == (3, 32, 32)
    message = refused(folder_of(files={"config.json": CONFIG}))
    assert message.startswith(
        "config.json: id2label has 3 labels for a model with 5 classes; the first are 'cat'"
    )
    tail = cnn(tmp_path / "tail.onnx", tail="Softmax")
    files = {"config.json": FIVE | {"problem_type": "multi_label_classification"}}
    message = refused(folder_of(files=files, model=tail))
    assert message.startswith("config.json: problem_type says sigmoid, but the model ends in ")


def test_what_else_lies_there_is_named(folder_of, prepared):
    folder = folder_of(files={"config.json": FIVE})
    for name in ("model_int8.onnx", "model.safetensors"):
        (folder / name).write_bytes(b"")
    notes = prepared(folder).source.notes
    assert notes == [f"model.onnx of {folder} is taken; beside it lie model_int8.onnx, model.safetensors"]


def test_a_model_among_others_is_not_described(folder_of, prepared, small_model):
    folder = folder_of(files={"config.json": FIVE})
    (folder / "other.onnx").write_bytes(small_model.read_bytes())
    made = prepared(folder / "model.onnx")
    assert (made.labels, made.described) == ((), ())
    (note,) = made.source.notes
    assert note == f"config.json beside the model not read: {folder} holds 2 models (model.onnx, other.onnx)"


def test_a_file_of_something_else_beside_a_model(folder_of, prepared, refused):
    folder = folder_of(files={"config.json": "// settings of an editor"})
    assert "config.json is no JSON" in refused(folder)
    made = prepared(folder / "model.onnx")
    assert made.described == ()
    assert made.source.notes[0].startswith(f"not read beside the model: {folder / 'config.json'} is no JSON")


def test_a_processor_of_timm_is_left_to_timm(tmp_path):
    wrapped = {"image_processor_type": "TimmWrapperImageProcessor"}
    assert said(described(tmp_path, wrapped, config={"architecture": "resnet10t"})) == {}
    (unsettled,) = described(tmp_path, wrapped).unsettled
    assert unsettled.reason.startswith(
        "preprocessor_config.json: image_processor_type 'TimmWrapper' is unknown"
    )


def test_channels_that_the_graph_leaves_free(folder_of, prepared, small_model, tmp_path):
    model = onnx.load(small_model)
    for index, name in enumerate(("batch", "num_channels", "height", "width")):
        model.graph.input[0].type.tensor_type.shape.dim[index].dim_param = name
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, tmp_path / "free.onnx")
    files = {"config.json": FIVE, "preprocessor_config.json": PROCESSOR | {"size": 48}}
    assert prepared(folder_of(files=files, model=tmp_path / "free.onnx")).preprocess.input_size == (3, 48, 48)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")
@pytest.mark.parametrize("name", ["resnet, 224 by crop_pct", "mobilevit, BGR, unnormalised"])
def test_logits_are_those_of_transformers(torchvision, tmp_path, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from benchmarks.origins import ALLOWED, KINDS, compare

        compared = compare(KINDS[name], tmp_path, "pil")
    assert compared.logits < ALLOWED
    assert compared.convention > 100 * ALLOWED
