"""What an ONNX file's `metadata_props` say under key names that timm, Hugging Face and others share."""

from __future__ import annotations

import re
from typing import Any

from sise_rt.literals import parsed_property

from .description import Description
from .published import Published

NAMES = re.compile(r"[\w .'&/+-]+([,;\n][\w .'&/+-]+)+")  # no brackets or quotes, as a list or code has
FILE = "the model's metadata"
SETTINGS = {
    **{key: key for key in ("mean", "std", "crop_pct", "interpolation", "crop_mode", "color", "scale")},
    "image_mean": "mean",
    "image_std": "std",
    "input_size": "input_size",
    "imgsz": "input_size",
    "names": "labels",
    "id2label": "labels",
    "class_names": "labels",
    "labels": "labels",
    "classes": "labels",
    "license": "licence",
    "licence": "licence",
}


def describe(published: Published) -> Description | None:
    """The settings that the model carries itself; None where it carries none."""
    description = Description()
    for key, text in published.properties.items():
        setting = SETTINGS.get(key)
        if setting is None:
            continue
        value = text if setting == "licence" else parsed_property(text)
        if setting == "labels":
            _say_labels(description, value, key)
            continue
        if key == "imgsz":
            value = (None, *value) if isinstance(value, list | tuple) else (None, value, value)
        description.say(setting, value, FILE, key)
    return description if description.said or description.unsettled else None


def _say_labels(description: Description, value: Any, key: str) -> None:
    """The labels of a property: a list, a dictionary, or names with commas or line breaks between them."""
    if key == "classes" and isinstance(value, int):  # their number
        return
    if isinstance(value, str) and NAMES.fullmatch(value):
        value = [name.strip() for name in re.split(r"[,;\n]", value)]
    description.say_labels(value, FILE, key)
