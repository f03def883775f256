"""Azure Custom Vision: a folder with `model.onnx`, `cvexport.manifest` and `metadata_properties.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sise_rt.literals import parsed_property

from . import windows_ml
from .description import Description
from .published import Published

MANIFEST, METADATA = "cvexport.manifest", "metadata_properties.json"
SAMPLE = "Custom Vision's sample for ONNX"
PREPROCESS = "CustomVision.Preprocess."
METHOD = "CustomVision.Postprocess.Method"
ACTIVATIONS = {"ClassificationMultiClass": "softmax", "ClassificationMultiLabel": "sigmoid"}


def describe(published: Published) -> Description | None:
    """What an exported folder says; None where no manifest and no properties of Custom Vision lie there.

    Of the image properties, those that the model itself carries count, as in Custom Vision's own sample:
    others are of the network before it was exported. The sample squashes pictures, by Pillow's bicubic
    filter; so it is here unless the folder says that the middle is cut out.
    """
    manifest, metadata = published.object(MANIFEST), published.object(METADATA) or {}
    theirs = {key: value for key, value in metadata.items() if isinstance(value, str)}
    if manifest is None and not any(key.startswith("CustomVision.") for key in theirs):
        return None
    description = Description()
    kind = (manifest or {}).get("DomainType", "Classification")
    method = theirs.get(METHOD, "ClassificationMultiClass")
    if kind != "Classification":
        reason = f"DomainType is {_cut(kind)}, and only classifiers can be explained"
        description.leave_unsettled(reason, MANIFEST)
    if method not in ACTIVATIONS:
        description.leave_unsettled(f"{METHOD} is {_cut(method)}, which is unknown", METADATA, "activation")
    elif METHOD in theirs:
        description.say("activation", ACTIVATIONS[method], METADATA, METHOD)
    _say_size_and_crop(description, theirs, published.size)
    _say_pixels(description, theirs, published)
    return description


def _say_size_and_crop(
    description: Description, theirs: Mapping[str, str], size: tuple[int | None, int | None, int | None]
) -> None:
    """How pictures are brought to the input's size."""
    resize, crop = (theirs.get(f"{PREPROCESS}{key}Method") for key in ("Resize", "Crop"))
    target, cropped = (
        tuple(parsed_property(theirs.get(f"{PREPROCESS}{kind}{side}", "0")) for side in ("Height", "Width"))
        for kind in ("Target", "Crop")
    )
    description.say("interpolation", "bicubic", SAMPLE)
    if (resize, crop) == ("ByShorterSide", "OneCropCenter"):
        key = f"{PREPROCESS}CropHeight, CropWidth"
        description.say("input_size", (None, *cropped), METADATA, key)
        description.say("crop_mode", "center", METADATA, f"{PREPROCESS}ResizeMethod, CropMethod")
        if description.value("input_size") and all(isinstance(side, int) and side > 0 for side in target):
            share = cropped[0] / target[0]
            description.say("crop_pct", share, METADATA, f"{PREPROCESS}CropHeight, TargetHeight")
        return
    if resize == "Stretch" and crop == "NoCrop":
        description.say("input_size", (None, *target), METADATA, f"{PREPROCESS}TargetHeight, TargetWidth")
        description.say("crop_mode", "squash", METADATA, f"{PREPROCESS}ResizeMethod")
        description.say("crop_pct", 1.0, METADATA, f"{PREPROCESS}CropMethod")
        return
    whole = (resize, crop) == ("ByShorterSideAlign32", "FullImageShorterSide")  # a network of any size
    if not whole and (resize, crop) != (None, None):
        description.leave_unsettled(
            f"{PREPROCESS}ResizeMethod is {_cut(resize)} and CropMethod {_cut(crop)}, which are unknown",
            METADATA,
            *("crop_mode", "crop_pct"),
        )
        return
    description.say("crop_mode", "squash", SAMPLE)
    description.say("crop_pct", 1.0, SAMPLE)


def _say_pixels(description: Description, theirs: Mapping[str, str], published: Published) -> None:
    """What becomes of pixels; a normalisation that may lie inside the graph is asked about."""
    keys = (windows_ml.FORMAT, windows_ml.GAMMA, windows_ml.RANGE)
    others = {key: theirs[key] for key in keys if key in theirs and key not in published.properties}
    pixels = windows_ml.of_properties(others, METADATA, published.size[0])
    description.said |= pixels.said
    description.unsettled += pixels.unsettled
    for key, trivial in (("NormalizeMean", 0.0), ("NormalizeStd", 1.0)):
        value = parsed_property(theirs.get(PREPROCESS + key, "[]"))
        if not isinstance(value, list) or any(number != trivial for number in value):
            description.leave_unsettled(
                f"{PREPROCESS}{key} is {_cut(value)}, which the graph may do itself: give mean and std",
                METADATA,
                *("mean", "std"),
            )


def _cut(value: Any) -> str:
    return repr(value)[:60]
