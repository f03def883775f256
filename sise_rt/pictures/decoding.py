"""Decoding encoded pictures.

By Pillow, because the evaluation transforms that models are trained against (torchvision's and timm's) are
Pillow's; where it would lose or mistake bits, in other ways.
"""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from sise_rt.cautions import Caution
from sise_rt.errors import ImageError

from .arrays import NPY, SEE_THROUGH, read_numpy_file
from .bounds import canvas_of, require_bounded, without_pillows_limit
from .headers import bits_of
from .netpbm import MAGIC, read_netpbm
from .raster import Raster, require_size, turned
from .tiff import read_pages
from .tiff_page import first_page

# No PostScript, no fonts: each decoder more is a surface more for a hostile file. No format without a magic
# number either, so that a broken picture is told from something that is none.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "JPEG2000", "AVIF")
ORIENTATION_TAG = 0x0112
GREY_ALPHA = "LA;16B"
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")  # in the others, further pictures are no frames
OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
# Pillow's names for colour of 16 bits, and those that give the low bytes instead of the high ones.
DEEP = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in OTHER_ORDER.items()
}


def decode(stream: BinaryIO, channels: int, max_pixels: int) -> Raster:
    """Decode one encoded picture, or read an array in NumPy's format.

    `Image.open` would judge its size by a process-wide setting, with a warning or an error at limits that
    are not ours; asking Pillow's decoders directly leaves the host program's settings and threads alone.

    Args:
        stream: of the file, at its start.
        channels: what the model takes.
        max_pixels: larger pictures are refused, before anything is decoded.

    Raises:
        ImageError: it is no picture, is broken, or would take too much.
    """
    prefix = stream.read(16)
    if not prefix:
        raise ImageError("is empty: save or copy the picture again")
    if prefix.startswith(NPY):
        return read_numpy_file(stream, channels, max_pixels)
    if MAGIC.match(prefix):
        return read_netpbm(stream, max_pixels)
    Image.init()
    for form in FORMATS:
        factory, accept = Image.OPEN.get(form, (None, None))
        # A decoder that this Pillow was built without answers with a message instead of True.
        if factory is None or accept is None or accept(prefix) is not True:
            continue
        require_bounded(form, stream, max_pixels)
        try:
            if form == "TIFF":
                return _decode_tiff(factory, stream, channels, max_pixels)
            return _decode_other(form, factory, stream, max_pixels)
        except ImageError:
            raise
        except Exception as error:  # a decoder may meet anything in a broken file
            raise _unreadable(form, error) from error
    raise ImageError("is no picture, or of an unknown format: convert it to PNG or JPEG")


Factory = Callable[[Any, str], Any]


def _decode_other(form: str, factory: Factory, stream: BinaryIO, max_pixels: int) -> Raster:
    width, height = canvas_of(form, stream) or (0, 0)
    with without_pillows_limit(width * height) if form == "WEBP" else nullcontext():
        image = _opened(factory, stream)
    require_size(image.width, image.height, max_pixels)
    notes: tuple[Caution, ...] = ()
    if form in ANIMATED and _is_animated(image):
        notes = (Caution("first-frame", "it is an animation: its first frame is read"),)
    if form == "PNG" and image.tile:
        deep = _deep_png(factory, stream, image)
        if deep is not None:
            return Raster(deep.pixels, None, notes + deep.notes)
    bits, read = bits_of(form, stream), to_raster(image, max_pixels)
    pixels, declared = read.pixels, read.declared
    if 8 < bits and pixels.dtype == np.uint8:
        text = f"its {bits} bits are read as 8: save it as PNG or TIFF of 16 bits to keep them"
        notes += (Caution("fewer-bits", text),)
    elif 8 < bits < 16:  # Pillow brings them to 16
        pixels, declared = pixels >> (16 - bits), bits
    return Raster(pixels, declared, notes + read.notes)


def _decode_tiff(factory: Factory, stream: BinaryIO, channels: int, max_pixels: int) -> Raster:
    page = first_page(stream, max_pixels)
    if not page.is_pillows(channels):
        return read_pages(stream, page, channels, max_pixels)
    with without_pillows_limit(page.width * page.height):
        image = _page_of(factory, stream, page.place)
        if (raw := _raw_mode(image)) in DEEP:
            read = _halves(image, _page_of(factory, stream, page.place), raw)
        else:
            read = to_raster(image, max_pixels)
    declared = page.declared(int(read.pixels.max())) if page.bits > 8 else read.declared
    return Raster(read.pixels, declared, page.notes + read.notes)


