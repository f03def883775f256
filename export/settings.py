"""Input size, preprocessing and labels of a bundle, each from the user, else the source, else assumed.

And what only the user has: the precision of the scores, and pictures to judge it by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from sise_rt.bundle import DEPTHS, PRECISIONS, Preprocess
from sise_rt.errors import ArgumentError, ModelError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import Note, counted, reason

from .intake.interface import Interface
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
LARGEST_SCALED_MEAN = 2.0  # of pixels in [0, 1] or [-1, 1]; anything larger is meant for unscaled ones
GATE_PICTURES = 20


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
    size: tuple[int, int, int], given: Mapping[str, Any], metadata: Mapping[str, Any]
) -> tuple[Preprocess, list[Note]]:
    """The user's settings, else the source's, else ImageNet's convention.

    Nothing is assumed to be cropped of pictures for a model of other channels than 3, or of an input that is
    not square or is small.

    Args:
        size: (channels, height, width).
        given: what the user gave, under timm's key names.
        metadata: what the source says.

    Returns:
        The preprocessing, and a line for each setting that was assumed.

    Raises:
        ModelError: a value is unknown or does not fit the channels.
        ArgumentError: there is no such setting.
    """
    channels, height, width = size
    _refuse_unknown(given)
    depth = _bit_depth(given.get("bit_depth"))
    convention: dict[str, Any] = IMAGENET | {
        "scale": float(2**depth - 1),
        "color": "GRAY" if channels == 1 else "RGB",
    }
    if channels != 3 or height != width or height < SMALLEST_CROPPED:
        convention["crop_pct"] = 1.0
    if channels != 3:
        convention |= {"mean": (0.0,) * channels, "std": (1.0,) * channels}
    origin = metadata.get("described_by", "")
    described = {key: metadata[key] for key in convention if metadata.get(key) is not None}
    values: dict[str, Any] = convention | described | {k: v for k, v in given.items() if v is not None}
    chosen = {key for key in given if given[key] is not None}
    assumed = []
    for key in convention:
        if given.get(key) is not None:
            continue
        if key not in described:
            assumed.append(Note(f"{key} {_shown(values[key])}", key))
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
            crop_assumed="crop_pct" not in chosen | described.keys(),
        )
    except ModelError:
        raise
    except (ValueError, TypeError) as error:
        raise ModelError(str(error)) from error
    _refuse_half_a_normalisation(settings, chosen, chosen | described.keys())
    _refuse_other_depth(settings, "scale" in chosen)
    return settings, assumed


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


def _refuse_half_a_normalisation(settings: Preprocess, given: Set[str], stated: Set[str]) -> None:
    """Refuse half a normalisation (ImageNet's would complete it), and one on another scale than assumed."""
    if given & {"mean", "std"} and not {"mean", "std"} <= stated:
        raise ModelError(
            "mean and std go together: a model was trained with both (a std of 1 is none)",
            settings=("mean", "std"),
        )
    if "mean" in given and "scale" not in stated and max(map(abs, settings.mean)) > LARGEST_SCALED_MEAN:
        raise ModelError(
            f"mean {_shown(settings.mean)} is on the scale of pixels 0 to 255: give a scale of 1 (pixels are "
            "not divided), or the mean of pixels divided by 255",
            settings=("mean", "scale"),
        )


def class_labels(
    given: str | Path | Sequence[str] | None, metadata: Mapping[str, Any], classes: int, two_sided: bool
) -> tuple[tuple[str, ...], Note | None, str | None]:
    """One label a class, empty if unknown; what had to be assumed of them; and why the source's are left out.

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
            raise ModelError(_other_count(len(labels), classes), settings=("labels",))
        return tuple(labels), None, None
    labels = metadata.get("labels") or []
    if len(labels) == classes:
        assumed = None
        if metadata.get("of_other_weights"):
            assumed = Note(f"labels, as for {metadata['described_by']}", "labels")
        return tuple(labels), assumed, None
    reason = metadata.get("labels_left_out")
    if labels:
        reason = _other_count(len(labels), classes)
    left_out = f"labels of {metadata['described_by']} left out: {reason}" if reason else None
    return ("negative", "positive") if two_sided else (), None, left_out


def _other_count(labels: int, classes: int) -> str:
    return f"{counted(labels, 'label')} for a model with {counted(classes, 'class', 'classes')}"


def _read_labels(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"labels cannot be read from {path}: {reason(error)}", settings=("labels",)
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _shown(value: Any) -> str:
    return ",".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


def gate_pictures(precision: str, folder: str | Path | None) -> list[Path]:
    """The pictures that a lower precision is judged by; none for float32.

    Args:
        precision: one of `PRECISIONS`.
        folder: with its subfolders; at most `GATE_PICTURES` of its pictures are taken, evenly drawn in the
            order of their names.

    Raises:
        ArgumentError: there is no such precision; the folder is missing, or needless, or has no pictures.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"no precision {precision!r}; known are {', '.join(PRECISIONS)}", settings=("precision",)
        )
    if precision == "fp32":
        if folder is not None:
            raise ArgumentError(
                "pictures judge the precision fp16, which was not asked for: leave them out, or ask for it",
                settings=("gate_images", "precision"),
            )
        return []
    if folder is None:
        raise ArgumentError(
            "fp16 rounds, and what that does to explanations depends on the model: give a folder of some "
            f"{GATE_PICTURES} pictures of the kind that it is for",
            settings=("gate_images",),
        )
    folder, suffixes = Path(folder), (*PICTURES, ".npy")
    try:
        if not folder.is_dir():
            raise ArgumentError(
                f"{str(folder)!r}: no such folder, where a folder of pictures is needed",
                settings=("gate_images",),
            )
        pictures = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
        )
    except ArgumentError:
        raise
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{str(folder)!r} cannot be read: {reason(error)}", settings=("gate_images",)
        ) from error
    if not pictures:
        raise ArgumentError(
            f"{folder} has no pictures: some {GATE_PICTURES} are needed, of the kind that the model is for",
            settings=("gate_images",),
        )
    count = min(len(pictures), GATE_PICTURES)
    return [pictures[i * len(pictures) // count] for i in range(count)]
