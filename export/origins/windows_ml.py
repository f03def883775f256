"""Windows ML: the image properties that ONNX once defined, `Image.BitmapPixelFormat` and others."""

from __future__ import annotations

from collections.abc import Mapping

from .description import Description
from .published import Published

FILE = "the model's metadata"
FORMAT, GAMMA, RANGE = "Image.BitmapPixelFormat", "Image.ColorSpaceGamma", "Image.NominalPixelRange"
COLORS = {"gray8": ("GRAY", 1), "rgb8": ("RGB", 3), "bgr8": ("BGR", 3)}  # with the channels that they go with
STUDIO = 255 / 219  # what a step of 16 to 235 is worth in one of 0 to 255
RANGES = {  # scale, mean and std that bring pixels of 0 to 255 there
    "nominalrange_0_255": (1.0, 0.0, 1.0),
    "normalized_0_1": (255.0, 0.0, 1.0),
    "normalized_1_1": (255.0, 0.5, 0.5),
    "nominalrange_16_235": (1.0, -16 * STUDIO, STUDIO),
}


def describe(published: Published) -> Description | None:
    """What a model's own image properties say; None where it has none."""
    description = of_properties(published.properties, FILE, published.size[0])
    return description if description.said or description.unsettled else None


def of_properties(properties: Mapping[str, str], file: str, channels: int | None) -> Description:
    """What image properties say of channels and their values. How pictures are resized, they do not say.

    Args:
        properties: by their names; a case of letters is no matter.
        file: where they stand.
        channels: of the model's input, None where it is free.
    """
    description = Description()
    if (value := properties.get(FORMAT)) is not None:
        color, planes = COLORS.get(value.lower(), (None, None))
        if color is None:
            known = "Gray8, Rgb8 or Bgr8"
            description.leave_unsettled(f"{FORMAT} is {value[:60]!r}, where {known} is needed", file, "color")
        elif channels not in (None, planes):
            description.leave_unsettled(f"{FORMAT} is {value}, and the model takes {channels} channels", file)
        else:
            description.say("color", color, file, FORMAT)
    if (value := properties.get(GAMMA)) is not None and value.lower() != "srgb":
        description.leave_unsettled(f"{GAMMA} is {value[:60]!r}, and pictures are prepared in SRGB", file)
    if (value := properties.get(RANGE)) is not None:
        if (numbers := RANGES.get(value.lower())) is None:
            description.leave_unsettled(
                f"{RANGE} is {value[:60]!r}, which is unknown: give scale, mean and std",
                file,
                *("scale", "mean", "std"),
            )
        else:
            for setting, number in zip(("scale", "mean", "std"), numbers, strict=True):
                description.say(setting, number, file, RANGE)
    return description
