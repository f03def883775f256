"""The mean map of a class: where the model looks, over all pictures in which the class was explained.

A pit lies anywhere, and its maps even out; a watermark, a label or a clamp lies where it always lies, and
stays.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sise_rt.drawing.drawn import MIDDLE_GREY
from sise_rt.drawing.painting import DRAWN, overlay
from sise_rt.drawing.png import encode_png
from sise_rt.pictures.resizing import resize_map

from .thumbnails import CELLS

TILE = 4 * CELLS  # pixels of a drawn mean map's long side


@dataclass(frozen=True, eq=False)
class MeanMap:
    """The mean of some maps.

    Attributes:
        target: the class that they explain, by its name.
        method: that made them.
        count: how many they are.
        values: float32 (CELLS, CELLS) in [0, 1], over the model's input.
    """

    target: str
    method: str
    count: int
    values: np.ndarray = field(repr=False)


class MeanMaps:
    """The sums of a run's maps, by class and method."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], tuple[int, np.ndarray]] = {}

    def add(self, target: str, method: str, map_: np.ndarray) -> None:
        """Add a map, uint8 (CELLS, CELLS), 255 where it is 1."""
        count, before = self._sums.get((target, method), (0, np.zeros((CELLS, CELLS), np.uint32)))
        self._sums[target, method] = count + 1, before + map_

    def commonest(self, most: int) -> list[MeanMap]:
        """The means of the classes with most maps, at most so many; where there are several, of all first."""
        ranked = sorted(self._sums.items(), key=lambda entry: (-entry[1][0], entry[0]))
        means = [_mean(*key, *sums) for key, sums in ranked[:most]]
        return means if len(self._sums) < 2 else [*self._of_all(), *means]

    def _of_all(self) -> list[MeanMap]:
        """Over all classes, one a method."""
        means = []
        for method in dict.fromkeys(method for _, method in self._sums):
            own = [sums for (_, other), sums in self._sums.items() if other == method]
            total = np.stack([values for _, values in own]).sum(axis=0, dtype=np.uint64)
            means.append(_mean("", method, sum(count for count, _ in own), total))
        return means


def _mean(target: str, method: str, count: int, sums: np.ndarray) -> MeanMap:
    return MeanMap(target, method, count, (sums / (255 * count)).astype(np.float32))


def drawn_mean(mean: MeanMap, aspect: float = 1.0) -> bytes:
    """A mean map in the colours of a map, the brightest where it is highest, as PNG.

    Args:
        mean: the map.
        aspect: the width of the model's input by its height.
    """
    size = round(TILE * min(1, 1 / aspect)), round(TILE * min(1, aspect))
    peak = float(mean.values.max())
    scaled = mean.values / peak if peak > 0 else mean.values
    large = np.clip(resize_map(scaled, size), 0, 1)
    return encode_png(overlay(np.full((*size, 3), MIDDLE_GREY, np.uint8), large, look=DRAWN))
