"""What a run will take on the disk, said before it starts, and refused where the disk has less."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from sise_rt.drawing.sizes import SIZE, drawn_size
from sise_rt.errors import OutputError
from sise_rt.saving import smaller_size
from sise_rt.wording import in_bytes

from .map_shards import MOST

Maps = Literal["files", "shards", "table"]

BLOCK = 4096  # bytes that a file is rounded up to on most disks
HEADER = 128  # bytes of a .npy before its values
SHARD_ENTRY = 400  # bytes of a map in a shard besides its values, at most: header, two names, its key
LINE = 3500  # bytes of an explanation's line of results
RECORD = 3500  # of its record
# Bytes a drawn pixel. Photographs and surfaces had 1.1 to 1.9 as overlays, plain drawings 0.3.
OVERLAY = 1.5
# Strips and pages by the pixels of an overlay: they show the picture several times, smaller.
BLOCKS, REPORT = 3.0, 2.0
NAMES = {
    "map": "maps",
    "record": "records",
    "overlay": "overlays",
    "blocks": "strips of blocks",
    "report": "pages",
    "results": "results",
}
CERTAIN = {"map"}  # whose size is known, not estimated


@dataclass(frozen=True)
class Forecast:
    """What a run takes.

    Attributes:
        items: pictures; None where nobody knows.
        each: bytes a picture, by output; what is not known is missing.
        files: that a picture has.
        besides: bytes that are taken for a while only.
    """

    items: int | None
    each: dict[str, float]
    files: int
    besides: float = 0

    @property
    def total(self) -> float | None:
        """Bytes on the disk, as far as they are known: half a block of each file is empty."""
        if self.items is None:
            return None
        return self.items * (sum(self.each.values()) + self.files * BLOCK / 2) + self.besides

    def told(self, free: int | None = None) -> str:
        """In a line: `2,000 pictures: maps 401 MB, overlays about 600 MB; 80 GB are free`."""
        items = 1 if self.items is None else self.items
        parts = [
            f"{NAMES[output]} {'' if output in CERTAIN else 'about '}{in_bytes(items * size)}"
            for output, size in self.each.items()
        ]
        whose = "each picture" if self.items is None else f"{self.items:,} picture{'s' if items != 1 else ''}"
        there = "" if free is None else f"; {in_bytes(free)} are free"
        return f"{whose}: {', '.join(parts)}{there}"


def forecast(
    items: int | None,
    parts: int,
    *,
    outputs: Collection[str],
    map_shape: tuple[int, int] | None,
    maps: Maps = "files",
    map_size: int | None = None,
    picture: tuple[int, int] | None = None,
) -> Forecast:
    """What a run takes on the disk.

    Args:
        items: pictures that are still to be explained; None where nobody knows.
        parts: explanations of each: targets times methods.
        outputs: of `sise_rt.saving.OUTPUTS`, those that are written.
        map_shape: (H, W) of the model's input; None where each picture has its own.
        maps: where maps are kept.
        map_size: as for `sise_rt.saving.smaller_map`.
        picture: (H, W) of a picture, as of the first one; None takes one that is drawn 512 pixels large.
    """
    each: dict[str, float] = {}
    besides = 0
    if "map" in outputs and map_shape is not None:
        values = prod(smaller_size(map_shape, map_size))
        each["map"] = 4 * values + HEADER if maps == "files" else 2 * values + SHARD_ENTRY
        if maps == "table":  # which is made of the shards at the end
            each["map"] += 2 * values
        if maps != "files":  # a shard is put together while its maps are still there
            besides = (2 * values + SHARD_ENTRY) * min(MOST, MOST if items is None else items * parts)
    pixels = prod(drawn_size(picture or (SIZE, SIZE)))
    sizes = {
        "overlay": OVERLAY * pixels,
        "blocks": BLOCKS * SIZE**2,
        "report": REPORT * SIZE**2,
        "record": RECORD,
    }
    each |= {output: size for output, size in sizes.items() if output in outputs}
    each["results"] = LINE
    files = len({*outputs} - ({"map"} if maps != "files" else set()))
    return Forecast(items, {output: parts * size for output, size in each.items()}, parts * files, besides)


def free_bytes(folder: Path) -> int | None:
    """Bytes that are free where a folder is, or will be; None where the system does not tell."""
    for place in (folder.absolute(), *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            return None
    return None


def refuse_too_large(foreseen: Forecast, free: int | None, folder: Path) -> None:
    """See to it that there is room; what is not known is not refused.

    Raises:
        OutputError: the disk has less than the run takes.
    """
    needed = foreseen.total
    if needed is None or free is None:
        return
    if needed > free:
        raise OutputError(
            f"{str(folder)!r} has no room for {foreseen.told(free)}: write less, or to another disk",
            settings=("outputs", "map_size", "out"),
        )
