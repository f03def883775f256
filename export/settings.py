"""Input size and preprocessing of a bundle, each from the user, else the source, else assumed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sise_rt.bundle import Preprocess
from sise_rt.errors import ModelError
from sise_rt.preprocessing import COLORS
from sise_rt.stated import bit_depth, far_too_large, normalisation, number, of_channels, refuse_unknown
from sise_rt.wording import Note, counted

from .conventions import IMAGENET, convention_for, refuse_contradictions
from .intake.interface import Interface
from .intake.normalisation import LARGEST_SCALED_STD, Normalisation
from .intake.sizes import SIZE, check_size
from .origins.description import Description, Said, shown


def image_size(
    ends: Interface, wanted: tuple[int, int] | None, description: Description
) -> tuple[tuple[int, int, int], Note | None]:
    """(channels, height, width), and a note if it had to be assumed.

    Raises:
        ModelError: the model leaves its channels free, or its fixed size is not the one wanted or described,
            or it is absurdly large.
    """
    size, assumed = _image_size(ends, wanted, description)
    check_size(*size)
    return size, assumed


def _image_size(
    ends: Interface, wanted: tuple[int, int] | None, description: Description
) -> tuple[tuple[int, int, int], Note | None]:
    channels, height, width = ends.image_size
    described = description.value("input_size")
    if described and not description.of_other_weights:
        _refuse_another_size(ends, description.said["input_size"], sides=not wanted)
    channels = channels or (described or (None,))[0]
    if channels is None:
        raise ModelError(
            f"input {ends.image!r} leaves its channels free; fix them in the model before exporting"
        )
    if wanted:
        if (height or wanted[0], width or wanted[1]) != wanted:
            raise ModelError(
                f"the model takes {height or 'any'}x{width or 'any'} pixels, "
                f"which contradicts an input size of {wanted[0]}x{wanted[1]}",
                settings=("input_size",),
            )
        return (channels, *wanted), None
    if height and width:
        return (channels, height, width), None
    if described:
        return (channels, height or described[1], width or described[2]), None
    height, width = height or SIZE, width or SIZE
    return (channels, height, width), Note(f"input size {height}x{width}", "input_size")


def _refuse_another_size(ends: Interface, said: Said, sides: bool) -> None:
    """Refuse a described size that is not the model's: of its channels, and of its sides if nobody else says.

    Raises:
        ModelError: names the file and the key.
    """
    for place, (own, other) in enumerate(zip(ends.image_size, said.value, strict=True)):
        if own and other and own != other and (sides or place == 0):
            raise ModelError(
                f"{said.file}: {said.key} says {_told(said.value)}, and the model takes "
                f"{_told(ends.image_size)}",
                settings=("input_size",) if place else (),
            )


def _told(size: tuple[int | None, int | None, int | None]) -> str:
    channels, height, width = size
    sides = f"{height or 'any'}x{width or 'any'}" if height or width else "any size"
    return sides + (f" with {counted(channels, 'channel')}" if channels else "")


def _refuse_other_channels(described: Mapping[str, Said], channels: int) -> None:
    """Refuse what a file says of other channels than the model's.

    Raises:
        ModelError: names the file and the key.
    """
    for setting, (value, file, key) in described.items():
        fits = len(value) in (1, channels) if isinstance(value, tuple) else True
        if setting == "color":
            fits = value in COLORS.get(channels, ("RGB",))
        if not fits:
            raise ModelError(
                f"{file}: {key} is {shown(value)}, and the model takes {counted(channels, 'channel')}",
                settings=(setting,),
            )


def preprocessing(
    size: tuple[int, int, int],
    given: Mapping[str, Any],
    description: Description,
    own: Normalisation | None = None,
) -> tuple[Preprocess, list[Note]]:
    """The user's settings, else the source's, else ImageNet's convention.

    Nothing is assumed to be cropped of pictures for a model of other channels than 3, or of an input that is
    not square or is small. Pixels are not assumed to be normalised for a model that takes them whole, nor
    ImageNet's mean and std of pixels that are not scaled to [0, 1].

    Args:
        size: (channels, height, width).
        given: what the user gave, under timm's key names.
        description: what the source says.
        own: what the model does to pixels itself.

    Returns:
        The preprocessing, and a line for each setting that was assumed.

    Raises:
        ModelError: a value is unknown or does not fit the channels.
        ArgumentError: there is no such setting.
    """
    refuse_unknown(given)
    channels, depth = size[0], bit_depth(given.get("bit_depth"))
    chosen = {key: value for key, value in given.items() if value is not None}
    said = description.said
    described = {key: said[key].value for key in (*IMAGENET, "color") if key in said}
    _refuse_other_channels({key: said[key] for key in described.keys() - chosen.keys()}, channels)
    convention, reasons = convention_for(size, depth, described | chosen, own)
    values: dict[str, Any] = convention | described | chosen
    assumed = []
    for key in convention:
        if key in chosen:
            continue
        if key not in described:
            because = f", {reasons[key]}" if key in reasons else ""
            assumed.append(Note(f"{key} {shown(values[key])}{because}", key))
        elif description.of_other_weights:
            assumed.append(Note(f"{key} {shown(values[key])}, as for {said[key].file}", key))
    try:
        settings = Preprocess(
            input_size=size,
            interpolation=str(values["interpolation"]),
            crop_pct=number("crop_pct", values["crop_pct"]),
            crop_mode=str(values["crop_mode"]),
            mean=of_channels("mean", values["mean"], channels),
            std=of_channels("std", values["std"], channels),
            color=str(values["color"]).upper(),
            scale=number("scale", values["scale"]),
            bit_depth=depth,
            crop_assumed="crop_pct" not in chosen.keys() | described.keys(),
            crop_floor=bool(description.value("crop_floor")),
        )
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        raise ModelError(str(error)) from error
    refuse_contradictions(settings, chosen.keys(), chosen.keys() | described.keys())
    return settings, assumed


def normalisation_warning(settings: Preprocess, stated: Set[str], own: Normalisation | None) -> str | None:
    """What is to be said of pixels that are normalised twice, or as others than they are.

    Args:
        settings: from `preprocessing`.
        stated: the settings that the user or the source said.
        own: what the model does to pixels itself.
    """
    full = 2**settings.bit_depth - 1
    if warning := far_too_large(settings):
        return warning
    if own is None:
        return None
    if own.of_whole_pixels and settings.largest <= LARGEST_SCALED_STD:
        return (
            f"the model takes pixels of 0 to {full}, as it {own.steps}; by scale {settings.scale:g}, "
            f"{normalisation(settings)} it gets {settings.largest:.3g} at most: to give it whole "
            "pixels, set scale 1, mean 0 and std 1"
        )
    if max(own.mean, own.std) > 2 * full:
        return (
            f"the model itself {own.steps}, as for pixels far above the {full} of {settings.bit_depth} bits: "
            "set the bit depth of those that it was trained on"
        )
    trivial = not any(settings.mean) and set(settings.std) == {1.0}
    if own.of_whole_pixels or trivial or {"mean", "std"} <= stated or own.confirms(settings.ends):
        return None
    return (
        f"the model itself {own.steps} before its first layer, and {normalisation(settings)} are "
        "assumed on top: if it takes pixels that are only scaled, set mean 0 and std 1"
    )
