"""The pictures of a page, in the sizes that it shows them in; their words stand beside them, in the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from sise_rt.captions import NOTHING, strongest
from sise_rt.drawing.drawn import importance, paint
from sise_rt.drawing.palettes import INFERNO
from sise_rt.drawing.sizes import fit_picture
from sise_rt.pictures.placement import Placement
from sise_rt.pictures.regions import LEVEL, region_of

from .sentences import share

if TYPE_CHECKING:
    from sise_rt.explanation import Explanation

SIDE = 900  # pixels of the long side of picture and overlay
WIDE_SIDE = 1600  # of those that have the page's whole width
TILE = 260  # of a block's map
JPEG = cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444


@dataclass(frozen=True)
class Figures:
    """What a page shows, as JPEG files: a page is mailed, and a tenth of the size of PNG.

    Attributes:
        picture: as it was explained.
        overlay: the map over it.
        blocks: the map of each block over it, by the block's name; None where it has no usable one.
        scale: the map's colours from 0 to 1.
        aspect: the picture's width by its height.
        where: in words where the map is highest, and how much of what the model saw the line goes around.
    """

    picture: bytes
    overlay: bytes
    blocks: tuple[tuple[str, bytes | None], ...]
    scale: bytes
    aspect: float
    where: str


def draw(explanation: Explanation, pixels: np.ndarray, *, wide: float) -> Figures:
    """Draw the figures of an explanation.

    Args:
        explanation: what is shown.
        pixels: of its picture, uint8 RGB (H, W, 3).
        wide: the aspect from which on the page gives a picture its whole width.
    """
    height, width = pixels.shape[:2]
    side = WIDE_SIDE if width >= wide * height else SIDE
    large, small = (fit_picture(pixels, _size(height, width, length)) for length in (side, TILE))
    blocks = [
        (
            block.name,
            None if block.visualization is None else _covered(explanation, block.visualization, small),
        )
        for block in explanation.blocks
    ]
    return Figures(
        picture=_jpeg(large),
        overlay=_covered(explanation, explanation.map, large),
        blocks=tuple(blocks),
        scale=_jpeg(np.tile(importance(INFERNO).ramp, (12, 1, 1))),
        aspect=width / height,
        where=where(explanation.map, explanation.placement),
    )


def where(map_: np.ndarray, placement: Placement) -> str:
    """In words in which ninth of the picture a map is highest, and how much the line goes around."""
    place = strongest(map_, placement)
    if place is None:
        return NOTHING
    part = share(float(region_of(map_).mean()))
    return f"What mattered most is {place}; the line goes around {part} of what the model saw."


def _size(height: int, width: int, side: int) -> tuple[int, int]:
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _covered(explanation: Explanation, map_: np.ndarray, picture: np.ndarray) -> bytes:
    """A map over the model's input on the picture as it is drawn, as JPEG."""
    size = picture.shape[0], picture.shape[1]
    return _jpeg(paint(picture, map_, explanation.placement, size, outline=LEVEL)[0])


def _jpeg(rgb: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".jpg", rgb[..., ::-1], JPEG)[1])
