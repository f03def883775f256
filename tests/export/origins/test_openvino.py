"""Models with `model_info`, as OTX exports them, against what Model API does."""

import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from sise_rt.pictures.placement import preprocess

WRITTEN = {
    "model_info model_type": "Classification",
    "model_info task_type": "classification",
    "model_info labels": "ant bumble_bee cat dog elk",
    "model_info label_ids": "0 1 2 3 4",
    "model_info label_info": json.dumps({"label_names": ["ant", "bumble bee", "cat", "dog", "elk"]}),
    "model_info mean_values": "123.675 116.28 103.53",
    "model_info scale_values": "58.395 57.12 57.375",
    "model_info resize_type": "standard",
    "model_info pad_value": "0",
    "model_info reverse_input_channels": "False",
    "model_info multilabel": "False",
    "model_info hierarchical": "False",
    "model_info output_raw_scores": "True",
    "model_info confidence_threshold": "0.5",
    "model_info otx_version": "2.4.0",
}


def info(**changes):
    return WRITTEN | {f"model_info {key}": value for key, value in changes.items()}


def without(*keys):
    return {key: value for key, value in WRITTEN.items() if key.removeprefix("model_info ") not in keys}


def test_a_model_needs_no_option(folder_of, prepared):
    made = prepared(folder_of(WRITTEN))
    assert made.labels == ("ant", "bumble bee", "cat", "dog", "elk")
    settings = made.preprocess
    assert (settings.mean, settings.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert (settings.scale, settings.color, settings.interpolation) == (1.0, "RGB", "linear")
    assert (settings.crop_mode, settings.crop_pct) == ("squash", 1.0)
    assert not made.every_assumption()
    assert made.network.activation == "softmax"
    assert made.described[0].startswith(
        "from the model's metadata: 5 labels (model_info label_info); activation softmax"
    )


def with_more_outputs(folder, columns):
    """As OTX exports for explanations: a saliency map and a feature vector beside the classes."""
    model = onnx.load(folder / "model.onnx")
    (image,), (classes,) = model.graph.input, model.graph.output
    weights = np.zeros((3 * 32 * 32, columns), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "to_features"))
    model.graph.node.append(helper.make_node("Flatten", [image.name], ["flat_pixels"]))
    model.graph.node.append(helper.make_node("MatMul", ["flat_pixels", "to_features"], ["feature_vector"]))
    model.graph.node.append(helper.make_node("Identity", [image.name], ["saliency_map"]))
    for name, shape in (("saliency_map", (None, 3, 32, 32)), ("feature_vector", (None, columns))):
        model.graph.output.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.save(model, folder / "model.onnx")
    return classes.name


def test_the_output_that_can_only_be_the_classes_is_taken(folder_of, prepared, refused):
    folder = folder_of(WRITTEN)
    name = with_more_outputs(folder, 7)
    made = prepared(folder)
    assert (made.source.ends.output, made.network.classes) == (name, 5)
    assert (
        f"explained is {name!r}, the only output with a column for each of the 5 labels in model_info "
        "label_info; the model's metadata is of OpenVINO's Model API"
    ) in made.notes()
    with_more_outputs(folder_of(WRITTEN), 5)
    assert "3 outputs, choose one: feature_vector, saliency_map" in refused(folder)
    with_more_outputs(folder_of(), 7)
    assert "3 outputs, choose one: feature_vector, saliency_map" in refused(folder)


def test_pictures_are_prepared_by_opencv(folder_of, prepared, pictures):
    settings = prepared(folder_of(WRITTEN)).preprocess
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    for picture in pictures:
        resized = cv2.resize(picture, (32, 32), interpolation=cv2.INTER_LINEAR)
        theirs = ((resized - mean) / std).transpose(2, 0, 1)
        np.testing.assert_allclose(preprocess(picture, settings)[0][0], theirs, atol=1e-5)