def _page_of(factory: Factory, stream: BinaryIO, place: int) -> Any:
    image = _opened(factory, stream)
    if place:
        image.seek(place)
    return image


def _opened(factory: Factory, stream: BinaryIO) -> Any:
    stream.seek(0)
    return factory(stream, "")  # a name would be opened once more


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a broken second frame says nothing of the first
        return False


def loses_bits(image: Any) -> bool:
    """Whether Pillow would lose or mistake bits of an image that it opened and did not decode yet."""
    if image.format not in ("JPEG2000", "TIFF", "PNG") or not getattr(image, "tile", None) or image.tell():
        return False
    return image.format in ("JPEG2000", "TIFF") or _raw_mode(image) in DEEP or _raw_mode(image) == GREY_ALPHA


def _raw_mode(image: Any) -> str:
    """How the bytes of an image that is not decoded yet lie in the file, as Pillow calls it."""
    arguments = image.tile[0][3]
    return arguments[0] if isinstance(arguments, tuple) else arguments


def _deep_png(factory: Factory, stream: BinaryIO, image: Any) -> Raster | None:
    """A PNG of 16-bit colour, of which Pillow gives the high bytes; None of another."""
    raw = _raw_mode(image)
    if raw in DEEP:
        return _halves(image, _opened(factory, stream), raw)
    if raw != GREY_ALPHA:
        return None
    # Grey and alpha of 16 bits are, byte by byte, red, green, blue and alpha of 8.
    stream.seek(0)
    data = bytearray(stream.read())
    data[24:26] = 8, 6
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    four = np.asarray(_opened(factory, io.BytesIO(data))).astype(np.uint16)
    grey, alpha = four[..., 0] << 8 | four[..., 1], four[..., 2] << 8 | four[..., 3]
    pixels = turned(np.repeat(grey[..., None], 3, axis=2), _orientation(image))
    return Raster(pixels, None, (SEE_THROUGH,) if alpha.min() < 65535 else ())


def _halves(image: Any, again: Any, raw: str) -> Raster:
    """Colour of 16 bits by two decodings: high bytes, and low ones by telling the other order."""
    again.tile = [_read_in(tile, DEEP[raw]) for tile in again.tile]
    image.load()
    again.load()
    high, low = (np.asarray(part).astype(np.uint16) for part in (image, again))
    pixels = turned((high << 8 | low)[..., :3], _orientation(image))
    return Raster(pixels, None, (SEE_THROUGH,) if _shows_through(image) else ())


def _read_in(tile: Any, raw: str) -> Any:
    """A tile of an image with another raw mode; a named tuple in newer Pillows."""
    arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)


def to_raster(image: Image.Image, max_pixels: int) -> Raster:
    """The pixels of a Pillow image, upright, in RGB.

    Raises:
        ImageError: it is too large, or cannot be decoded.
    """
    require_size(*image.size, max_pixels)
    form = image.format
    try:
        image.load()  # before the orientation is asked for: the TIFF decoder applies it by itself
        orientation = _orientation(image)
        if image.mode.startswith("I;16") or (image.mode == "I" and form == "PNG"):
            grey = np.asarray(image).astype(np.uint16)
            return Raster(turned(np.repeat(grey[..., None], 3, axis=2), orientation), None)
        if image.mode in ("I", "F"):
            raise ImageError("32-bit pixels have no known range: save the picture with 8 or 16 bits")
        notes = (SEE_THROUGH,) if _shows_through(image) else ()
        if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
            image = image.convert("RGBA")  # the way round a warning of Pillow's; the colours are the same
        return Raster(turned(np.array(image.convert("RGB")), orientation), 8, notes)
    except ImageError:
        raise
    except Exception as error:  # a decoder may meet anything in a broken file
        raise _unreadable(form, error) from error


def _shows_through(image: Image.Image) -> bool:
    """Whether a part of it is transparent."""
    if image.mode in ("RGBA", "LA", "PA"):
        return _lowest_alpha(image) < 255
    if "transparency" not in image.info or image.mode not in ("1", "L", "P", "RGB"):
        return False
    return _lowest_alpha(image.convert("RGBA")) < 255


def _lowest_alpha(image: Image.Image) -> int:
    return int(np.asarray(image.getchannel("A")).min())


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # broken metadata beside intact pixels: every viewer shows such a picture as it lies
        return 1


def _unreadable(form: str | None, error: Exception) -> ImageError:
    return ImageError(f"this {form or 'image'} cannot be decoded: {error}: save or copy it again")
