"""What was read of a picture: its values, what they mean, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sise_rt.bundle import DEPTHS
from sise_rt.cautions import Caution
from sise_rt.errors import ArgumentError, ImageError

from .fingerprint import Fingerprint

USUAL = (8, 10, 12, 14)  # bits that cameras and detectors give, stored in 16


@dataclass(frozen=True, eq=False)
class Raster:
    """What a file or an array holds.

    Attributes:
        pixels: uint8 or uint16, (H, W, 3) RGB, or (H, W, C) for other channels.
        declared: bits of the full scale where the source tells it, as uint8 does; None for uint16 that may
            hold fewer bits than 16.
        notes: what the picture's user should know of the reading.
        zero_is_white: whether the pixels are 65535 less the file's values, which may hold fewer bits than 16:
            then they are `at_depth` what the picture is.
        fingerprint: of what was read; None until it is known.
    """

    pixels: np.ndarray
    declared: int | None = 8
    notes: tuple[Caution, ...] = ()
    zero_is_white: bool = False
    fingerprint: Fingerprint | None = None

    @property
    def largest(self) -> int:
        """The largest value, as the source holds it."""
        return full_scale(16) - int(self.pixels.min()) if self.zero_is_white else int(self.pixels.max())

    def at_depth(self, bits: int) -> np.ndarray:
        """The pixels of a picture whose full scale has so many bits."""
        if self.zero_is_white and bits < 16:
            return self.pixels - np.uint16(full_scale(16) - full_scale(bits))
        return self.pixels


def full_scale(bits: int) -> int:
    """The largest value of a pixel of so many bits."""
    return 2**bits - 1


def bit_depth_of(raster: Raster, asked: int | None, model: int) -> tuple[int, tuple[Caution, ...]]:
    """The bits of a picture's full scale, and what is to be said of them.

    Args:
        raster: what was read.
        asked: what the user says of pictures of more than 8 bits, None where nothing.
        model: the bit depth of the pixels that the model takes.

    Raises:
        ArgumentError: there is no such bit depth.
        ImageError: a pixel is brighter than the bit depth allows.
    """
    if asked is not None and (isinstance(asked, bool) or asked not in DEPTHS):
        raise ArgumentError(
            f"a bit depth of {asked!r}, where {DEPTHS[0]} to {DEPTHS[-1]} is needed", settings=("bit_depth",)
        )
    if raster.declared is not None:
        if raster.declared == 8 and model > 8:
            text = f"the picture has 8 bits, the model takes {model}: its values are brought to them"
            return 8, (Caution("more-bits", text),)
        return raster.declared, ()
    stated = asked or (model if model > 8 else None)
    largest = raster.largest
    called = "largest value, where 0 is white," if raster.zero_is_white else "brightest value"
    if stated:
        if largest > full_scale(stated):
            raise ImageError(
                f"its {called} is {largest}, above the {full_scale(stated)} of {stated} bits: give "
                "the bit depth of the picture",
                settings=("bit_depth",),
            )
        return stated, ()
    fewer = next((bits for bits in USUAL if 0 < largest <= full_scale(bits)), None)
    if fewer is None:
        return 16, ()
    seen = "bright" if raster.zero_is_white else "dark"
    text = (
        f"the {called} is {largest} of 65535: if the picture is {fewer}-bit data, its bit depth "
        f"(bit_depth) has to be given, or the model sees it too {seen}"
    )
    return 16, (Caution("bit-depth-unsure", text),)


def in_eight_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Pixels of a bit depth, uint8 or uint16, as they are shown: uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    levels = np.arange(65536) * (255 / full_scale(bits))
    return np.rint(levels).clip(0, 255).astype(np.uint8)[pixels]


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (H, W, C) upright, by EXIF 2.32, table 8; unknown orientations are none."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def require_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture of more pixels than are wanted, or of none.

    Raises:
        ImageError: says so.
    """
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} is more than {max_pixels:,} pixels: shrink it, or raise the limit",
            settings=("max_pixels",),
        )
    if width * height == 0:
        raise ImageError(f"has no pixels ({width} x {height}): save or copy the picture again")
