"""What a picture can be told by later: the sha256 of the bytes that it came as."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fingerprint:
    """The sha256 of a picture as it was given.

    Attributes:
        sha256: hexadecimal.
        of: `file` and `bytes` are those as they were given; of an `array` they are its values in row-major
            order; `pixels` are those of a Pillow image, as an array, upright and in RGB.
        dtype: of an array or pixels, as NumPy writes it, with the order of bytes: `|u1`, `<u2`.
        shape: likewise; empty for files and bytes.
    """

    sha256: str
    of: str
    dtype: str = ""
    shape: tuple[int, ...] = ()


def of_bytes(data: bytes | bytearray | memoryview, of: str = "bytes") -> Fingerprint:
    """The fingerprint of an encoded picture."""
    return Fingerprint(hashlib.sha256(data).hexdigest(), of)


def of_array(array: np.ndarray, of: str = "array") -> Fingerprint:
    """The fingerprint of a picture's values."""
    plain = np.ascontiguousarray(array)
    return Fingerprint(hashlib.sha256(plain.data).hexdigest(), of, plain.dtype.str, plain.shape)
