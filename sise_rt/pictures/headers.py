"""How many bits a colour has in JPEG 2000 and AVIF, whose decoders do not tell."""

from __future__ import annotations

import re
from typing import BinaryIO

CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000 (ISO/IEC 15444-1, A.5.1): it starts with its sizes
COMPONENTS = 40  # bytes behind that, how many there are, and then three bytes for each
AV1_CONFIGURATION = re.compile(rb"av1C\x81.(.)", re.DOTALL)  # AV1-ISOBMFF 2.3.3; one for each image item
HIGH, TWELVE = 0x40, 0x20
AVIF_HEAD = 1 << 16  # bytes, which have all that is no picture


def bits_of(form: str, stream: BinaryIO) -> int:
    """The bits of the deepest colour by a file's header, 8 of other formats and where none is found.

    Args:
        form: one of `sise_rt.pictures.decoding.FORMATS`.
        stream: of the file, at any position.
    """
    if form not in ("JPEG2000", "AVIF"):
        return 8
    stream.seek(0)
    return _jpeg_2000(stream.read()) if form == "JPEG2000" else _avif(stream.read(AVIF_HEAD))


def _jpeg_2000(data: bytes) -> int:
    start = data.find(CODESTREAM)
    if start < 0:
        return 8
    count = int.from_bytes(data[start + COMPONENTS : start + COMPONENTS + 2], "big")
    depths = data[start + COMPONENTS + 2 : start + COMPONENTS + 2 + 3 * count : 3]
    return max([8, *((depth & 0x7F) + 1 for depth in depths)])


def _avif(head: bytes) -> int:
    flags = [match[1][0] for match in AV1_CONFIGURATION.finditer(head)]
    return max([8, *((12 if flag & TWELVE else 10) for flag in flags if flag & HIGH)])
