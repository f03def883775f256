"""OpenVINO's Model API: `model_info` properties, as its Training Extensions (OTX) and Geti write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sise_rt.literals import parsed_property

from .description import Description
from .published import Published

FILE = "the model's metadata"
PREFIX = "model_info "
DEFAULT = "Model API's default"
TRUE = frozenset({"True", "YES", "true"})
TASKS = frozenset({"", "classification", "label"})
FULL = {
    "u8": 255.0,
    "u16": 65535.0,
    "i16": 32767.0,
    "f32": 1.0,
}  # what `scale_to_unit` divides by, by default
SETTLED = ("scale", "mean", "std")


def describe(published: Published) -> Description | None:
    """What a model's `model_info` properties say; None where it has none.

    Resizing is OpenCV's: bilinear without anti-aliasing. Pixels of 0 to 255 are shifted by `mean_values` and
    divided by `scale_values`.
    """
    info = {
        key.removeprefix(PREFIX): value
        for key, value in published.properties.items()
        if key.startswith(PREFIX)
    }
    if not info:
        return None
    description = Description()
    _refuse_other_tasks(description, info)
    _say_labels(description, info)
    _say_pixels(description, info)
    _say_size_and_crop(description, info, published.size)
    return description


def class_output(
    properties: Mapping[str, str], outputs: Mapping[str, tuple[int | None, ...]]
) -> tuple[str, str] | None:
    """The output that can only be the classes, and why, where others lie beside it, as a saliency map.

    Args:
        properties: the model's.
        outputs: their shapes by name, None where they are free.

    Returns:
        The only output with a column for each label; None where there is none, or more than one.
    """
    description = describe(Published(None, Path(), properties))
    said = description.said.get("labels") if description else None
    if said is None:
        return None
    columns = len(said.value)
    fitting = [name for name, shape in outputs.items() if len(shape) == 2 and shape[1] == columns]
    if len(fitting) != 1:
        return None
    return fitting[0], f"the only output with a column for each of the {columns} labels in {said.key}"


def _refuse_other_tasks(description: Description, info: Mapping[str, str]) -> None:
    for key in ("model_type", "task_type"):
        if (value := info.get(key, "")).lower() not in TASKS:
            description.leave_unsettled(
                f"{PREFIX}{key} is {value[:60]!r}, and only classifiers can be explained", FILE
            )
    if _is_true(info, "hierarchical"):
        description.leave_unsettled(
            f"{PREFIX}hierarchical is True: labels of several levels share the output, which no bundle "
            "follows",
            FILE,
        )
    if _is_true(info, "embedded_processing"):
        description.leave_unsettled(
            f"{PREFIX}embedded_processing is True: what the graph does itself is not known; give scale, "
            "mean and std",
            FILE,
            *SETTLED,
        )


def _say_labels(description: Description, info: Mapping[str, str]) -> None:
    """The labels; those of `label_info` may hold spaces, which are underscores in `labels`."""
    names = parsed_property(info.get("label_info", ""))
    if isinstance(names, dict) and "label_names" in names:
        description.say_labels(names["label_names"], FILE, f"{PREFIX}label_info")
    elif info.get("labels", "").strip():
        description.say_labels(info["labels"].split(), FILE, f"{PREFIX}labels")
    if "multilabel" in info:
        activation = "sigmoid" if _is_true(info, "multilabel") else "softmax"
        description.say("activation", activation, FILE, f"{PREFIX}multilabel")


def _say_pixels(description: Description, info: Mapping[str, str]) -> None:
    """Scale, mean and std; and the order of the channels, where pictures are given as RGB."""
    kind, mode = info.get("input_dtype", "u8"), info.get("intensity_mode", "none")
    if kind != "u8":
        description.leave_unsettled(
            f"{PREFIX}input_dtype is {kind[:60]!r}, and pictures are prepared for 8 bits (u8)",
            FILE,
            *("bit_depth", *SETTLED),
        )
    if mode not in ("none", "scale_to_unit"):
        description.leave_unsettled(
            f"{PREFIX}intensity_mode is {mode[:60]!r}, which no bundle follows: give scale, mean and std",
            FILE,
            *SETTLED,
        )
    if mode == "scale_to_unit" and "intensity_max_value" in info:
        largest = parsed_property(info["intensity_max_value"])
        description.say("scale", largest, FILE, f"{PREFIX}intensity_max_value")
    elif mode == "scale_to_unit":
        description.say("scale", FULL.get(kind), FILE, f"{PREFIX}intensity_mode")
    else:
        description.say("scale", 1.0, DEFAULT)
    for setting, key, default in (("mean", "mean_values", 0.0), ("std", "scale_values", 1.0)):
        numbers = _numbers(info.get(key, ""))
        if numbers is None:
            description.leave_unsettled(
                f"{PREFIX}{key} is {info[key][:60]!r}, where numbers are needed", FILE, setting
            )
        else:
            described = (numbers, FILE, f"{PREFIX}{key}") if numbers else (default, DEFAULT)
            description.say(setting, *described)
    if _is_true(info, "reverse_input_channels"):
        description.leave_unsettled(
            f"{PREFIX}reverse_input_channels is True, which makes RGB of OpenCV's BGR pictures, and BGR of "
            "RGB: give the color that the model takes",
            FILE,
            "color",
        )
    else:
        description.say("color", "RGB", DEFAULT)


def _say_size_and_crop(
    description: Description,
    info: Mapping[str, str],
    size: tuple[int | None, int | None, int | None],
) -> None:
    resize, filter_ = info.get("resize_type", "standard"), info.get("interpolation_mode", "LINEAR")
    key = f"{PREFIX}resize_type"
    modes = {"standard": "squash", "crop": "cut"}
    if resize not in modes or (resize == "crop" and size[1] != size[2]):
        description.leave_unsettled(
            f"{key} is {resize[:60]!r}, which no bundle follows: give the crop mode and the crop's share",
            FILE,
            *("crop_mode", "crop_pct"),
        )
    else:
        file = FILE if "resize_type" in info else DEFAULT
        description.say("crop_mode", modes[resize], file, key)
        description.say("crop_pct", 1.0, file, key)
    if filter_ != "LINEAR" and resize != "crop":
        description.leave_unsettled(
            f"{PREFIX}interpolation_mode is {filter_[:60]!r}, OpenCV's, which no bundle follows: give the "
            "interpolation",
            FILE,
            "interpolation",
        )
    else:
        description.say("interpolation", "linear", DEFAULT)


def _is_true(info: Mapping[str, str], key: str) -> bool:
    return info.get(key, "") in TRUE


def _numbers(text: str) -> list[float] | None:
    """Numbers with spaces or commas between them, in brackets or not; None where something else is there."""
    if len(text) > 10_000:
        return None
    try:
        return [float(word) for word in re.split(r"[\s,]+", text.strip("[]() \t\n")) if word]
    except ValueError:
        return None
