"""What an ONNX file's `metadata_props` say under key names of timm, Hugging Face and Ultralytics."""

from __future__ import annotations

from .description import Description
from .published import Published
from .values import by_index, parsed

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
        value = text if setting == "licence" else parsed(text)
        if key == "imgsz":
            value = (None, *value) if isinstance(value, list | tuple) else (None, value, value)
        if setting == "labels":
            try:
                value = by_index(value)
            except KeyError as missing:
                description.leave_unsettled(f"{key} has no label of class {missing.args[0]}", FILE, "labels")
                continue
        description.say(setting, value, FILE, key)
    return description if description.said or description.unsettled else None
