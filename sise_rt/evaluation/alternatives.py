"""What a model's preprocessing might be instead, where it is wrong: the usual mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sise_rt.preprocessing import COLORS, IMAGENET_MEAN, IMAGENET_STD, Preprocess

CAFFE_MEAN = (123.68, 116.779, 103.939)  # of red, green and blue, in pixels of 0 to 255
ALIKE = 0.02  # differences of what a pixel becomes, relative to its range, and of crops, that are no mistake
CROPS: dict[str, dict[str, Any]] = {
    "squashed": {"crop_mode": "squash", "crop_pct": 1},
    "with the whole short side": {"crop_mode": "center", "crop_pct": 1},
    "cropped to 0.875": {"crop_mode": "center", "crop_pct": 0.875},
}


def alternatives(spec: Preprocess) -> dict[str, Preprocess]:
    """What is likely to be the model's preprocessing if it is not the one that is stated.

    Other values of pixels and the other order of colours, each alone and both; and other crops. What comes
    close to the stated one is not among them.

    Returns:
        By what differs, in words.
    """
    others: dict[str, Preprocess] = {}
    for color in COLORS.get(spec.input_size[0], (spec.color,)):
        for values, settings in {"": _as_stated(spec, color), **dict(_normalisations(spec, color))}.items():
            other = replace(spec, color=color, **settings)
            if not any(_alike(other, one) for one in (spec, *others.values())):
                swapped = color if color != spec.color else ""
                others[", ".join(filter(None, (swapped, values)))] = other
    for words, settings in CROPS.items():
        other = replace(spec, crop_assumed=False, **settings)
        if other.crop_mode != spec.crop_mode or abs(other.crop_pct - spec.crop_pct) > ALIKE:
            others[words] = other
    return others


def _as_stated(spec: Preprocess, color: str) -> dict[str, Any]:
    """The stated mean and std, in another order of colours."""
    return {key: _ordered(getattr(spec, key), color, spec.color) for key in ("mean", "std")}


def _ordered(values: tuple[Any, ...], color: str, given: str = "RGB") -> tuple[Any, ...]:
    return values if color == given else values[::-1]


def _normalisations(spec: Preprocess, color: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What models take pixels as, and the settings that make it of them."""
    channels, full = spec.input_size[0], 2**spec.bit_depth - 1
    zero, half, one = ((value,) * channels for value in (0.0, 0.5, 1.0))
    yield "pixels of 0 to 1", {"scale": full, "mean": zero, "std": one}
    yield f"pixels of 0 to {full}", {"scale": 1, "mean": zero, "std": one}
    yield "pixels of -1 to 1", {"scale": full, "mean": half, "std": half}
    if channels == 3:
        mean, std = (_ordered(values, color) for values in (IMAGENET_MEAN, IMAGENET_STD))
        yield "ImageNet's mean and std", {"scale": full, "mean": mean, "std": std}
        mean = tuple(value * full / 255 for value in _ordered(CAFFE_MEAN, color))
        yield f"pixels of 0 to {full} less Caffe's mean", {"scale": 1, "mean": mean, "std": one}


def _alike(one: Preprocess, other: Preprocess) -> bool:
    """Whether pixels become nearly the same values, in the same order."""
    if one.color != other.color:
        return False
    pairs = [(a, b) for ends in zip(one.ends, other.ends, strict=True) for a, b in zip(*ends, strict=True)]
    values = [value for ends in other.ends for value in ends]
    return max(abs(a - b) for a, b in pairs) <= ALIKE * (max(values) - min(values))
