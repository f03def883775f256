"""Netpbm's pictures (PBM, PGM, PPM): a few numbers as text, and the pixels.

Pillow reads such headers without a bound, and gives colour of 16 bits in 8.
"""

from __future__ import annotations

import re
from typing import BinaryIO

import numpy as np

from sise_rt.errors import ImageError

from .raster import Raster, require_size

MAGIC = re.compile(rb"P[1-6][\s#]")
HEADER = 4096  # bytes; by far more than anyone's comment
TOKEN = re.compile(rb"(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])+(\d{1,9})")
BIT, VALUE = re.compile(rb"[01]"), re.compile(rb"\d{1,9}")
MOST_PLAIN = 12_000_000  # values that are written as text, which is slow to read
PLAIN_WIDTH = 12  # bytes of such a value with the space around it, at most


def read_netpbm(stream: BinaryIO, max_pixels: int) -> Raster:
    """Read a picture of P1 to P6; the values of an unusual full scale are brought to 8 or 16 bits.

    Args:
        stream: of the file, at any position.
        max_pixels: larger pictures are refused.

    Raises:
        ImageError: the picture is broken or too large.
    """
    stream.seek(0)
    head = stream.read(HEADER)
    kind, at = int(head[1:2]), 2
    bits = kind in (1, 4)
    numbers = []
    for _ in range(2 if bits else 3):
        token = TOKEN.match(head, at)
        if token is None:
            raise ImageError(
                "its header has no width, height and full scale within "
                f"{HEADER:,} bytes: save or copy the picture again"
            )
        numbers.append(int(token[1]))
        at = token.end()
    width, height, scale = (*numbers, 1)[:3]
    require_size(width, height, max_pixels)
    if not 1 <= scale <= 65535:
        raise ImageError(f"a full scale of {scale}, where 1 to 65535 is needed: save the picture again")
    stream.seek(at + (kind > 3))  # one white space behind the header
    planes = 3 if kind in (3, 6) else 1
    values = (_plain if kind < 4 else _packed)(stream, (height, width, planes), scale, bits)
    if bits:
        values = 1 - values  # one is black
    elif values.max() > scale:
        raise _too_bright(int(values.max()), scale)
    declared = 8 if scale <= 255 else scale.bit_length()
    if scale & (scale + 1) or scale < 255:  # no full scale of 8 bits or more
        declared, kind_of_value = (8, np.uint8) if scale < 255 else (16, np.uint16)
        levels = np.arange(scale + 1) / scale * np.iinfo(kind_of_value).max
        values = np.rint(levels).astype(kind_of_value)[values]
    pixels = np.repeat(values, 3, axis=2) if planes == 1 else values
    return Raster(pixels, None if scale == 65535 else declared)


def _packed(stream: BinaryIO, shape: tuple[int, int, int], scale: int, bits: bool) -> np.ndarray:
    height, width, planes = shape
    row = -(-width // 8) if bits else width * planes * (1 + (scale > 255))
    data = stream.read(row * height)
    if len(data) < row * height:
        raise _cut_short()
    if bits:
        return np.unpackbits(np.frombuffer(data, np.uint8).reshape(height, row), axis=1)[:, :width, None]
    return np.frombuffer(data, ">u2" if scale > 255 else np.uint8).astype(_type(scale)).reshape(shape)


def _plain(stream: BinaryIO, shape: tuple[int, int, int], scale: int, bits: bool) -> np.ndarray:
    count = shape[0] * shape[1] * shape[2]
    if count > MOST_PLAIN:
        raise ImageError(f"{count:,} values are written as text: save the picture as binary, or as PNG")
    most = count * PLAIN_WIDTH + HEADER
    text = stream.read(most + 1)
    more = len(text) > most
    words = re.sub(rb"#[^\r\n]*", b"", text).split()
    if more and words:
        del words[-1]  # which may be cut in two
    if bits:  # may stand side by side
        words = [b"%c" % bit for bit in b"".join(words)]
    if len(words) < count:
        raise _too_wordy(count, most) if more else _cut_short()
    del words[count:]
    if not all(map(BIT.fullmatch if bits else VALUE.fullmatch, words)):
        raise ImageError(f"holds what is no {'bit' if bits else 'value of a pixel'}: save the picture again")
    values = np.array(words).astype(np.int64)
    if values.max() > scale:
        raise _too_bright(int(values.max()), scale)
    return values.astype(_type(scale)).reshape(shape)


def _type(scale: int) -> type:
    return np.uint16 if scale > 255 else np.uint8


def _cut_short() -> ImageError:
    return ImageError("this PPM cannot be decoded: it ends before its last pixel: save or copy it again")


def _too_wordy(count: int, most: int) -> ImageError:
    return ImageError(f"its {count:,} values are not within {most:,} bytes of text: save the picture as PNG")


def _too_bright(value: int, scale: int) -> ImageError:
    return ImageError(f"a value of {value} is above its full scale of {scale}: save the picture again")
