"""PNG files, whole or not at all."""

from __future__ import annotations

import os

import cv2
import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.files import write_whole


def encode_png(pixels: np.ndarray) -> bytes:
    """A picture as PNG.

    Args:
        pixels: uint8 (H, W, 3) RGB, or (H, W, 4) RGBA.

    Raises:
        ArgumentError: they are no picture.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.size == 0:
        raise ArgumentError(
            f"a picture is uint8 RGB (H, W, 3) or RGBA (H, W, 4), not {pixels.dtype} {pixels.shape}"
        )
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    _, data = cv2.imencode(".png", cv2.cvtColor(np.ascontiguousarray(pixels), order))
    return data.tobytes()


def save_png(path: str | os.PathLike[str], pixels: np.ndarray) -> None:
    """Write a picture as PNG; the file is either there and whole, or as it was before.

    Args:
        path: where to; its folder exists.
        pixels: as for `encode_png`.

    Raises:
        OutputError: the file cannot be written.
        ArgumentError: `pixels` are no picture.
    """
    write_whole(path, encode_png(pixels))
