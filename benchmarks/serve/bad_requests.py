"""What clients do wrong, and the status, the field and some words of the answer that each has to get."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

MAX_BODY, MAX_PIXELS = 100_000, 10_000  # of the server that these are for


def encoded(pixels: np.ndarray, form: str) -> bytes:
    """A picture in a format of Pillow's."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def array(values: np.ndarray) -> bytes:
    """An array in NumPy's format."""
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _claiming(shape: tuple[int, ...]) -> bytes:
    """A file of NumPy's that says it is huge."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
PART = b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
FILE = b'; filename="a"'
JPEG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "JPEG")

Case = tuple[bytes, dict[str, str], int, str, str]
BODIES: dict[str, Case] = {
    "nothing": (b"", {}, 400, "image", "no body"),
    "text": (b"hello", {}, 400, "image", "no picture"),
    "JSON": (b'{"image": "x"}', {}, 400, "image", "no picture"),
    "deep JSON": (b"[" * 10_000, {"Content-Type": "application/json"}, 400, "image", "no picture"),
    "a path": (b"/etc/passwd", {}, 400, "image", "no picture"),
    "an address": (b"http://localhost/cat.png", {}, 400, "image", "no picture"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], {}, 400, "image", "cannot be decoded"),
    "a bomb": (_bomb(), {}, 413, "image", "30000"),
    "NaN": (array(np.full((8, 8, 3), np.nan)), {}, 400, "image", "float64"),
    "a wrong shape": (array(np.zeros((2, 8, 8, 3), np.uint8)), {}, 400, "image", "(2, 8, 8, 3)"),
    "wrong channels": (array(np.zeros((8, 8, 7), np.uint8)), {}, 400, "image", "3 channels"),
    "a huge array": (_claiming((100_000, 100_000, 3)), {}, 413, "image", "100000"),
    "an array that is cut": (array(np.zeros((50, 50, 3), np.uint8))[:-1], {}, 400, "image", "bytes"),
    "a form without a picture": (PART % (b"a", b"", b"b") + b"--edge--", FORM, 400, "image", "no file"),
    "a form with text": (PART % (b"image", b"", b"b") + b"--edge--", FORM, 400, "image", "no file"),
    "a form with an empty file": (PART % (b"image", FILE, b"") + b"--edge--", FORM, 400, "image", "empty"),
    "two pictures": (PART % (b"image", FILE, JPEG) * 2 + b"--edge--", FORM, 400, "image", "many files"),
    "many fields": (PART % (b"a", b"", b"b") * 50 + b"--edge--", FORM, 400, "image", "many fields"),
    "a field twice": (PART % (b"mu", b"", b"0") * 2 + b"--edge--", FORM, 400, "mu", "twice"),
    "a form that is none": (b"hello", FORM, 400, "image", "form"),
    "no boundary": (b"hello", {"Content-Type": "multipart/form-data"}, 400, "image", "boundary"),
    "a body that is too large": (bytes(MAX_BODY + 1), {}, 413, "image", "100 kB"),
}
"""Bodies that are no picture, each with its headers."""

QUERIES: dict[str, tuple[int, str, str]] = {
    "model=none": (404, "model", "small"),
    "target=zebra": (400, "target", "zebra"),
    "target=77": (400, "target", "0 to 4"),
    "target=index:x": (400, "target", "index"),
    "method=magic": (400, "method", "rise"),
    "method=sise:mu=7": (400, "method", "0 <= mu < 1"),
    "method=": (400, "method", "rise"),
    "preset=best": (400, "preset", "fast"),
    "preset=fast%26budget=1": (400, "preset", "fast"),
    "preset=fast&budget=0.5": (400, "preset", "budget"),
    "nonsense=1": (400, "nonsense", "no option"),
    "masks=10": (400, "masks", "no option"),
    "mu=7": (400, "mu", "0 <= mu < 1"),
    "mu=nan": (400, "mu", "nan"),
    "mu=a": (400, "mu", "'a'"),
    "mu=0&mu=0": (400, "mu", "twice"),
    "budget=0": (400, "budget", "0 < budget"),
    "max_passes=1.5": (400, "max_passes", "int"),
    "max_passes=" + "9" * 5000: (400, "max_passes", ""),
    "max_seconds=0": (400, "max_seconds", "0 < max_seconds"),
    "max_seconds=inf": (400, "max_seconds", "0 < max_seconds"),
    "max_seconds=nan": (400, "max_seconds", "nan"),
    "max_seconds=x": (400, "max_seconds", "'x'"),
    "check=maybe": (400, "check", "region"),
    "palette=jet": (400, "palette", "inferno"),
    "bit_depth=7": (400, "bit_depth", "8 to 16"),
    "format=gif": (400, "format", "npy"),
    "scores=luck": (400, "scores", "log-odds"),
}
"""Queries that ask for what there is not, of a model with the classes a to e."""
