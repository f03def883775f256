"""Pictures that are arrays, in memory or in NumPy's files."""

from __future__ import annotations

import math
import os
from typing import BinaryIO

import numpy as np

from sise_rt.cautions import Caution
from sise_rt.errors import ImageError
from sise_rt.wording import counted

from .raster import Raster, require_size

NPY = np.lib.format.MAGIC_PREFIX
SEE_THROUGH = Caution("transparency-ignored", "its transparency is left out: what it hides is seen")


def read_numpy_file(stream: BinaryIO, channels: int, max_pixels: int) -> Raster:
    """Read an array of numbers in NumPy's format; its header is judged before any memory is taken for it.

    Args:
        stream: of the file, at any position.
        channels: as for `from_array`.
        max_pixels: larger pictures are refused.

    Raises:
        ImageError: it is no picture, is broken, or is too large.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        formats = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
        version, _ = np.lib.format.read_magic(stream)
        if version not in formats:
            raise ValueError(f"its format version is {version}")
        shape, _, dtype = formats[version](stream)
    except Exception as error:  # the header is a Python literal, of which anything can be wrong
        raise ImageError(f"this NumPy file cannot be read: {error}: save it again with numpy.save") from error
    _require_picture(shape, dtype)
    require_size(shape[1], shape[0], max_pixels)
    expected, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if held != expected:
        raise ImageError(
            f"an array of shape {shape} has {expected:,} bytes, and the file {held:,}: save or copy it again"
        )
    if math.prod(shape) > max_pixels * max(channels, 4):  # a sparse file costs nothing to write
        raise ImageError(
            f"an array of shape {shape} has more values than {max_pixels:,} pixels of the model's "
            f"{counted(channels, 'channel')}: shrink it, or raise the limit",
            settings=("max_pixels",),
        )
    stream.seek(0)
    return from_array(np.lib.format.read_array(stream, allow_pickle=False), channels)


def from_array(array: np.ndarray, channels: int) -> Raster:
    """A picture that is given as an array.

    Args:
        array: uint8 or uint16, (H, W) or (H, W, C).
        channels: what the model takes; a fourth plane is kept only where that is 4.

    Raises:
        ImageError: its shape or type is that of no picture.
    """
    _require_picture(array.shape, array.dtype)
    notes: tuple[Caution, ...] = ()
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == 1 and channels in (1, 3):
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] == 4 and channels != 4:
        if array[..., 3].min() < np.iinfo(array.dtype).max:
            notes = (SEE_THROUGH,)
        array = array[..., :3]
    depth = array.dtype.newbyteorder("=")
    return Raster(np.ascontiguousarray(array, depth), 8 if depth == np.uint8 else None, notes)


def _require_picture(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise ImageError(
            f"an array of {dtype} has no known range: give uint8, 0 to 255, RGB, or uint16 with its bit depth"
        )
    # A header may say True, which NumPy takes for a 1 only in part.
    if len(shape) not in (2, 3) or not all(type(extent) is int and extent >= 1 for extent in shape):
        raise ImageError(f"an array of shape {shape} is no picture: give (H, W), or (H, W, C) as RGB")
