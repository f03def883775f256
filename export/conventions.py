"""What is assumed of preprocessing that nobody stated, and what no convention goes with."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sise_rt.bundle import Preprocess
from sise_rt.errors import ModelError
from sise_rt.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from sise_rt.stated import refuse_other_depth

from .intake.normalisation import LARGEST_SCALED_MEAN, LARGEST_SCALED_STD, Normalisation
from .origins.description import shown

IMAGENET = {
    "mean": IMAGENET_MEAN,
    "std": IMAGENET_STD,
    "interpolation": "bilinear",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "scale": 255.0,
}
SMALLEST_CROPPED = 128  # pixels; smaller inputs, as CIFAR's, are of pictures that are not cropped


def convention_for(
    size: tuple[int, int, int], depth: int, stated: Mapping[str, Any], own: Normalisation | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """What is assumed of what nobody said, and for some of it why.

    Args:
        size: (channels, height, width).
        depth: bits of a pixel.
        stated: what the user or the source said.
        own: what the model does to pixels itself.

    Raises:
        ModelError: the model takes pixels of another depth.
    """
    channels, height, width = size
    if own and own.bits not in (None, depth):
        raise ModelError(
            f"the model takes pixels of {own.bits} bits, as it {own.steps}, and the bit depth is {depth}: "
            "give the one that it was trained on",
            settings=("bit_depth",),
        )
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


def refuse_contradictions(settings: Preprocess, given: Set[str], stated: Set[str]) -> None:
    """Refuse preprocessing that no model was trained with.

    Args:
        settings: with what was assumed.
        given: the settings that the user said.
        stated: those that the user or the source said.

    Raises:
        ModelError: mean and std are half given, are those of other pixels, or are of no convention.
    """
    _refuse_half_a_normalisation(settings, given, stated)
    refuse_other_depth(settings, "scale" in stated)
    _refuse_unknown_scale(settings, stated)


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
                f"{key} {shown(values)} is on the scale of pixels 0 to {full}: give a scale of 1 (pixels "
                f"are not divided), or the {key} of pixels divided by {full}",
                settings=(key, "scale"),
            )
