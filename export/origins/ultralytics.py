"""Ultralytics: what its exports for ONNX carry in their properties, and its transform for classification."""

from __future__ import annotations

from sise_rt.literals import parsed_property

from .description import Description
from .published import Published

FILE = "the model's metadata"
TRANSFORM = "Ultralytics' transform for classification"


def describe(published: Published) -> Description | None:
    """What a model with the properties `task`, `names` and `imgsz` says; None where it has others.

    Its values are Python literals. The short side is resized and the middle cut out, but for an input that is
    not square, which pictures are squashed to; pixels are divided by 255 and not normalised.
    """
    properties = published.properties
    if not {"task", "names", "imgsz"} <= properties.keys():
        return None
    description = Description()
    if properties["task"] != "classify":
        description.leave_unsettled(
            f"task is {properties['task'][:60]!r}, and only classifiers (classify) can be explained", FILE
        )
        return description
    description.say_labels(parsed_property(properties["names"]), FILE, "names")
    channels = parsed_property(properties.get("channels", "3"))
    size = parsed_property(properties["imgsz"])
    sides = tuple(size) if isinstance(size, list | tuple) else (size, size)
    description.say("input_size", (channels, *sides), FILE, "imgsz, channels")
    square = all(side == sides[0] for side in sides)
    description.say("crop_mode", "center" if square else "squash", TRANSFORM)
    description.say("color", "GRAY" if channels == 1 else "RGB", TRANSFORM)
    for setting, value in {"mean": 0.0, "std": 1.0, "scale": 255.0, "crop_pct": 1.0}.items():
        description.say(setting, value, TRANSFORM)
    description.say("interpolation", "bilinear", TRANSFORM)
    return description
