"""What a file may cost, found out before anything of it is decoded."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

from sise_rt.errors import ImageError

from .raster import require_size

# Pillow reads files of these formats whole; JPEG is read whole to count its scans.
WHOLE = ("JPEG", "WEBP", "AVIF", "JPEG2000")
LARGEST_FILE = 2**29
MOST_SCANS = 100  # a progressive JPEG has some ten, each of which passes over all pixels
MANY_SCANS = 20
# Behind the bytes of a scan: any marker but a stuffed zero, a restart, or a filling FF.
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_PILLOWS_LIMIT = threading.Lock()


def require_bounded(form: str, stream: BinaryIO, max_pixels: int) -> None:
    """Refuse a file whose header, or whose own size, says that it would take too much.

    Args:
        form: one of `sise_rt.pictures.decoding.FORMATS`.
        stream: of the file, at any position.
        max_pixels: larger pictures are refused.

    Raises:
        ImageError: says why.
    """
    size = stream.seek(0, os.SEEK_END)
    if form in WHOLE and size > LARGEST_FILE:
        raise ImageError(f"a {form} file of {size:,} bytes is too large: save the picture anew")
    if canvas := canvas_of(form, stream):
        require_size(*canvas, max_pixels)
    if form == "JPEG":
        stream.seek(0)
        scans, pixels = _scans(stream.read())
        if scans > MOST_SCANS or (scans > MANY_SCANS and scans * pixels > MANY_SCANS * max_pixels):
            raise ImageError(f"a JPEG of {scans} scans takes too long to decode: save the picture anew")


def canvas_of(form: str, stream: BinaryIO) -> tuple[int, int] | None:
    """(width, height) by the header, of formats whose decoders take memory when they are made."""
    stream.seek(0)
    head = stream.read(30)
    if form == "GIF":
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if form != "WEBP":
        return None
    kind = head[12:16]
    if kind == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if kind == b"VP8L":
        packed = int.from_bytes(head[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _scans(data: bytes) -> tuple[int, int]:
    """The scans of a JPEG up to its end, and its pixels."""
    scans, pixels, at = 0, 0, 2
    while marker := MARKER.search(data, at):
        kind, at = data[marker.end() - 1], marker.end()
        if kind == 0xD9:  # behind it lie thumbnails, films and other things that are no part of it
            break
        length = int.from_bytes(data[at : at + 2], "big")
        if kind in (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA):
            height, width = (int.from_bytes(data[at + 3 + i : at + 5 + i], "big") for i in (0, 2))
            pixels = height * width
        scans += kind == 0xDA
        at += length
    return scans, pixels


@contextmanager
def without_pillows_limit(pixels: int) -> Iterator[None]:
    """Let Pillow decode a picture that is within our limit and beyond its own.

    Some of its decoders look at a setting of the whole process. It is changed only for a picture that needs
    it, for as long as that takes.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or pixels <= limit:
        yield
        return
    with _PILLOWS_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
