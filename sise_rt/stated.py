"""What a user may state of preprocessing: the settings' names, their values, and what cannot be meant."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from .errors import ArgumentError, ModelError
from .preprocessing import DEPTHS, Preprocess
from .wording import counted

SETTINGS = ("mean", "std", "scale", "bit_depth", "crop_pct", "crop_mode", "interpolation", "color")
NORMALISATION = frozenset(("mean", "std", "scale", "bit_depth"))  # those that make values of pixels


def restated(spec: Preprocess, stated: Mapping[str, Any]) -> Preprocess:
    """Preprocessing with other settings.

    Args:
        spec: what was stated before.
        stated: settings by their names; a mean or std of one value is that of every channel.

    Raises:
        ArgumentError: there is no such setting.
        ModelError: a value is no usable one, or does not go with the others.
    """
    refuse_unknown(stated)
    values: dict[str, Any] = {}
    for key, value in stated.items():
        if key in ("mean", "std"):
            values[key] = of_channels(key, value, spec.input_size[0])
        elif key in ("scale", "crop_pct"):
            values[key] = number(key, value)
        elif key == "bit_depth":
            values[key] = bit_depth(value)
        else:
            values[key] = str(value).upper() if key == "color" else str(value)
    if "crop_pct" in stated:
        values["crop_assumed"] = False
    try:
        changed = replace(spec, **values)
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        raise ModelError(str(error)) from error
    refuse_other_depth(changed, "scale" in stated)
    return changed


def refuse_unknown(stated: Collection[str]) -> None:
    """Refuse what is no setting of preprocessing.

    Raises:
        ArgumentError: names it, and those that there are.
    """
    if unknown := sorted(set(stated) - set(SETTINGS)):
        raise ArgumentError(
            f"preprocessing has no {unknown[0]!r}; there are {', '.join(sorted(SETTINGS))}",
            settings=("preprocess",),
        )


def number(key: str, value: Any) -> float:
    """The value of a setting that is a number.

    Raises:
        ModelError: it is none.
    """
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{key} is {str(value)[:60]!r}, where a number is needed", settings=(key,)
        ) from error


def of_channels(key: str, value: Any, channels: int) -> tuple[float, ...]:
    """A setting's value in each channel, where one may be given for all.

    Raises:
        ModelError: it is no number, or has as many values as no input.
    """
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    numbers = tuple(number(key, entry) for entry in (entries * channels if len(entries) == 1 else entries))
    if len(numbers) != channels:
        raise ModelError(
            f"{key} has {counted(len(numbers), 'value')} for {counted(channels, 'channel')}: "
            "give one, or one a channel",
            settings=(key,),
        )
    return numbers


def bit_depth(value: Any) -> int:
    """The bits of a pixel; 8 where nothing is given.

    Raises:
        ModelError: no pixel has so many.
    """
    if value is None:
        return DEPTHS[0]
    if isinstance(value, bool) or value not in DEPTHS:
        raise ModelError(
            f"bit_depth is {str(value)[:60]!r}, where {DEPTHS[0]} to {DEPTHS[-1]} is needed",
            settings=("bit_depth",),
        )
    return int(value)


def refuse_other_depth(spec: Preprocess, scale_given: bool) -> None:
    """Refuse a normalisation of other pixels than those of the bit depth.

    Raises:
        ModelError: says what is too large for them.
    """
    bits, scale = spec.bit_depth, spec.scale
    if scale > 2**bits:
        raise ModelError(
            f"a scale of {scale:g} is above the largest pixel of {bits} bits, {2**bits - 1}: give the bit "
            "depth of the pixels that the model was trained on",
            settings=("bit_depth", "scale"),
        )
    if max(spec.mean) * scale > 2**bits:
        raise ModelError(
            f"mean {as_option(spec.mean)} is above the brightest pixel, {(2**bits - 1) / scale:g} by scale "
            f"{scale:g} and {bits} bits: give the bit depth of the pixels that the model was trained on",
            settings=("bit_depth", "mean"),
        )
    if bits > 8 and scale_given and scale in (255, 256):
        raise ModelError(
            f"a scale of {scale:g} is that of 8-bit pixels, and those of {bits} bits reach {2**bits - 1}: "
            "leave one of the two out",
            settings=("bit_depth", "scale"),
        )


def far_too_large(spec: Preprocess) -> str | None:
    """What is to be said of values far beyond those of pixels; None where there are none."""
    full = 2**spec.bit_depth - 1
    if spec.largest <= 2 * full:
        return None
    return (
        f"scale {spec.scale:g}, {normalisation(spec)} make values up to {spec.largest:,.0f} of pixels of 0 "
        f"to {full}: where mean and std are those of pixels in [0, 1], set the scale to the largest pixel"
    )


def normalisation(spec: Preprocess) -> str:
    """How warnings quote a normalisation, and are known to be about it."""
    return f"mean {as_option(spec.mean)} and std {as_option(spec.std)}"


def as_option(value: Any) -> str:
    """A setting as it may be given: `0.485,0.456,0.406`."""
    if isinstance(value, tuple):
        return ",".join(map(as_option, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
