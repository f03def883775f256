"""Teachable Machine: `metadata.json`, or its model for Keras, beside a model that was made ONNX of it."""

from __future__ import annotations

from typing import Any

from sise_rt.errors import ModelError

from .description import Description
from .published import Published

METADATA = "metadata.json"
KERAS = ("keras_model.h5", "keras_Model.h5")  # what its exports for Keras call the model, beside labels.txt
SAMPLE = "Teachable Machine's sample for Keras"
PACKAGE = "@teachablemachine/"


def describe(published: Published) -> Description | None:
    """What an export of Teachable Machine says; None where nothing of it lies beside the model.

    Its sample cuts out the middle square, resizes it by Pillow's Lanczos filter and takes p / 127.5 - 1.
    """
    if not made(published):
        return None
    metadata = _metadata(published)
    description = Description()
    package = metadata.get("packageName", f"{PACKAGE}image")
    if package != f"{PACKAGE}image":
        reason = f"packageName is {repr(package)[:60]}, and only models of pictures can be explained"
        description.leave_unsettled(reason, METADATA)
    description.say("labels", metadata.get("labels"), METADATA)
    if (side := metadata.get("imageSize")) is not None:
        description.say("input_size", (None, side, side), METADATA, "imageSize")
    if metadata.get("grayscale") is True:
        description.say("color", "GRAY", METADATA, "grayscale")
    else:
        description.say("color", "RGB", SAMPLE)
    for setting, value in {"scale": 255.0, "mean": 0.5, "std": 0.5, "crop_pct": 1.0}.items():
        description.say(setting, value, SAMPLE)
    description.say("crop_mode", "cut", SAMPLE)
    description.say("interpolation", "lanczos", SAMPLE)
    return description


def made(published: Published) -> bool:
    """Whether Teachable Machine made what lies beside the model."""
    metadata = _metadata(published)
    package = metadata.get("packageName")
    of_package = isinstance(package, str) and package.startswith(PACKAGE)
    keras = any(published.file(name) for name in KERAS) and published.file("labels.txt")
    return of_package or "tmVersion" in metadata or bool(keras)


def _metadata(published: Published) -> dict[str, Any]:
    """The object in `metadata.json`; of others' files of that name nothing."""
    try:
        return published.object(METADATA) or {}
    except ModelError:
        return {}
