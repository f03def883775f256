"""The picture that is explained, prepared once for everything that looks at it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sise_rt.bundle import Preprocess
from sise_rt.errors import ImageError

from .placement import Placement, preprocess
from .reading import MAX_PIXELS, load_image


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as its user sees it, as the model sees it, and where the one lies in the other.

    Attributes:
        pixels: uint8, (H0, W0, 3) RGB, or (H0, W0, C) for a model of C other channels.
        tensor: (1, C, H, W) float32, the model's input.
        placement: of the input in the pixels.
        name: for messages, records and the names of files.
        seconds: that reading and preparing took.
    """

    pixels: np.ndarray = field(repr=False)
    tensor: np.ndarray = field(repr=False)
    placement: Placement
    name: str
    seconds: float = field(default=0.0, repr=False)


def prepare(
    image: Any, spec: Preprocess, *, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> Picture:
    """Read and preprocess a picture (SISE, phase 0); one that is prepared already is given back.

    Args:
        image: a `Picture` of the same model, or whatever `load_image` takes.
        spec: what the model expects.
        max_pixels: larger pictures are refused.
        name: of the picture; by default its path, or `image` where it has none.

    Raises:
        ImageError: the picture cannot be used.
    """
    if isinstance(image, Picture):
        return image
    start = time.perf_counter()
    name = name or name_of(image)
    pixels = load_image(image, channels=spec.input_size[0], max_pixels=max_pixels, name=name)
    try:
        tensor, placement = preprocess(pixels, spec)
    except ImageError as error:
        raise ImageError(f"{name}: {error.message}") from error
    return Picture(pixels, tensor, placement, name, time.perf_counter() - start)


def name_of(image: Any) -> str:
    """What an image is called: its path, or `image` where it has none."""
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    return str(getattr(image, "filename", "") or "image")


def in_rgb(pixels: np.ndarray) -> np.ndarray:
    """The pixels (H0, W0, C) to be shown, (H0, W0, 3) uint8: other channels as their mean, in grey."""
    if pixels.shape[2] == 3:
        return pixels
    return np.repeat(pixels.mean(axis=2, keepdims=True).round().astype(np.uint8), 3, axis=2)
