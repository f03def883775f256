"""Hugging Face: `config.json` of transformers, and `preprocessor_config.json` of its image processors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .description import Description
from .processors import FOLLOWED, HARMLESS, OF_MODELS, PROCESSORS, RESAMPLE, NotFramed, family, frame
from .published import Published

CONFIG, PREPROCESSOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
ACTIVATIONS = {
    "single_label_classification": "softmax",
    "multi_label_classification": "sigmoid",
    "regression": "none",
}
# What the user has to say of a picture where a processor cannot be followed at all.
PIXELS = ("mean", "std", "scale", "interpolation", "crop_pct", "crop_mode")


def describe(published: Published) -> Description | None:
    """What the two files say; None where there is neither."""
    config, (file, processor) = published.object(CONFIG) or {}, _processor(published)
    if processor is None and not config.keys() & {"architectures", "id2label", "model_type"}:
        return None
    description = Description()
    _say_meaning(description, config)
    if processor is not None:
        _say_pixels(description, processor, config, file)
    elif "architecture" not in config and isinstance(side := config.get("image_size"), int):
        description.say("input_size", (config.get("num_channels"), side, side), CONFIG, "image_size")
    return description


def _processor(published: Published) -> tuple[str, dict[str, Any] | None]:
    """What an image processor wrote, and where."""
    if (own := published.object(PREPROCESSOR)) is not None:
        return PREPROCESSOR, own
    inner = (published.object(PROCESSOR) or {}).get("image_processor")
    return PROCESSOR, inner if isinstance(inner, dict) else None


def _say_meaning(description: Description, config: Mapping[str, Any]) -> None:
    """What the outputs are: labels and activation."""
    try:
        description.say("labels", _by_index(config.get("id2label")), CONFIG, "id2label")
    except KeyError as missing:
        description.leave_unsettled(f"id2label has no label of class {missing.args[0]}", CONFIG, "labels")
    problem = config.get("problem_type")
    if problem is None:
        return
    if isinstance(problem, str) and problem in ACTIVATIONS:
        description.say("activation", ACTIVATIONS[problem], CONFIG, "problem_type")
    else:
        description.leave_unsettled(f"problem_type is {str(problem)[:60]!r}", CONFIG, "activation")


def _say_pixels(
    description: Description, processor: Mapping[str, Any], config: Mapping[str, Any], file: str
) -> None:
    """What the processor does to a picture."""
    kind = _kind(processor, config)
    if kind == "TimmWrapper" and "architecture" in config:  # which is timm's to describe
        return
    if kind not in PROCESSORS:
        name = f"image_processor_type {kind[:60]!r} is unknown" if kind else "image_processor_type is missing"
        description.leave_unsettled(f"{name}: say what is done to pixels", file, *PIXELS)
        return
    rules = PROCESSORS[kind]
    followed = FOLLOWED | rules.further | HARMLESS
    for key, value in processor.items():
        if key not in followed and value not in (None, False):
            description.leave_unsettled(
                f"{key[:60]!r} is no known key of {kind}ImageProcessor: say what is done to pixels",
                file,
                *PIXELS,
            )
    values = dict(rules.defaults) | {key: value for key, value in processor.items() if value is not None}
    _say_frame(description, kind, values, _channels(values, config), file)
    _say_interpolation(description, values["resample"], file)
    _say_values(description, rules.normalises, values, file)


def _kind(processor: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The processor's family, empty where nothing says it."""
    for key in ("image_processor_type", "feature_extractor_type"):
        if isinstance(name := processor.get(key), str):
            return family(name)
    return OF_MODELS.get(str(config.get("model_type")), "")


def _channels(values: Mapping[str, Any], config: Mapping[str, Any]) -> Any:
    mean = values["image_mean"]
    return config.get("num_channels") or (len(mean) if isinstance(mean, list | tuple) else None)


def _say_frame(
    description: Description, kind: str, values: Mapping[str, Any], channels: Any, file: str
) -> None:
    """Size and crop."""
    try:
        height, width, mode, share = frame(kind, values)
    except NotFramed as error:
        description.leave_unsettled(
            f"{error}: say which size and crop", file, "input_size", "crop_pct", "crop_mode"
        )
        return
    key = "size, crop_size" if values["do_center_crop"] else "size"
    if values.get("crop_pct") is not None:
        key += ", crop_pct"
    description.say("input_size", (channels, height, width), file, key)
    description.say("crop_mode", mode, file, key)
    description.say("crop_pct", share, file, key)
    description.say("crop_floor", True, file, key)


def _say_interpolation(description: Description, resample: Any, file: str) -> None:
    if isinstance(resample, int) and resample in RESAMPLE:
        description.say("interpolation", RESAMPLE[resample], file, "resample")
    else:
        description.leave_unsettled(
            f"resample {str(resample)[:60]!r} is none of 0 to 3", file, "interpolation"
        )


def _say_values(description: Description, normalises: bool, values: Mapping[str, Any], file: str) -> None:
    """Scale, mean and std: pixels p become (p / scale - mean) / std whatever the steps."""
    if values.get("do_flip_channel_order"):
        description.say("color", "BGR", file, "do_flip_channel_order")
    elif isinstance(values["image_mean"], list | tuple) and len(values["image_mean"]) == 3:
        description.say("color", "RGB", f"transformers' rules for {file}")
    factor, normalised = values["rescale_factor"], normalises and bool(values["do_normalize"])
    steps = Description()  # the numbers, whose sense is looked at before they are reckoned with
    steps.say("scale", factor if values["do_rescale"] else 1.0, file, "rescale_factor")
    steps.say("mean", values["image_mean"], file, "image_mean")
    steps.say("std", values["image_std"], file, "image_std")
    if steps.unsettled:
        description.unsettled.extend(steps.unsettled)
        return
    mean, std = steps.value("mean"), steps.value("std")
    if not normalised:
        mean, std = (0.0,) * len(mean), (1.0,) * len(std)
    if values.get("rescale_offset") and values["do_rescale"]:  # pixels are shifted by 1 before
        mean = tuple(value + 1.0 for value in mean)
    if values.get("include_top"):  # and divided by the std once more
        std = tuple(a * b for a, b in zip(std, steps.value("std"), strict=True))
    keys = "do_normalize, image_mean, image_std" if normalised else "do_normalize"
    description.say("scale", _inverse(steps.value("scale")), file, "do_rescale, rescale_factor")
    description.say("mean", mean, file, keys + (", rescale_offset" if values.get("rescale_offset") else ""))
    description.say("std", std, file, keys + (", include_top" if values.get("include_top") else ""))


def _inverse(factor: float) -> float:
    """1 / factor, where 1 / 255 as text leads back to 255."""
    exact = 1 / factor
    near = round(exact, 4)
    return near if math.isclose(near, exact, rel_tol=1e-9) else exact


def _by_index(value: Any) -> Any:
    """Labels in the order of their indices, where `value` maps 0, 1, ... (or "0", "1", ...) to them.

    Returns:
        The list; anything else as it is, for `Description.say` to refuse.

    Raises:
        KeyError: of an index that has no label.
    """
    if not isinstance(value, Mapping):
        return value
    labels = {str(index): label for index, label in value.items()}
    return [labels[str(index)] for index in range(len(value))]
