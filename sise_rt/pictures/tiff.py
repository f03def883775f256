"""TIFF: what Pillow would mistake, by tifffile; and what neither reads rightly, refused by name."""

from __future__ import annotations

import logging
import math
import zlib
from typing import Any, BinaryIO

import numpy as np

from sise_rt.cautions import Caution
from sise_rt.errors import ImageError
from sise_rt.wording import counted

from .arrays import SEE_THROUGH
from .raster import Raster, full_scale, require_size, turned
from .tiff_page import DEFLATE, PLAIN, WHITE_IS_ZERO, Page

for library in ("PIL", "tifffile"):
    logging.getLogger(library).addHandler(logging.NullHandler())  # their complaints are no output of ours


def read_pages(stream: BinaryIO, page: Page, channels: int, max_pixels: int) -> Raster:
    """Read a TIFF by tifffile: 16 bits, planes, white-is-zero, and as many channels as the model takes.

    Raises:
        ImageError: its channels are not those of the model, or it cannot be decoded.
    """
    import tifffile

    require_size(page.width, page.height * -(-page.samples // max(channels, 4)), max_pixels)
    stream.seek(0)
    with tifffile.TiffFile(
        stream, _multifile=False
    ) as file:  # other files, though it may name some, stay closed
        pages, notes = _chosen(file, page, channels)
        pages = [each.aspage() for each in pages]
        require_size(page.width, page.height * -(-len(pages) // max(channels, 4)), max_pixels)
        pixels = np.concatenate([_samples(each, page, stream) for each in pages], axis=2)
    largest = int(pixels.max())
    declared = page.declared(largest)
    if page.photometric == WHITE_IS_ZERO:
        pixels = full_scale(declared or page.bits) - pixels
    if channels in (1, 3) and pixels.shape[2] - page.extra in (1, 3):
        if page.alpha and pixels[..., -1].min() < full_scale(page.bits):
            notes += (SEE_THROUGH,)
        pixels = pixels[..., : pixels.shape[2] - page.extra]
        if pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] != (3 if channels == 1 else channels):
        raise ImageError(
            f"has {counted(pixels.shape[2], 'channel')}, and the model takes {channels}: give it those"
        )
    fewer_bits = page.photometric == WHITE_IS_ZERO and declared is None and largest <= full_scale(15)
    return Raster(turned(pixels, page.orientation), declared, notes, fewer_bits)


def _chosen(file: Any, page: Page, channels: int) -> tuple[list[Any], tuple[Caution, ...]]:
    """The pages that hold the picture's channels, and what is to be said of others."""
    if page.pages < 2 or page.samples > 1:
        return [file.pages[page.place]], page.of_pages(1) if page.samples == channels else page.notes
    axes, shape = "", tuple[int, ...]()
    if page.described:
        axes, shape = file.series[0].axes, file.series[0].shape
    lengths = {axis: length for axis, length in zip(axes, shape, strict=True) if length > 1}
    if lengths.get("C", 1) > 1:
        count = lengths["C"]
        if not axes.endswith("CYX") or count > page.pages:
            raise ImageError(f"a TIFF of axes {axes} cannot be read: save one picture with its channels last")
        return [file.pages[page.place + index] for index in range(count)], page.of_pages(count)
    if channels not in (1, 3) and page.pages == channels and not page.rest:
        pages = [file.pages[page.place + index] for index in range(channels)]
        text = f"its {channels} pages are taken as the {channels} channels"
        return pages, (Caution("pages-as-channels", text),)
    return [file.pages[page.place]], page.notes


def _samples(page: Any, first: Page, stream: BinaryIO) -> np.ndarray:
    """A page's samples, (H, W, samples)."""
    shape = (page.imagelength, page.imagewidth, page.samplesperpixel, page.bitspersample, page.sampleformat)
    if shape[:4] != (first.height, first.width, first.samples, first.bits) or shape[4] not in (1, 4):
        raise ImageError("a TIFF whose pages differ cannot be read as one picture: save it as one page")
    if page.compression in DEFLATE:
        _require_inflatable(page, stream)
    elif page.compression != PLAIN:
        raise ImageError("a TIFF whose pages differ cannot be read as one picture: save it as one page")
    pixels = page.asarray(maxworkers=1)
    if pixels.dtype != (np.uint8 if first.bits == 8 else np.uint16):
        raise ImageError(f"this TIFF holds {pixels.dtype}: save the picture with 8 or 16 bits, unsigned")
    axes = [axis for axis in page.axes if axis in "SYX"]
    pixels = pixels.reshape([pixels.shape[i] for i, axis in enumerate(page.axes) if axis in "SYX"])
    if axes == ["S", "Y", "X"]:
        pixels = np.moveaxis(pixels, 0, 2)
    return pixels.reshape(first.height, first.width, -1)


def _require_inflatable(page: Any, stream: BinaryIO) -> None:
    """Refuse strips that inflate to more than their size, as tifffile would take memory for all of it."""
    expected = math.prod(page.chunks) * page.dtype.itemsize
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        stream.seek(offset)
        inflated = zlib.decompressobj().decompress(stream.read(length), expected + 1)
        if len(inflated) > expected:
            raise ImageError("a part of this TIFF inflates to more than its size: save the picture again")
