"""A mask in a file: which pixels are the object.

A mask is no photo. Its values may be labels (0 and 1, 0 to 20, 255 for every object), in 8, 16 or 32 bits or
as places in a palette: they are not scaled, and whatever is not zero is the object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sise_rt.errors import ImageError
from sise_rt.pictures.reading import load_image

EXACT = ("PNG", "TIFF", "BMP", "GIF", "PPM")
"""Formats that give back the values that were written."""
NPY = ".npy"


def read_mask_file(path: Path, max_pixels: int) -> np.ndarray:
    """Read a mask.

    In a file with exact values the object is whatever is not zero in any channel; alpha does not count. Of a
    file with a palette it is what is not black, or, where all its colours are black, what has not the first
    of them. In JPEG and other formats with losses it is what is brighter than half of the brightest pixel.

    Args:
        path: of a picture, or of an array (H, W) or (H, W, C) of truth values or numbers in NumPy's format.
        max_pixels: larger masks are refused.

    Returns:
        bool (H, W).

    Raises:
        ImageError: the file is missing, broken, too large, or no mask.
    """
    if path.suffix.lower() == NPY:
        return _read_array(path, max_pixels)
    try:
        with Image.open(path, formats=EXACT) as image:
            exact = image.info.get("compression") != "jpeg"  # as a TIFF may have it
            if exact and image.mode[0] in "IFP" and image.width * image.height <= max_pixels:
                return _labelled(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        exact = False
    except Exception:  # what is wrong with it, the next line says
        exact = True
    values: np.ndarray = load_image(path, max_pixels=max_pixels).max(axis=2)
    return np.greater(values, 0 if exact else values.max() / 2)


def _labelled(image: Any) -> np.ndarray:
    """Where an image of numbers that are no brightness has something."""
    if image.mode[0] == "P":
        seen = np.asarray(np.asarray(image.convert("RGB")).any(axis=2))
        return seen if seen.any() else _nonzero(np.asarray(image.convert("P")))
    return _nonzero(np.asarray(image))


def _nonzero(values: np.ndarray) -> np.ndarray:
    something: np.ndarray = np.not_equal(values, 0) & ~np.isnan(values)  # what is no number is no object
    return something


def _read_array(path: Path, max_pixels: int) -> np.ndarray:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # nothing is read before it is measured
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file: check the path") from error
    except Exception as error:  # the header is a Python literal, of which anything can be wrong
        raise ImageError(
            f"{path}: this NumPy file cannot be read: {error}: save it again with numpy.save"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif" or values.ndim not in (2, 3):
        raise ImageError(f"{path}: is no mask: give (H, W) of truth values or numbers")
    if values.size > max_pixels:
        raise ImageError(f"{path}: has more than {max_pixels:,} values: shrink it, or raise the limit")
    return np.asarray(_nonzero(np.asarray(values).reshape(*values.shape[:2], -1)).any(axis=2))
