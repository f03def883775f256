"""Input size, preprocessing and labels of a bundle, each from the user, else the source, else assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sise_rt.bundle import Preprocess
from sise_rt.errors import ModelError

from .canonical import Interface

IMAGENET = {
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
    "interpolation": "bilinear",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "scale": 255.0,
}
SIZE = 224


def image_size(
    ends: Interface, wanted: tuple[int, int] | None, metadata: Mapping[str, Any]
) -> tuple[tuple[int, int, int], str | None]:
    """(channels, height, width), and a note if it had to be assumed.

    Raises:
        ModelError: the model leaves its channels free, or its fixed size is not the one wanted.
    """
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
                f"which contradicts --input-size {wanted[0]}x{wanted[1]}"
            )
        return (channels, *wanted), None
    if height and width:
        return (channels, height, width), None
    if described:
        return (channels, height or described[1], width or described[2]), None
    return (
        channels,
        height or SIZE,
        width or SIZE,
    ), f"input size {height or SIZE}x{width or SIZE} (set --input-size)"


def preprocessing(
    size: tuple[int, int, int], given: Mapping[str, Any], metadata: Mapping[str, Any]
) -> tuple[Preprocess, list[str]]:
    """The user's settings, else the source's, else ImageNet's convention.

    Args:
        size: (channels, height, width).
        given: what the user gave, under timm's key names.
        metadata: what the source says.

    Returns:
        The preprocessing, and a line for each setting that was assumed.

    Raises:
        ModelError: a value is unknown or does not fit the channels.
    """
    channels = size[0]
    convention: dict[str, Any] = IMAGENET | {"color": "GRAY" if channels == 1 else "RGB"}
    if channels != 3:
        convention |= {"mean": (0.0,) * channels, "std": (1.0,) * channels}
    origin = metadata.get("described_by", "")
    known = {key: metadata[key] for key in convention if metadata.get(key) is not None}
    values: dict[str, Any] = convention | known | {k: v for k, v in given.items() if v is not None}
    assumed = []
    for key in convention:
        if given.get(key) is not None:
            continue
        if key not in known:
            assumed.append(f"{key} {_shown(values[key])}")
        elif metadata.get("of_other_weights"):
            assumed.append(f"{key} {_shown(values[key])} (as for {origin})")
    try:
        for key in ("mean", "std"):
            value = values[key]
            entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
            values[key] = tuple(map(float, entries * channels if len(entries) == 1 else entries))
            if len(values[key]) != channels:
                raise ModelError(f"--{key} has {len(values[key])} values for {channels} channels")
        return Preprocess(
            input_size=size,
            interpolation=str(values["interpolation"]),
            crop_pct=float(values["crop_pct"]),
            crop_mode=str(values["crop_mode"]),
            mean=values["mean"],
            std=values["std"],
            color=str(values["color"]).upper(),
            scale=float(values["scale"]),
        ), assumed
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        raise ModelError(str(error)) from error


def class_labels(
    given: str | Path | Sequence[str] | None, metadata: Mapping[str, Any], classes: int, two_sided: bool
) -> tuple[tuple[str, ...], str | None]:
    """One label a class, and a note if they had to be assumed; empty if unknown.

    Raises:
        ModelError: the label file cannot be read, or has another number of labels than the model has classes.
    """
    if given is not None:
        labels = (
            _read_labels(Path(given)) if isinstance(given, (str, Path)) else [str(label) for label in given]
        )
        if two_sided and len(labels) == 1:
            labels = [f"not {labels[0]}", labels[0]]
        if len(labels) != classes:
            raise ModelError(f"{len(labels)} labels for a model with {classes} classes")
        return tuple(labels), None
    labels = metadata.get("labels") or []
    if len(labels) == classes:
        assumed = f"labels (as for {metadata['described_by']})" if metadata.get("of_other_weights") else None
        return tuple(labels), assumed
    return (("negative", "positive"), None) if two_sided else ((), None)


def _read_labels(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"labels cannot be read from {path}: {error}") from error
    return [line.strip() for line in lines if line.strip()]


def _shown(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
