"""What the overview shows of an explanation: a small picture, the map over it, and the map in few values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sise_rt.drawing.drawn import paint
from sise_rt.drawing.painting import in_levels
from sise_rt.drawing.sizes import fit_picture
from sise_rt.errors import NoEvidence
from sise_rt.explanation import Explanation
from sise_rt.pictures.picture import Picture, in_rgb
from sise_rt.pictures.regions import LEVEL
from sise_rt.pictures.resizing import resize_map

SIDE = 192  # pixels of the long side: two fit side by side on a phone
CELLS = 28  # of a map's height and width that are kept for the mean of a class
FORM = "webp"  # half the size of JPEG
QUALITY = cv2.IMWRITE_WEBP_QUALITY, 75


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """What is kept of an explanation, or of a picture that has none.

    Attributes:
        size: (width, height) in pixels, of both drawings.
        picture: as it was explained, as WebP.
        overlay: the map over it, likewise; None where there is no map.
        map: uint8 (CELLS, CELLS) over the model's input, 255 where the map is 1; None likewise.
    """

    size: tuple[int, int]
    picture: bytes
    overlay: bytes | None = None
    map: np.ndarray | None = None


def thumbnails(picture: Picture, parts: Sequence[Explanation | NoEvidence] = ()) -> list[Thumbnail]:
    """Those of an item: one for each of its explanations, or one of the picture where it has none.

    Args:
        picture: the item's.
        parts: its explanations, in the order of its lines in the results, or why there is none.
    """
    pixels = in_rgb(picture.pixels)
    height, width = pixels.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = fit_picture(pixels, size)
    bare = Thumbnail(size[::-1], _encoded(small))
    return [_of(part, bare, small) for part in parts] or [bare]


def _of(part: Explanation | NoEvidence, bare: Thumbnail, small: np.ndarray) -> Thumbnail:
    """The thumbnail of one explanation, by that of its picture and its pixels."""
    if isinstance(part, NoEvidence):
        return bare
    size = small.shape[0], small.shape[1]
    overlay = _encoded(paint(small, part.map, part.placement, size, outline=LEVEL)[0])
    few = in_levels(np.clip(resize_map(part.map, (CELLS, CELLS)), 0, 1))
    return Thumbnail(bare.size, bare.picture, overlay, few)


def _encoded(rgb: np.ndarray) -> bytes:
    return bytes(cv2.imencode(f".{FORM}", rgb[..., ::-1], QUALITY)[1])
