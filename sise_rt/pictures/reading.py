"""Reading pictures: a file, bytes, a Pillow image or an array becomes one array of 8 or 16 bits."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sise_rt.errors import ImageError
from sise_rt.wording import reason

from .arrays import from_array
from .decoding import decode, loses_bits, to_raster
from .fingerprint import Fingerprint, of_array, of_bytes
from .raster import Raster

MAX_PIXELS = 100_000_000
"""The largest picture that is decoded, unless asked otherwise, and the largest it is resized to."""

WHOLE = 2**28  # bytes; a file up to this is read into memory, once, for its hash and its decoder

PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".webp", ".avif", ".avifs", ".tif"),
    *(".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".npy"),
)
"""What files of the formats that are read are called, in lower case: who looks for pictures takes these."""


def load_image(source: Any, *, channels: int = 3, max_pixels: int = MAX_PIXELS, name: str = "") -> np.ndarray:
    """Read a picture into an array, as `read_picture` does.

    Returns:
        uint8, or uint16 where the picture has more than 8 bits; RGB (H, W, 3), and arrays and TIFFs of 2, 5
        or more channels as they are. It may share memory with an array that was given.

    Raises:
        ImageError: as `read_picture` does.
    """
    return read_picture(source, channels=channels, max_pixels=max_pixels, name=name).pixels


def read_picture(source: Any, *, channels: int = 3, max_pixels: int = MAX_PIXELS, name: str = "") -> Raster:
    """Read a picture, with all its bits.

    Pictures follow the evaluation transforms: EXIF orientation is applied, 8-bit pictures become RGB as
    Pillow's `convert("RGB")` does it, and alpha is dropped, not composited. 16-bit values come as they are in
    the file. Of an animation the first frame is read. NumPy's files (`.npy`) hold arrays, and are taken so.

    Args:
        source: a path, an encoded picture as bytes, a Pillow image, or an array (H, W) or (H, W, C) of uint8
            or uint16.
        channels: what the model takes; an array (H, W, 4) keeps its fourth plane only where that is 4.
        max_pixels: the limit for files, bytes and Pillow images, checked before anything is decoded.
        name: what messages call the source, instead of its path.

    Raises:
        ImageError: the source is missing, empty, broken, too large, of another type, or no picture.
    """
    try:
        return _load(source, channels, max_pixels)
    except ImageError as error:
        problem = error
    except MemoryError as error:
        problem = ImageError("needs more memory than there is: shrink it", settings=("max_pixels",))
        problem.__cause__ = error
    except Exception as error:  # whatever a hostile file makes of a decoder, it is this picture's fault alone
        problem = ImageError(f"cannot be read: {error}: save or copy the picture again")
        problem.__cause__ = error
    called = name or _called(source)
    message = f"{called}: {problem.message}" if called else problem.message
    raise ImageError(message, settings=problem.settings) from problem


def _called(source: Any) -> str:
    """What messages call a source; nothing for an array, whose shape they give."""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return repr(path) if "\0" in path else path
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "") or "the given image")
    return "the given bytes" if isinstance(source, (bytes, bytearray, memoryview)) else ""


def _load(source: Any, channels: int, max_pixels: int) -> Raster:
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(os.fsdecode(source)), channels, max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return replace(decode(io.BytesIO(source), channels, max_pixels), fingerprint=of_bytes(source))
    if isinstance(source, Image.Image):
        raster = _read_image(source, channels, max_pixels)
        return replace(raster, fingerprint=of_array(raster.pixels, "pixels"))
    if hasattr(source, "__array_interface__") or hasattr(source, "__array__"):
        array = _as_array(source)
        return replace(from_array(array, channels), fingerprint=of_array(array))
    raise ImageError(f"a {type(source).__name__} is no picture: give a path, bytes, an image or an array")


def _as_array(source: Any) -> np.ndarray:
    try:
        return np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:  # as of a tensor with a gradient, or on a GPU
        raise ImageError(f"this {type(source).__name__} gives no array: {error}") from error


def _read_image(image: Any, channels: int, max_pixels: int) -> Raster:
    """A Pillow image; from its file where that is not decoded yet and Pillow might not do it rightly."""
    stream = getattr(image, "fp", None)
    if stream is None or not loses_bits(image):
        return to_raster(image, max_pixels)
    place = stream.tell()
    try:
        stream.seek(0)
        return decode(stream, channels, max_pixels)
    finally:
        stream.seek(place)
        with suppress(Exception):
            image.load()  # which closes its file, as it would for every other


def _read_file(path: Path, channels: int, max_pixels: int) -> Raster:
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as stream:
                return _read_stream(stream, channels, max_pixels)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("no such file: check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise ImageError(f"cannot be opened: {reason(error)}: check the path and its rights") from error
    if stat.S_ISDIR(mode):
        raise ImageError(f"is a folder: name the pictures in it, as {path / '*.jpg'}")
    raise ImageError("is no regular file: give a picture file, or its bytes")


def _read_stream(stream: io.BufferedReader, channels: int, max_pixels: int) -> Raster:
    """Decode a file and hash it, from one reading; a huge one is hashed after it has proved a picture."""
    if os.fstat(stream.fileno()).st_size <= WHOLE:
        data = stream.read()
        return replace(decode(io.BytesIO(data), channels, max_pixels), fingerprint=of_bytes(data, "file"))
    raster = decode(stream, channels, max_pixels)
    stream.seek(0)
    digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return replace(raster, fingerprint=Fingerprint(digest, "file"))
