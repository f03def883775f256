"""The picture that is explained, prepared once for everything that looks at it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sise_rt.bundle import Preprocess
from sise_rt.cautions import Caution
from sise_rt.errors import ArgumentError, ImageError

from .fingerprint import Fingerprint
from .placement import Placement, preprocess, seen_share
from .raster import bit_depth_of, in_eight_bits
from .reading import MAX_PIXELS, read_picture

LEAST_SEEN = 0.75  # of a picture; below that its user hears of it


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as its user sees it, as the model sees it, and where the one lies in the other.

    Attributes:
        pixels: uint8, (H0, W0, 3) RGB, or (H0, W0, C) for a model of C other channels; of a picture of more
            bits these are only what is shown.
        tensor: (1, C, H, W) float32, the model's input, from all bits.
        placement: of the input in the pixels.
        name: for messages, records and the names of files.
        seconds: that reading and preparing took.
        bit_depth: of the picture: 2 ** bit_depth - 1 is full scale.
        notes: what was left out or is doubtful, a line each.
        spec: what it was prepared for; None where somebody made the tensor by hand.
        fingerprint: of the file, bytes or array that it was read from; None likewise.
    """

    pixels: np.ndarray = field(repr=False)
    tensor: np.ndarray = field(repr=False)
    placement: Placement
    name: str
    seconds: float = field(default=0.0, repr=False)
    bit_depth: int = 8
    notes: tuple[Caution, ...] = ()
    spec: Preprocess | None = field(default=None, repr=False)
    fingerprint: Fingerprint | None = field(default=None, repr=False)


def prepare(
    image: Any,
    spec: Preprocess,
    *,
    bit_depth: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> Picture:
    """Read and preprocess a picture (SISE, phase 0); one that is prepared already is given back.

    Args:
        image: a `Picture` of the same model, or whatever `read_picture` takes.
        spec: what the model expects.
        bit_depth: of a picture that is stored in 16 bits; None takes what the file says, else the model's if
            that is more than 8, else 16.
        max_pixels: larger pictures are refused.
        name: of the picture; by default its path, or `image` where it has none.

    Raises:
        ImageError: the picture cannot be used.
        ArgumentError: there is no such bit depth, or the picture was prepared for another model.
    """
    if isinstance(image, Picture):
        if image.spec not in (None, spec):
            raise ArgumentError("the picture was prepared for another model: prepare it for this one")
        return image
    start = time.perf_counter()
    name = name or name_of(image)
    raster = read_picture(image, channels=spec.input_size[0], max_pixels=max_pixels, name=name)
    with _naming(name):
        bits, of_depth = bit_depth_of(raster, bit_depth, spec.bit_depth)
        pixels = raster.at_depth(bits)
        tensor, placement = preprocess(pixels, spec, bits)
    notes = (*raster.notes, *of_depth)
    if (share := seen_share(placement)) < LEAST_SEEN:
        text = f"the model sees {share:.0%} of the picture: the rest is cropped"
        notes += (Caution("cropped", text),)
    shown = in_eight_bits(pixels, bits)
    seconds = time.perf_counter() - start
    return Picture(shown, tensor, placement, name, seconds, bits, notes, spec, raster.fingerprint)


def prepare_variants(
    image: Any,
    specs: Sequence[Preprocess],
    *,
    bit_depth: int | None = None,
    max_pixels: int = MAX_PIXELS,
    name: str | None = None,
) -> np.ndarray:
    """Read a picture once, and preprocess it in several ways for one model.

    Args:
        image: whatever `read_picture` takes.
        specs: of one input size and bit depth, at least one.
        bit_depth: as for `prepare`, as are the next two.
        max_pixels: larger pictures are refused.
        name: of the picture.

    Returns:
        The inputs, (specs, C, H, W) float32.

    Raises:
        ImageError: the picture cannot be used.
        ArgumentError: there is no such bit depth.
    """
    name = name or name_of(image)
    raster = read_picture(image, channels=specs[0].input_size[0], max_pixels=max_pixels, name=name)
    with _naming(name):
        bits, _ = bit_depth_of(raster, bit_depth, specs[0].bit_depth)
        pixels = raster.at_depth(bits)
        return np.concatenate([preprocess(pixels, spec, bits)[0] for spec in specs])


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Let errors about a picture begin with its name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error.message}", settings=error.settings) from error


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
