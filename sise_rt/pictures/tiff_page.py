"""The directories of a TIFF, read before either decoder sees the file: what its picture is, and how large."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from sise_rt.cautions import Caution
from sise_rt.errors import ImageError
from sise_rt.wording import counted

from .raster import full_scale, require_size

MOST_PAGES, MOST_TAGS = 1000, 1000
LARGEST_TAG = 2**24  # bytes
# Of a value, by its bytes.
TYPES = {1: (1, 2, 6, 7), 2: (3, 8), 4: (4, 9, 11, 13), 8: (5, 10, 12, 16, 17, 18)}
SIZES = {kind: size for size, kinds in TYPES.items() for kind in kinds}
UNSIGNED = {1: "B", 3: "H", 4: "I", 16: "Q"}
WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
ORIENTATION, SAMPLES, PLANAR, TILE_WIDTH, TILE_HEIGHT, EXTRA, FORMAT = 274, 277, 284, 322, 323, 338, 339
STRIP_BYTES, TILE_BYTES, SUBFILE, LARGEST_VALUES = 279, 325, 254, (281, 341)
WANTED = (
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, TILE_WIDTH, TILE_HEIGHT),
    *(EXTRA, FORMAT, STRIP_BYTES, TILE_BYTES, SUBFILE, *LARGEST_VALUES),
)
DEFAULTS = {BITS: (1,), COMPRESSION: (1,), ORIENTATION: (1,), SAMPLES: (1,), PLANAR: (1,), PHOTOMETRIC: (1,)}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # samples, by photometric
COLOUR_SPACES = {
    3: "a palette",
    4: "a transparency mask",
    5: "CMYK or other inks",
    6: "YCbCr",
    8: "CIELAB",
    9: "ICCLAB",
    10: "ITULAB",
    32803: "CFA, a camera's raw mosaic",
    32844: "LogL",
    32845: "LogLuv",
    34892: "LinearRaw, a camera's own colours",
}
PLAIN, DEFLATE = 1, (8, 32946)
METHODS = {5: "LZW", 32773: "PackBits", 50000: "Zstd"}
METHODS |= dict.fromkeys((2, 3, 4), "CCITT") | dict.fromkeys((6, 7), "JPEG")
ALPHA = (1, 2)  # of EXTRA
REDUCED = 1  # of SUBFILE: a preview of another page


@dataclass(frozen=True)
class Page:
    """What a TIFF says of its picture: of the first page that is no preview, or of the preview if all are.

    Attributes:
        place: of the page in the file, from 0.
        preview: whether it is a smaller copy of a picture that is no page of the file.
        largest: the values that the file gives for the largest one of each sample; few writers do.
        beyond_pillow: whether the file is a BigTIFF of big-endian bytes, which Pillow takes for another.
        width: in pixels.
        height: in pixels.
        bits: of a sample.
        samples: of a pixel, extra ones included.
        extra: how many of the samples are alpha, or follow colours and are none.
        alpha: whether that is alpha.
        photometric: the file's number for what the samples mean.
        compression: the file's number for it.
        planar: whether each sample has a plane of its own.
        orientation: as EXIF counts it.
        pages: how many the file has, previews aside, at most MOST_PAGES.
        previews: how many more are previews, where a page is none.
        rest: whether there are more.
        described: whether a text says more of it than the tags.
    """

    width: int
    height: int
    bits: int
    samples: int
    extra: int
    alpha: bool
    photometric: int
    compression: int
    planar: bool
    orientation: int
    pages: int
    rest: bool
    described: bool
    place: int = 0
    preview: bool = False
    previews: int = 0
    largest: tuple[int, ...] = ()
    beyond_pillow: bool = False

    def declared(self, brightest: int) -> int | None:
        """The bits of the full scale, as far as the file says them of a picture with such a value."""
        if self.bits <= 8:
            return 8
        if self.bits < 16:
            return self.bits
        stated = {value: value.bit_length() for value in self.largest}
        bits = max(stated.values(), default=16)
        whole = len(stated) == 1 and full_scale(bits) in stated  # others are statistics of the pixels
        return bits if whole and 8 <= bits < 16 and brightest <= full_scale(bits) else None

    @property
    def notes(self) -> tuple[Caution, ...]:
        """What is left out if the colours of the first page are read."""
        if not self.extra or self.alpha:
            return self.of_pages(1)
        return (Caution("channel-ignored", "a channel beyond the colours is left out"), *self.of_pages(1))

    def of_pages(self, read: int) -> tuple[Caution, ...]:
        """What is left out if some pages are read."""
        if self.preview:
            text = "what is read is a preview of reduced size: the file's pages hold no other picture"
            return (Caution("preview", text),)
        if self.pages <= read:
            return ()
        first, verb = ("the first", "is") if read == 1 else (f"the first {read}", "are")
        more, kind = "more than " if self.rest else "", " that are no previews" if self.previews else ""
        return (Caution("pages-ignored", f"{first} of {more}{self.pages} pages{kind} {verb} read"),)

    @property
    def by_tifffile(self) -> bool:
        """Whether tifffile can decompress it without further libraries."""
        return self.compression in (PLAIN, *DEFLATE)

    def is_pillows(self, channels: int) -> bool:
        """Whether Pillow reads it rightly, for a model of so many channels.

        Raises:
            ImageError: it does not, and the compression leaves no other way.
        """
        colour = self.samples - self.extra == COLOURS.get(self.photometric) and self.extra <= 1
        plain = self.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB)
        stacked = plain and self.pages > 1 and self.samples == 1
        stacked = stacked and (self.described or channels == self.pages)
        as_they_are = channels not in (1, 3) and self.samples == channels
        if not colour or stacked or as_they_are:
            pillows = False
        elif self.bits <= 8 or not plain:
            pillows = self.bits in (1, 2, 4, 8)
        elif self.bits == 16:
            pillows = not self.by_tifffile and not self.planar and self.photometric != WHITE_IS_ZERO
        else:
            pillows = self.bits == 12 and self.photometric == BLACK_IS_ZERO
        others = self.by_tifffile and self.bits in (8, 16) and (plain or as_they_are)
        if self.beyond_pillow:
            pillows = False
            others = others and plain
        if not pillows and not others:
            raise self._unread(plain)
        return pillows

    def _unread(self, plain: bool) -> ImageError:
        """That no decoder reads it rightly, and what would help; plain colours need another packing alone."""
        method = METHODS.get(self.compression, f"compression {self.compression}")
        packed = "" if self.compression == PLAIN else f", packed by {method}"
        order = ", in a BigTIFF of big-endian bytes" if self.beyond_pillow else ""
        meaning = f"photometric {self.photometric}"
        if not plain:
            meaning += f" ({COLOUR_SPACES.get(self.photometric, 'an unknown colour space')})"
        return ImageError(
            f"a TIFF of {counted(self.samples, 'sample')} of {self.bits} bits"
            f"{' in planes' if self.planar and self.samples > 1 else ''}, {meaning}"
            f"{packed}{order}, cannot be read rightly: save it "
            f"{'uncompressed, or as PNG or .npy' if plain else 'as RGB'}"
        )


def first_page(stream: BinaryIO, max_pixels: int) -> Page:
    """Read the directories of a TIFF; nothing is decoded.

    Raises:
        ImageError: it is broken or too large, or its values are no unsigned integers.
    """
    try:
        tags, described, pages, previews, rest, place = _directories(stream)
        width, height = tags[WIDTH][0], tags[HEIGHT][0]
    except (struct.error, KeyError, IndexError, ValueError, OverflowError) as error:
        raise ImageError(f"this TIFF cannot be decoded: {_broken(error)}: save or copy it again") from error
    require_size(width, height, max_pixels)
    tile_width, tile_height = (tags.get(key, (1,))[0] for key in (TILE_WIDTH, TILE_HEIGHT))
    require_size(tile_width, tile_height, max(max_pixels, 2**22))
    kinds = set(tags.get(FORMAT, (1,)))
    if kinds - {1, 4}:
        names = {2: "signed", 3: "float", 5: "complex", 6: "complex"}
        kind = names.get(max(kinds - {1, 4}), "unknown")
        raise ImageError(f"{kind} pixels have no known range: save the picture with 8 or 16 bits, unsigned")
    bits, extra = set(tags[BITS]), tags.get(EXTRA, ())
    if tags[PHOTOMETRIC][0] in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        extra = tuple(kind for kind in extra if kind)  # of grey, unspecified ones are channels
    if len(bits) > 1:
        raise ImageError(f"samples of different bits ({tags[BITS]}) cannot be read: save the picture as PNG")
    if max(bits) > 16:
        raise ImageError(f"{max(bits)}-bit pixels have no known range: save the picture with 8 or 16 bits")
    packed = sum(tags.get(STRIP_BYTES, ())) + sum(tags.get(TILE_BYTES, ()))
    if tags[COMPRESSION][0] != PLAIN and packed > 2 * stream.seek(0, os.SEEK_END):
        raise ImageError(f"a TIFF that refers to {packed:,} bytes of itself is broken: save it again")
    return Page(
        width=width,
        height=height,
        bits=max(bits),
        samples=tags[SAMPLES][0],
        extra=len(extra),
        alpha=bool(extra) and extra[0] in ALPHA,
        photometric=tags[PHOTOMETRIC][0],
        compression=tags[COMPRESSION][0],
        planar=tags[PLANAR][0] == 2,
        orientation=tags[ORIENTATION][0],
        pages=pages,
        rest=rest,
        described=described,
        place=place,
        preview=_is_preview(tags),
        previews=previews,
        largest=next((tags[key] for key in LARGEST_VALUES if key in tags), ()),
        beyond_pillow=_begins(stream, b"MM\0+"),
    )


def _begins(stream: BinaryIO, magic: bytes) -> bool:
    stream.seek(0)
    return stream.read(len(magic)) == magic


def _is_preview(tags: dict[int, tuple[int, ...]]) -> bool:
    return bool(tags.get(SUBFILE, (0,))[0] & REDUCED)


def _broken(error: Exception) -> str:
    return "its directory is cut short or broken" if not isinstance(error, ValueError) else str(error)


def _directories(stream: BinaryIO) -> tuple[dict[int, tuple[int, ...]], bool, int, int, bool, int]:
    """The directory of the picture, and where it stands among all.

    Returns:
        The tags of the first page that is no preview (else of the first), whether it has a text, how many
        pages there are that are no previews, how many previews, whether there are more, and how many stand
        before this one.
    """
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", head, 2)[0] == 43
    at = struct.unpack_from(f"{order}Q" if big else f"{order}I", head, 8 if big else 4)[0]
    first, described, place, seen = dict[int, tuple[int, ...]](), False, 0, set[int]()
    pages = previews = 0
    while at and at not in seen and pages < MOST_PAGES and len(seen) < 2 * MOST_PAGES:
        seen.add(at)
        try:
            tags, text, at = _directory(stream, at, order, big)
        except struct.error:
            if not first:
                raise
            break  # the first page is there all the same
        if not first or (not pages and not _is_preview(tags)):
            first, described, place = tags, text, len(seen) - 1
        pages += not _is_preview(tags)
        previews += _is_preview(tags)
    return DEFAULTS | first, described, max(pages, 1), previews, bool(at) and at not in seen, place


def _directory(
    stream: BinaryIO, at: int, order: str, big: bool
) -> tuple[dict[int, tuple[int, ...]], bool, int]:
    """Tags of integers, whether there is a text that says more, and where the next directory lies."""
    counts, entry, offset = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    stream.seek(at)
    (count,) = struct.unpack(order + counts, stream.read(struct.calcsize(order + counts)))
    if not 1 <= count <= MOST_TAGS:
        raise ValueError(f"a directory of {count:,} tags")
    size = struct.calcsize(order + entry)
    block = stream.read(count * size)
    following = stream.read(struct.calcsize(order + offset))
    tags: dict[int, tuple[int, ...]] = {}
    described = False
    for index in range(count):
        tag, kind, number, value = struct.unpack_from(order + entry, block, index * size)
        length = number * SIZES.get(kind, 1)
        if length > LARGEST_TAG:
            raise ValueError(f"a tag of {length:,} bytes")
        if tag not in (*WANTED, DESCRIPTION):
            continue
        if length > len(value):
            stream.seek(struct.unpack(order + offset, value)[0])
            value = stream.read(length)
        if tag == DESCRIPTION:
            described |= value.startswith((b"ImageJ=", b'{"shape"')) or b"<OME" in value[:2048]
        elif kind in UNSIGNED and number:
            tags[tag] = struct.unpack_from(f"{order}{number}{UNSIGNED[kind]}", value)
    return tags, described, struct.unpack(order + offset, following)[0] if following else 0
