"""Folders that Azure Custom Vision exports, against what its own sample for ONNX does."""

import json

import numpy as np
import pytest
from PIL import Image

from sise_rt.pictures.placement import preprocess

CARRIED = {
    "Image.BitmapPixelFormat": "Bgr8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
MANIFEST = {"DomainType": "Classification", "Platform": "ONNX", "ModelFileName": "model.onnx"}
METADATA = {
    "CustomVision.Metadata.Version": "1.2",
    "CustomVision.Postprocess.Method": "ClassificationMultiClass",
    "CustomVision.Preprocess.CropHeight": "0",
    "CustomVision.Preprocess.CropMethod": "NoCrop",
    "CustomVision.Preprocess.CropWidth": "0",
    "CustomVision.Preprocess.NormalizeMean": "[0.0, 0.0, 0.0]",
    "CustomVision.Preprocess.NormalizeStd": "[1.0, 1.0, 1.0]",
    "CustomVision.Preprocess.ResizeMethod": "Stretch",
    "CustomVision.Preprocess.TargetHeight": "32",
    "CustomVision.Preprocess.TargetWidth": "32",
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.NominalPixelRange": "Normalized_0_1",
}
CROPPED = {
    "CustomVision.Preprocess.ResizeMethod": "ByShorterSide",
    "CustomVision.Preprocess.CropMethod": "OneCropCenter",
    "CustomVision.Preprocess.TargetHeight": "36",
    "CustomVision.Preprocess.TargetWidth": "36",
    "CustomVision.Preprocess.CropHeight": "32",
    "CustomVision.Preprocess.CropWidth": "32",
}
LABELS = "ant\nbee\ncat\ndog\nNegative\n"


def files(**changes):
    metadata = METADATA | {f"CustomVision.{key}": value for key, value in changes.items()}
    return {"cvexport.manifest": MANIFEST, "metadata_properties.json": metadata, "labels.txt": LABELS}


def sample(picture, bgr, range255):
    """The model's input (3, 32, 32) as the sample makes it: Pillow's default filter, the order, the range."""
    values = np.asarray(Image.fromarray(picture).resize((32, 32)), np.float32).transpose(2, 0, 1)
    return (values[::-1] if bgr else values) / (1 if range255 else 255)


@pytest.mark.parametrize("carried", [CARRIED, {}])
@pytest.mark.parametrize("older", [False, True])
def test_pictures_are_prepared_as_by_the_sample(folder_of, prepared, pictures, carried, older):
    described = files()
    if older:  # a manifest alone; without image properties nothing says the range, which stays assumed
        del described["metadata_properties.json"]
        carried = CARRIED
    made = prepared(folder_of(carried, described))
    assert made.labels == ("ant", "bee", "cat", "dog", "Negative")
    for picture in pictures:
        theirs = sample(picture, bgr=bool(carried), range255=bool(carried))
        np.testing.assert_allclose(preprocess(picture, made.preprocess)[0][0], theirs, atol=1e-6)


def test_a_folder_needs_no_option(folder_of, prepared):
    made = prepared(folder_of(CARRIED, files()))
    assert not made.every_assumption()
    assert (made.preprocess.crop_mode, made.preprocess.color) == ("squash", "BGR")
    assert made.network.activation == "softmax"
    assert {line.split(":")[0] for line in made.described} == {
        "from metadata_properties.json",
        "from Custom Vision's sample for ONNX",
        "from the model's metadata",
        "from labels.txt",
    }
    multiple = files(**{"Postprocess.Method": "ClassificationMultiLabel"})
    assert prepared(folder_of(CARRIED, multiple)).network.activation == "sigmoid"


def test_a_crop_is_followed(folder_of, prepared):
    described = files()
    described["metadata_properties.json"] |= CROPPED
    settings = prepared(folder_of(CARRIED, described)).preprocess
    assert (settings.crop_mode, settings.crop_pct) == ("center", 32 / 36)


def test_a_network_for_any_size_is_given_what_the_sample_gives_it(folder_of, prepared):
    crop = {
        "Preprocess.CropMethod": "FullImageShorterSide",
        "Preprocess.ResizeMethod": "ByShorterSideAlign32",
    }
    settings = prepared(folder_of(CARRIED, files(**crop))).preprocess
    assert (settings.crop_mode, settings.crop_pct, settings.interpolation) == ("squash", 1.0, "bicubic")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"Preprocess.CropMethod": "TenCrops"},
            "metadata_properties.json: CustomVision.Preprocess.ResizeMethod",
        ),
        (
            {"Preprocess.NormalizeMean": "[1.0, 2.0, 3.0]"},
            "NormalizeMean is [1.0, 2.0, 3.0], which the graph may",
        ),
        (
            {"Preprocess.NormalizeStd": "exec('x')"},
            "CustomVision.Preprocess.NormalizeStd is \"exec('x')\", which",
        ),
        ({"Postprocess.Method": "YoloV2"}, "CustomVision.Postprocess.Method is 'YoloV2', which is unknown"),
        (
            {"Preprocess.TargetHeight": "64", "Preprocess.TargetWidth": "64"},
            "TargetWidth says 64x64, and the model",
        ),
        ({"Preprocess.TargetHeight": "many"}, "TargetWidth is (None, 'many', 32), where a size in pixels is"),
    ],
)
def test_what_cannot_be_followed_is_refused(folder_of, refused, changes, words):
    message = refused(folder_of(CARRIED, files(**changes)))
    assert message.startswith("metadata_properties.json: CustomVision.")
    assert words in message


def test_other_files_that_contradict(folder_of, refused):
    detector = files() | {"cvexport.manifest": MANIFEST | {"DomainType": "ObjectDetection"}}
    assert "cvexport.manifest: DomainType is 'ObjectDetection', and only" in refused(folder_of({}, detector))
    fewer = files() | {"labels.txt": "ant\nbee\n"}
    assert (
        "labels.txt: labels has 2 labels for a model with 5 classes; the first are 'ant', 'bee'"
        in refused(folder_of({}, fewer))
    )
    broken = files() | {"metadata_properties.json": json.dumps(METADATA)[:-1]}
    assert "metadata_properties.json is no JSON" in refused(folder_of({}, broken))


def test_a_range_that_the_graph_contradicts_is_warned_of(folder_of, prepared, small_model, tmp_path):
    """As in exports whose graph scales pixels itself, while the folder tells of those inside."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(small_model)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(255), "full"))
    for node in model.graph.node:
        node.input[:] = ["scaled" if name == "input" else name for name in node.input]
    model.graph.node.insert(0, helper.make_node("Div", ["input", "full"], ["scaled"]))
    onnx.save(model, tmp_path / "scaling.onnx")
    (warning,) = prepared(folder_of({}, files(), model=tmp_path / "scaling.onnx")).warnings()
    assert warning.startswith("the model takes pixels of 0 to 255, as it divides by 255")
    assert warning.endswith("(metadata_properties.json: Image.NominalPixelRange)")
    assert not prepared(folder_of(CARRIED, files(), model=tmp_path / "scaling.onnx")).warnings()
