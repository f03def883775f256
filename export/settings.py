"""Input size and preprocessing of a bundle, each from the user, else the source, else assumed."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sise_rt.bundle import DEPTHS, Preprocess
from sise_rt.errors import ArgumentError, ModelError
from sise_rt.wording import Note, counted

from .intake.interface import Interface
from .intake.normalisation import LARGEST_SCALED_MEAN, LARGEST_SCALED_STD, Normalisation
from .intake.sizes import SIZE, check_size

IMAGENET = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "scale": 255.0,
}
KEYS = frozenset({*IMAGENET, "color", "bit_depth"})  # what can be said of preprocessing
SMALLEST_CROPPED = 128  # pixels; smaller inputs, as CIFAR's, are of pictures that are not cropped


def image_size(
    ends: Interface, wanted: tuple[int, int] | None, metadata: Mapping[str, Any]
) -> tuple[tuple[int, int, int], Note | None]:
    """(channels, height, width), and a note if it had to be assumed.

    Raises:
        ModelError: the model leaves its channels free, or its fixed size is not the one wanted, or it is
            absurdly large.
    """
    size, assumed = _image_size(ends, wanted, metadata)
    check_size(*size)
    return size, assumed


def _image_size(
    ends: Interface, wanted: tuple[int, int] | None, metadata: Mapping[str, Any]
) -> tuple[tuple[int, int, int], Note | None]:
    channels, height, width = ends.image_size
    described = metadata.get("input_size")
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


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{key} is {str(value)[:60]!r}, where a number is needed", settings=(key,)
        ) from error


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    if unknown := sorted(given.keys() - KEYS):
        raise ArgumentError(
            f"preprocessing has no {unknown[0]!r}; there are {', '.join(sorted(KEYS))}",
            settings=("preprocess",),
        )


def preprocessing(
    size: tuple[int, int, int],
    given: Mapping[str, Any],
    metadata: Mapping[str, Any],
    own: Normalisation | None = None,
) -> tuple[Preprocess, list[Note]]:
    """The user's settings, else the source's, else ImageNet's convention.

    Nothing is assumed to be cropped of pictures for a model of other channels than 3, or of an input that is
    not square or is small. Pixels are not assumed to be normalised for a model that takes them whole, nor
    ImageNet's mean and std of pixels that are not scaled to [0, 1].

    Args:
        size: (channels, height, width).
        given: what the user gave, under timm's key names.
        metadata: what the source says.
        own: what the model does to pixels itself.

    Returns:
        The preprocessing, and a line for each setting that was assumed.

    Raises:
        ModelError: a value is unknown or does not fit the channels.
        ArgumentError: there is no such setting.
    """
    channels = size[0]
    _refuse_unknown(given)
    depth = _bit_depth(given.get("bit_depth"))
    origin = metadata.get("described_by", "")
    chosen = {key: value for key, value in given.items() if value is not None}
    described = {key: metadata[key] for key in (*IMAGENET, "color") if metadata.get(key) is not None}
    convention, reasons = _convention(size, depth, described | chosen, own)
    values: dict[str, Any] = convention | described | chosen
    assumed = []
    for key in convention:
        if key in chosen:
            continue
        if key not in described:
            because = f", {reasons[key]}" if key in reasons else ""
            assumed.append(Note(f"{key} {_shown(values[key])}{because}", key))
        elif metadata.get("of_other_weights"):
            assumed.append(Note(f"{key} {_shown(values[key])}, as for {origin}", key))
    try:
        for key in ("mean", "std"):
            value = values[key]
            entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
            values[key] = tuple(
                _number(key, v) for v in (entries * channels if len(entries) == 1 else entries)
            )
            if len(values[key]) != channels:
                raise ModelError(
                    f"{key} has {counted(len(values[key]), 'value')} for {counted(channels, 'channel')}: "
                    "give one, or one a channel",
                    settings=(key,),
                )
        settings = Preprocess(
            input_size=size,
            interpolation=str(values["interpolation"]),
            crop_pct=_number("crop_pct", values["crop_pct"]),
            crop_mode=str(values["crop_mode"]),
            mean=values["mean"],
            std=values["std"],
            color=str(values["color"]).upper(),
            scale=_number("scale", values["scale"]),
            bit_depth=depth,
            crop_assumed="crop_pct" not in chosen.keys() | described.keys(),
        )
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        raise ModelError(str(error)) from error
    stated = chosen.keys() | described.keys()
    _refuse_half_a_normalisation(settings, chosen.keys(), stated)
    _refuse_other_depth(settings, "scale" in stated)
    _refuse_unknown_scale(settings, stated)
    return settings, assumed


def _convention(
    size: tuple[int, int, int], depth: int, stated: Mapping[str, Any], own: Normalisation | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """What is assumed of what nobody said, and for some of it why."""
    channels, height, width = size
    full = 2**depth - 1
    convention: dict[str, Any] = IMAGENET | {
        "scale": float(full),
        "color": "GRAY" if channels == 1 else "RGB",
    }
    if channels != 3 or height != width or height < SMALLEST_CROPPED:
        convention["crop_pct"] = 1.0
    none = {"mean": (0.0,) * channels, "std": (1.0,) * channels}
    if channels != 3:
        convention |= none
    if "scale" not in stated:
        if own and own.of_whole_pixels and all(_is(stated, key, none[key][0]) for key in none):
            because = f"as the model takes pixels of 0 to {full}: it {own.steps}"
            return convention | none | {"scale": 1.0}, {"scale": because}
        if _largest(stated.get("mean")) > LARGEST_SCALED_MEAN:
            return convention | {"scale": 1.0}, {"scale": f"as that mean is of pixels of 0 to {full}"}
        return convention, {}
    return convention | (none if stated["scale"] == 1 else {}), {}


def _is(stated: Mapping[str, Any], key: str, value: float) -> bool:
    """Whether a setting was not stated, or is that value in every channel."""
    given = stated.get(key, value)
    return all(entry == value for entry in (given if isinstance(given, (tuple, list)) else (given,)))


def _largest(value: Any) -> float:
    """The largest amount of a setting; 0 for none, and for what is refused later."""
    entries = value if isinstance(value, (tuple, list)) else (value,)
    return max((abs(entry) for entry in entries if isinstance(entry, (int, float))), default=0.0)


def normalisation_warning(settings: Preprocess, stated: Set[str], own: Normalisation | None) -> str | None:
    """What is to be said of pixels that are normalised twice, or as others than they are.

    Args:
        settings: from `preprocessing`.
        stated: the settings that the user or the source said.
        own: what the model does to pixels itself.
    """
    full = 2**settings.bit_depth - 1
    ends = [
        [(value / settings.scale - mean) / std for value in (0, full)]
        for mean, std in zip(settings.mean, settings.std, strict=True)
    ]
    largest = max(abs(value) for pair in ends for value in pair)
    does = f"scale {settings.scale:g}, mean {_shown(settings.mean)} and std {_shown(settings.std)}"
    if largest > 2 * full:
        return (
            f"{does} make values up to {largest:,.0f} of pixels of 0 to {full}: where mean and std are those "
            "of pixels in [0, 1], set the scale to the largest pixel"
        )
    if own is None:
        return None
    if own.of_whole_pixels and largest <= LARGEST_SCALED_STD:
        return (
            f"the model takes pixels of 0 to {full}, as it {own.steps}; by {does} it gets {largest:.3g} at "
            "most: to give it whole pixels, set scale 1, mean 0 and std 1"
        )
    trivial = not any(settings.mean) and set(settings.std) == {1.0}
    if own.of_whole_pixels or trivial or {"mean", "std"} <= stated or own.confirms(ends):
        return None
    return (
        f"the model itself {own.steps} before its first layer, and mean {_shown(settings.mean)} and std "
        f"{_shown(settings.std)} are assumed on top: if it takes pixels that are only scaled, set mean 0 and "
        "std 1"
    )


def _bit_depth(given: Any) -> int:
    if given is None:
        return 8
    if isinstance(given, bool) or given not in DEPTHS:
        raise ModelError(
            f"bit_depth is {str(given)[:60]!r}, where {DEPTHS[0]} to {DEPTHS[-1]} is needed",
            settings=("bit_depth",),
        )
    return int(given)


def _refuse_other_depth(settings: Preprocess, scale_given: bool) -> None:
    """Refuse a normalisation of other pixels than those of the bit depth."""
    bits, scale = settings.bit_depth, settings.scale
    if scale > 2**bits:
        raise ModelError(
            f"a scale of {scale:g} is above the largest pixel of {bits} bits, {2**bits - 1}: give the bit "
            "depth of the pixels that the model was trained on",
            settings=("bit_depth", "scale"),
        )
    if max(settings.mean) * scale > 2**bits:
        raise ModelError(
            f"mean {_shown(settings.mean)} is above the brightest pixel, {(2**bits - 1) / scale:g} by scale "
            f"{scale:g} and {bits} bits: give the bit depth of the pixels that the model was trained on",
            settings=("bit_depth", "mean"),
        )
    if bits > 8 and scale_given and scale in (255, 256):
        raise ModelError(
            f"a scale of {scale:g} is that of 8-bit pixels, and those of {bits} bits reach {2**bits - 1}: "
            "leave one of the two out",
            settings=("bit_depth", "scale"),
        )


def _refuse_unknown_scale(settings: Preprocess, stated: Set[str]) -> None:
    """Refuse to assume mean and std of pixels that are neither whole nor scaled to [0, 1]."""
    full = 2**settings.bit_depth - 1
    if settings.scale not in (1, full, full + 1) and not {"mean", "std"} <= stated:
        raise ModelError(
            f"mean and std are known by no convention for a scale of {settings.scale:g} (ImageNet's go with "
            f"{full}): give them as well",
            settings=("mean", "std"),
        )


def _refuse_half_a_normalisation(settings: Preprocess, given: Set[str], stated: Set[str]) -> None:
    """Refuse half a normalisation (ImageNet's would complete it), and one on another scale than assumed."""
    if len(stated & {"mean", "std"}) == 1:
        raise ModelError(
            "mean and std go together: a model was trained with both (a std of 1 is none)",
            settings=("mean", "std"),
        )
    unscaled = (("mean", LARGEST_SCALED_MEAN), ("std", LARGEST_SCALED_STD))
    for key, largest in unscaled if "scale" not in stated else ():
        values = getattr(settings, key)
        if key in given and max(map(abs, values)) > largest:
            full = 2**settings.bit_depth - 1
            raise ModelError(
                f"{key} {_shown(values)} is on the scale of pixels 0 to {full}: give a scale of 1 (pixels "
                f"are not divided), or the {key} of pixels divided by {full}",
                settings=(key, "scale"),
            )


def _shown(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
