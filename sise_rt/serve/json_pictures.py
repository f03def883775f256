"""Pictures inside of JSON: encoded ones in base64, and arrays as nested lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import msgspec
import numpy as np

from sise_rt.wording import counted

from .bodies import decode_json
from .refusals import Refused

MOST_LISTS = 1_100_000  # of an array, which has one a pixel
MOST_NUMBERS = 3 * MOST_LISTS  # reading them takes some 0.2 seconds, in which nothing else is answered
LEVELS = {
    np.uint8: Annotated[int, msgspec.Meta(ge=0, le=255)],
    np.uint16: Annotated[int, msgspec.Meta(ge=0, le=65535)],
}
EIGHT = 8  # bits
FORMS = 'base64, {"b64": base64}, or an array of numbers'

Source = Callable[[], bytes | np.ndarray]
"""Gives a picture as it was encoded, or an array (H, W) or (H, W, C); raises `Refused` where it is none."""


def find_picture(value: msgspec.Raw, field: str, bit_depth: Any) -> tuple[str, Source]:
    """Where a picture stands, and what decodes it when its turn comes.

    Args:
        value: JSON: a text in base64, an object that has one as `b64`, or nested lists.
        field: that it is the value of.
        bit_depth: of an array's numbers; above 8, or as text, they may be up to 65535.

    Returns:
        The field of the picture itself, and the source.

    Raises:
        Refused: it is nothing of these.
    """
    text = bytes(value).lstrip()
    if text.startswith(b'"'):
        return field, partial(_encoded, value, field)
    if text.startswith(b"["):
        deep = str(bit_depth or EIGHT) != str(EIGHT)
        return field, partial(read_array, value, np.uint16 if deep else np.uint8, field)
    if text.startswith(b"{"):
        within = decode_json(value, dict[str, msgspec.Raw], field)
        if list(within) == ["b64"]:
            return f"{field}.b64", partial(_encoded, within["b64"], f"{field}.b64")
    raise Refused(400, f"{field} is no picture: send {FORMS}", field)


def _encoded(value: msgspec.Raw, field: str) -> bytes:
    return read_base64(decode_json(value, str, field), field)


def read_base64(text: str, field: str) -> bytes:
    """What a text in base64 stands for.

    Raises:
        Refused: it is none, or empty.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400, f"{field} is no base64: {error}", field) from error
    if not content:
        raise Refused(400, f"{field} is empty", field)
    return content


def read_array(value: msgspec.Raw, dtype: type[np.uint8] | type[np.uint16], field: str) -> np.ndarray:
    """Nested lists of whole numbers as an array of two or three dimensions.

    Raises:
        Refused: they are too many, lists of one depth differ in their lengths, or a number is out of range.
    """
    array = read_numbers(value, dtype, field)
    if array.ndim not in (2, 3) or not array.size:
        shape = f"has {counted(array.ndim, 'dimension')}" if array.size else "is empty"
        raise Refused(400, f"{field} {shape}: a picture is (H, W), or (H, W, C) as RGB", field)
    return array


def read_numbers(value: msgspec.Raw, dtype: type[np.uint8] | type[np.uint16], field: str) -> np.ndarray:
    """Nested lists of whole numbers as an array of as many dimensions.

    Raises:
        Refused: as `read_array`, but for the number of dimensions.
    """
    text = bytes(value)
    for most, of, sign in ((MOST_LISTS, "lists", b"["), (MOST_NUMBERS, "numbers", b",")):
        if text.count(sign) > most:
            raise Refused(413, f"{field} has more than {most:,} {of}: send it encoded, as PNG", field)
    depth = _leading(text)
    if not depth:
        raise Refused(400, f"{field} is no array", field)
    try:
        return _nested(value, depth, dtype, field)
    except ValueError as error:
        raise Refused(400, f"{field} has lists of different lengths", field) from error


def _nested(
    value: msgspec.Raw, depth: int, dtype: type[np.uint8] | type[np.uint16], field: str
) -> np.ndarray:
    """Lists of some depth, one row of pixels at a time, so that other threads get their turn between two.

    Raises:
        ValueError: lists of one depth differ in their lengths.
        Refused: something is no number in range.
    """
    if depth > 2:
        rows = decode_json(value, list[msgspec.Raw], field)
        parts = [_nested(row, depth - 1, dtype, f"{field}[{place}]") for place, row in enumerate(rows)]
        return np.stack(parts)
    kind: Any = LEVELS[dtype]
    for _ in range(depth):
        kind = list[kind]
    return np.array(decode_json(value, kind, field), dtype)


def _leading(text: bytes) -> int:
    """How many lists begin where a text begins."""
    bare = text[:1000].translate(None, b" \t\r\n")
    return len(bare) - len(bare.lstrip(b"["))
