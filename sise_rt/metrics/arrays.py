"""What metrics take, or refuse, and which pixels of a map are its highest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import ArgumentError

# Images (N, C, H, W) float32 to the probabilities (N,) of a class.
Confidence = Callable[[np.ndarray], np.ndarray]

ROUNDING = 1e-6  # how far a float32 softmax may lie outside [0, 1]


def checked_map(map_: np.ndarray) -> np.ndarray:
    """A map (H, W) of finite numbers, in float64."""
    map_ = real("the map", map_)
    if map_.ndim != 2 or map_.size == 0:
        raise ArgumentError(f"the map has shape {map_.shape}, where (H, W) is needed")
    return map_


def map_and_truth(map_: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A map (H, W) in float64 and a bool truth of its shape."""
    map_, truth = checked_map(map_), np.asarray(truth)
    if truth.dtype != bool:
        raise ArgumentError(
            f"the truth is {truth.dtype}, where bool is needed: pass truth > 0, or what marks it"
        )
    if truth.shape != map_.shape:
        raise ArgumentError(
            f"the truth has shape {truth.shape}, the map {map_.shape}: resize one of them first"
        )
    return map_, truth


def map_and_image(map_: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A map (H, W) in float64 and an image (C, H, W) in float32."""
    map_, image = checked_map(map_), checked_image(image)
    if image.shape[1:] != map_.shape:
        raise ArgumentError(f"the image has shape {image.shape}, the map {map_.shape}: resize the map first")
    return map_, image


def checked_image(image: np.ndarray) -> np.ndarray:
    """A preprocessed image (C, H, W) in float32."""
    if np.asarray(image).dtype.kind != "f":
        raise ArgumentError(
            f"the image is {np.asarray(image).dtype}, where float is needed: preprocess it first"
        )
    image = real("the image", image)
    if image.ndim != 3 or image.size == 0:
        raise ArgumentError(f"the image has shape {image.shape}, where (C, H, W) is needed")
    return image.astype(np.float32)


def real(name: str, values: np.ndarray) -> np.ndarray:
    """The values as float64, of finite real numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ArgumentError(f"{name} is {values.dtype}, where real numbers are needed")
    if not np.isfinite(values).all():
        raise ArgumentError(f"{name} has values that are not finite")
    return values.astype(np.float64)


def pair(whole: np.ndarray, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of whole and of masked images, shaped alike."""
    whole, masked = probabilities("whole", whole), probabilities("masked", masked)
    if whole.shape != masked.shape:
        raise ArgumentError(
            f"whole has shape {whole.shape}, masked {masked.shape}: give one of each per image"
        )
    return whole, masked


def probabilities(name: str, values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] in float64; what rounding put outside is clipped."""
    values = real(name, values)
    if values.size and not (values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING):
        raise ArgumentError(
            f"{name} has values from {values.min():g} to {values.max():g}, where probabilities are needed: "
            "apply softmax or sigmoid first"
        )
    return values.clip(0, 1)


def positive(name: str, value: int) -> None:
    """Refuse what is no whole number of at least 1."""
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ArgumentError(f"{name} is {value}, where a whole number of at least 1 is needed")


def confidences_of(
    images: Callable[[slice], np.ndarray], count: int, confidence: Confidence, batch: int
) -> np.ndarray:
    """The confidence on each of `count` images, which are made and run a batch at a time."""
    positive("batch", batch)
    values = np.empty(count)
    for first in range(0, count, batch):
        part = slice(first, min(first + batch, count))
        answers = np.asarray(confidence(images(part)))
        if answers.shape != values[part].shape:
            raise ArgumentError(f"confidence has shape {answers.shape}, where {values[part].shape} is needed")
        values[part] = probabilities("confidence", answers)
    return values


def descending(map_: np.ndarray) -> np.ndarray:
    """The pixels (H * W,) by falling value, of equal ones the first in row-major order first."""
    return np.argsort(-map_, axis=None, kind="stable")


def highest(map_: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest pixels, bool (H, W)."""
    top = np.zeros(map_.size, bool)
    top[descending(map_)[:count]] = True
    return top.reshape(map_.shape)
