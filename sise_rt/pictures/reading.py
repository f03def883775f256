"""Reading pictures: a file, bytes, a Pillow image or an array becomes one uint8 array.

Decoding is Pillow's, because the evaluation transforms that models are trained against (torchvision's and
timm's) are Pillow's.
"""

from __future__ import annotations

import io
import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sise_rt.errors import ImageError

MAX_PIXELS = 100_000_000
"""The largest picture that is decoded, unless asked otherwise, and the largest it is resized to."""

# No PostScript, no fonts: each decoder more is a surface more for a hostile file. No format without a magic
# number either, so that a broken picture is told from something that is none.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
# What files of these formats are called.
PICTURES = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".jp2",
    ".avif",
)
NPY = np.lib.format.MAGIC_PREFIX
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(source: Any, *, channels: int = 3, max_pixels: int = MAX_PIXELS, name: str = "") -> np.ndarray:
    """Read a picture into an array.

    Pictures follow the evaluation transforms: EXIF orientation is applied, everything becomes RGB as
    Pillow's `convert("RGB")` does it, and alpha is dropped, not composited. 16-bit grey is scaled to 8 bits.
    Of an animation the first frame is read. NumPy's files (`.npy`) hold arrays, and are taken as such.

    Args:
        source: a path, an encoded picture as bytes, a Pillow image, or a uint8 array (H, W) or (H, W, C).
        channels: what the model takes; an array (H, W, 4) keeps its fourth plane only where that is 4.
        max_pixels: the limit for files, bytes and Pillow images, checked before anything is decoded.
        name: what messages call the source, instead of its path.

    Returns:
        uint8 RGB (H, W, 3); an array of 2, 5 or more channels comes back as it is. It may share memory
        with an array that was given.

    Raises:
        ImageError: the source is missing, empty, broken, too large, of another type, or no picture.
    """
    try:
        return _load(source, channels, max_pixels)
    except ImageError as error:
        called = name or _called(source)
        raise ImageError(f"{called}: {error.message}" if called else error.message) from error


def _called(source: Any) -> str:
    """What messages call a source; nothing for an array, whose shape they give."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return repr(path) if "\0" in path else path
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "the given image")
    return "the given bytes" if isinstance(source, (bytes, bytearray, memoryview)) else ""


def _load(source: Any, channels: int, max_pixels: int) -> np.ndarray:
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(os.fsdecode(source)), channels, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(io.BytesIO(source), channels, max_pixels)
    if isinstance(source, Image.Image):
        return _to_rgb(source, max_pixels)
    if hasattr(source, "__array_interface__") or hasattr(source, "__array__"):
        return _from_array(np.asarray(source), channels)
    raise ImageError(f"a {type(source).__name__} is no picture: give a path, bytes, an image or an array")


def _read_file(path: Path, channels: int, max_pixels: int) -> np.ndarray:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as stream:
                return _decode(stream, channels, max_pixels)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("no such file: check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise ImageError(f"cannot be opened: {error}: check the path and its rights") from error
    if stat.S_ISDIR(mode):
        raise ImageError("is a folder: name the pictures in it")
    raise ImageError("is no regular file: give a picture file, or its bytes")


def _decode(stream: BinaryIO, channels: int, max_pixels: int) -> np.ndarray:
    """Decode one encoded picture, or read an array in NumPy's format.

    `Image.open` would judge its size by a process-wide setting, with a warning or an error at limits that
    are not ours; asking Pillow's decoders directly leaves the host program's settings and threads alone.
    """
    prefix = stream.read(16)
    if not prefix:
        raise ImageError("is empty: save or copy the picture again")
    if prefix.startswith(NPY):
        return _from_array(_read_array(stream, max_pixels), channels)
    Image.init()
    for form in FORMATS:
        factory, accept = Image.OPEN.get(form, (None, None))
        # A decoder that this Pillow was built without answers with a message instead of True.
        if factory is None or accept is None or accept(prefix) is not True:
            continue
        stream.seek(0)
        try:
            image = factory(stream, "")  # a name would be opened once more
        except Exception as error:  # a decoder may meet anything in a broken file
            raise _unreadable(form, error) from error
        return _to_rgb(image, max_pixels)
    raise ImageError("is no picture, or of an unknown format: convert it to PNG or JPEG")


def _read_array(stream: BinaryIO, max_pixels: int) -> np.ndarray:
    """Read an array of numbers in NumPy's format; its header is judged before any memory is taken for it."""
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
    _check_array(shape, dtype)
    if shape[0] * shape[1] > max_pixels:
        raise ImageError(
            f"{shape[1]} x {shape[0]} is more than {max_pixels:,} pixels: shrink it, or raise the limit"
        )
    expected, held = math.prod(shape), size - stream.tell()
    if held != expected:
        raise ImageError(
            f"an array of shape {shape} has {expected:,} bytes, and the file {held:,}: save or copy it again"
        )
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _unreadable(form: str | None, error: Exception) -> ImageError:
    return ImageError(f"this {form or 'image'} cannot be decoded: {error}: save or copy it again")


def _to_rgb(image: Image.Image, max_pixels: int) -> np.ndarray:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{width} x {height} is more than {max_pixels:,} pixels: shrink it, or raise the limit"
        )
    if width * height == 0:
        raise ImageError(f"has no pixels ({width} x {height}): save or copy the picture again")
    form = image.format
    try:
        image.load()  # before the orientation is asked for: the TIFF decoder applies it by itself
        turn = UPRIGHT.get(_orientation(image))
        if turn is not None:
            image = image.transpose(turn)
        if image.mode.startswith("I;16") or (image.mode == "I" and form in ("PNG", "PPM")):
            grey = (np.asarray(image).astype(np.uint32) + 128) // 257  # 65535 / 255; `convert` would clip
            return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
        if image.mode in ("I", "F"):
            raise ImageError("32-bit pixels have no known range: save the picture with 8 bits")
        if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
            image = image.convert("RGBA")  # the way round a warning of Pillow's; the colours are the same
        return np.array(image.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # a decoder may meet anything in a broken file
        raise _unreadable(form, error) from error


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # broken metadata beside intact pixels: every viewer shows such a picture as it lies
        return 1


def _check_array(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype != np.uint8:
        raise ImageError(f"an array of {dtype} has no known range: give uint8, 0 to 255, RGB")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ImageError(f"an array of shape {shape} is no picture: give (H, W), or (H, W, C) as RGB")


def _from_array(array: np.ndarray, channels: int) -> np.ndarray:
    _check_array(array.shape, array.dtype)
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    if array.shape[2] == 4 and channels != 4:
        array = array[..., :3]
    return np.ascontiguousarray(array)