@pytest.mark.parametrize("resize", ["standard", "crop"])
def test_pictures_are_prepared_as_by_model_api(folder_of, prepared, pictures, resize):
    theirs = pytest.importorskip("model_api.adapters.utils").setup_python_preprocessing_pipeline
    written = info(resize_type=resize)
    settings = prepared(folder_of(written)).preprocess
    pipeline = theirs("NCHW", resize, "LINEAR", (32, 32), 0, mean=settings.mean, scale=settings.std)
    for picture in pictures:
        np.testing.assert_allclose(preprocess(picture, settings)[0], pipeline(picture), atol=1e-5)


@pytest.mark.parametrize(
    ("written", "setting", "value"),
    [
        (without("label_info"), "labels", ("ant", "bumble_bee", "cat", "dog", "elk")),
        (without("mean_values", "scale_values"), "mean", (0.0,) * 3),
        (without("mean_values", "scale_values"), "std", (1.0,) * 3),
        (info(mean_values="", scale_values="255.0"), "std", (255.0,) * 3),
        (info(mean_values="[0.5, 0.5, 0.5]", intensity_mode="scale_to_unit"), "mean", (0.5,) * 3),
        (info(mean_values="0.5", intensity_mode="scale_to_unit"), "scale", 255.0),
        (info(mean_values="0.5", intensity_mode="scale_to_unit", intensity_max_value="200"), "scale", 200.0),
        (without("resize_type", "reverse_input_channels"), "crop_mode", "squash"),
        (without("resize_type", "reverse_input_channels"), "color", "RGB"),
        (info(resize_type="crop"), "crop_mode", "cut"),
        (info(multilabel="True"), "activation", "sigmoid"),
    ],
)
def test_what_is_followed(folder_of, prepared, written, setting, value):
    made = prepared(folder_of(written))
    found = {"labels": made.labels, "activation": made.network.activation}
    assert found.get(setting, getattr(made.preprocess, setting, None)) == value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"resize_type": "fit_to_window"},
            "resize_type is 'fit_to_window', which no bundle follows: give the crop",
        ),
        (
            {"resize_type": "fit_to_window_letterbox"},
            "resize_type is 'fit_to_window_letterbox', which no bundle",
        ),
        ({"interpolation_mode": "CUBIC"}, "interpolation_mode is 'CUBIC', OpenCV's, which no bundle follows"),
        (
            {"reverse_input_channels": "True"},
            "reverse_input_channels is True, which makes RGB of OpenCV's BGR",
        ),
        ({"hierarchical": "True"}, "hierarchical is True: labels of several levels share the output"),
        (
            {"embedded_processing": "YES"},
            "embedded_processing is True: what the graph does itself is not known",
        ),
        ({"model_type": "ssd"}, "model_type is 'ssd', and only classifiers can be explained"),
        ({"task_type": "anomaly"}, "task_type is 'anomaly', and only classifiers can be explained"),
        ({"input_dtype": "u16"}, "input_dtype is 'u16', and pictures are prepared for 8 bits (u8)"),
        ({"intensity_mode": "percentile"}, "intensity_mode is 'percentile', which no bundle follows"),
        (
            {"intensity_mode": "scale_to_unit", "intensity_max_value": "full"},
            "intensity_max_value is 'full', where a positive number is needed",
        ),
        ({"mean_values": "exit()"}, "mean_values is 'exit()', where numbers are needed"),
        ({"mean_values": "1 " * 10**6}, "mean_values is '1 1 1 1"),
        (
            {"scale_values": "1 nan 1"},
            "scale_values is [1.0, nan, 1.0], where a positive number, or one a",
        ),
        (
            {"label_info": '{"label_names": ["a", "b"]}'},
            "label_info has 2 labels for a model with 5 classes; the",
        ),
    ],
)
def test_what_is_not_followed_is_refused_by_name(folder_of, refused, changes, words):
    message = refused(folder_of(info(**changes)))
    assert message.startswith("the model's metadata: model_info ")
    assert words in message


def test_the_user_settles_what_is_not_followed(folder_of, prepared):
    folder = folder_of(info(resize_type="fit_to_window_letterbox", reverse_input_channels="True"))
    given = {"crop_mode": "squash", "crop_pct": 1.0, "color": "BGR"}
    settings = prepared(folder, preprocess=given).preprocess
    assert (settings.crop_mode, settings.color) == ("squash", "BGR")
