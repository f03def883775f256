"""Maps that somebody else made, in files: found by picture and class, and brought to the model's input."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from sise_rt.bundle import sha256
from sise_rt.drawing.drawn import paint
from sise_rt.drawing.painting import BARE
from sise_rt.errors import ArgumentError, BundleError, ImageError, NoEvidence
from sise_rt.naming import base_name
from sise_rt.phases.fusion import normalise
from sise_rt.pictures.picture import Picture, in_rgb
from sise_rt.pictures.placement import Placement
from sise_rt.pictures.resizing import resize_map

SUFFIXES = (".npy", ".png")  # in this order: beside an array a PNG is a drawing of it
NO_CLASS = "the file does not name a class: it is taken for that of any"


@dataclass(frozen=True)
class GivenMap:
    """A map from a file, as `measure` takes an explanation.

    Attributes:
        map: (H, W) float64 in [0, 1], over the model's input.
        placement: of the picture.
        warnings: what was made of the file.
        passes: None, as nobody knows what it took.
        seconds: likewise nothing.
    """

    map: np.ndarray
    placement: Placement
    warnings: tuple[str, ...]
    passes: None = None
    seconds: None = None

    def overlay(self, picture: Picture) -> np.ndarray:
        """The map over the picture, (H0, W0, 3) uint8 RGB."""
        size = self.placement.original
        return paint(in_rgb(picture.pixels), self.map, self.placement, size, outline=0.5, look=BARE)[0]


@dataclass(frozen=True)
class MapFolder:
    """Somebody's maps.

    Attributes:
        name: what they are called in rows and reports.
        folder: that holds them.
    """

    name: str
    folder: Path

    def listed(self) -> dict[str, list[str]]:
        """The names of all files that may be maps, sorted, of each folder below this one."""
        names: dict[str, list[str]] = {}
        for above, _, files in os.walk(self.folder):
            below = Path(above).relative_to(self.folder).as_posix()
            names[below] = sorted(file for file in files if file.lower().endswith(SUFFIXES))
        return names

    def mark(self, image: str, listed: Mapping[str, Sequence[str]]) -> str:
        """The sha256 of all files that may be maps of a picture, with their names; of the `listed` ones."""
        above, name = os.path.split(os.path.splitext(image)[0])
        names = listed.get(above or ".", ())
        first = bisect_left(names, name)
        files = [
            (found, _hash(self.folder / above / found))
            for found in takewhile(lambda found: found.startswith(name), islice(names, first, None))
        ]
        return hashlib.sha256(repr(files).encode("utf-8", "backslashreplace")).hexdigest()

    def map(self, picture: Picture, target: int) -> GivenMap | NoEvidence:
        """The map of a picture, which bears its name in the data set, and a class.

        For `cam1/0001.png` and class 281 it is the first that there is of `cam1/0001.281.npy`, the same with
        the name of these maps behind the class, as `explain` calls those of several methods,
        `cam1/0001.npy`, and the same as `.png`; each also behind the whole name of the picture. What is wrong
        with a file is told as why there is no map.
        """
        for suffix in SUFFIXES:
            for base, told in self._bases(picture.name, target):
                path = self.folder / f"{base}{suffix}"
                if not os.path.isfile(path):  # which takes names that are too long as well
                    continue
                try:
                    return _placed(read_map(path), path, picture.placement, told)
                except ImageError as error:
                    return NoEvidence(str(error))
        wanted = f"{next(self._bases(picture.name, target))[0]}{SUFFIXES[0]}"
        return NoEvidence(f"{self.folder} has no map of it: {wanted} is not there")

    def _bases(self, image: str, target: int) -> Iterator[tuple[str, bool]]:
        """Names without a suffix, and whether they tell the class."""
        for stem in (image.rpartition(".")[0], image):
            yield base_name(stem, target), True
            yield base_name(stem, target, self.name), True
            yield stem, False


def map_folder(text: str, data: Path) -> MapFolder:
    """A folder of maps as it is asked for, `FOLDER` or `NAME=FOLDER`; without a name it has the folder's.

    Raises:
        ArgumentError: there is no such folder, or it is that of the pictures.
    """
    name, sign, rest = text.partition("=")
    folder = Path(rest if sign else text)
    if not folder.is_dir():
        raise ArgumentError(f"{folder}: no such folder: give FOLDER or NAME=FOLDER", settings=("maps",))
    if folder.resolve() == data.resolve():
        raise ArgumentError(
            f"{folder}: these are the pictures: maps need a folder of their own", settings=("maps",)
        )
    name = name.strip() if sign else folder.resolve().name
    if not name or any(mark in name for mark in ",:/\\"):
        raise ArgumentError(f"{text!r}: a name of maps has none of , : / \\ in it", settings=("maps",))
    return MapFolder(name, folder)


def without_picture(maps: MapFolder, images: Sequence[str]) -> int:
    """How many files of a folder are of none of these pictures."""
    stems = {image.rpartition(".")[0] for image in images}
    count = 0
    for above, names in maps.listed().items():
        for name in names:
            parts = (name if above == "." else f"{above}/{name}").split(".")
            count += not any(".".join(parts[:end]) in stems for end in range(1, len(parts)))
    return count


def read_map(path: Path) -> np.ndarray:
    """A map in a file: (h, w) float64, as it is there.

    Args:
        path: of numbers (h, w), or (1, h, w) or (h, w, 1), in NumPy's format, or a grey PNG of 8 or 16 bits.

    Raises:
        ImageError: it cannot be read, is of another shape or in colours, or a value is not finite.
    """
    try:
        values = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _grey(path)
    except ImageError:
        raise
    except Exception as error:  # of a header anything can be wrong
        raise ImageError(f"{path}: this map cannot be read: {error}") from error
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or not values.size or values.dtype.kind not in "buif":
        raise ImageError(f"{path}: {values.shape} of {values.dtype} is no map: (h, w) of numbers is needed")
    found: np.ndarray = values.astype(np.float64)
    if not np.isfinite(found).all():
        raise ImageError(f"{path}: {int((~np.isfinite(found)).sum())} of its values are not finite")
    return found


def _grey(path: Path) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as image:
        if image.mode in ("RGB", "P"):
            colours = np.asarray(image.convert("RGB"))
            if (colours == colours[..., :1]).all():
                return colours[..., 0]
        if image.mode not in ("1", "L", "I", "I;16"):
            raise ImageError(
                f"{path}: is in colours ({image.mode}), which is a drawing of a map: give it in grey"
            )
        return np.asarray(image)


def _placed(map_: np.ndarray, path: Path, placement: Placement, told: bool) -> GivenMap | NoEvidence:
    """The map over the model's input, in [0, 1].

    One of the picture's own size lies over the picture; of any other size it lies over the model's input.
    """
    notes: tuple[str, ...] = () if told else (NO_CLASS,)
    if map_.shape == placement.input:
        over_input = map_
    elif map_.shape == placement.original:
        over_input = _cropped(resize_map(map_, placement.resized), placement)
        notes += ("it has the picture's size, and was brought to the model's input",)
    else:
        over_input = resize_map(map_, placement.input)
        notes += (f"{map_.shape[1]} x {map_.shape[0]}, resized to the model's input",)
    shown = normalise(over_input)
    if shown is None:
        return NoEvidence(f"{path} has one value everywhere")
    return GivenMap(shown, placement, notes)


def _cropped(resized: np.ndarray, placement: Placement) -> np.ndarray:
    """What the model sees of a map over the resized picture; the lowest value beyond the picture."""
    (height, width), top, left = placement.input, placement.top, placement.left
    above, before = max(0, -top), max(0, -left)
    below = max(0, top + height - resized.shape[0])
    behind = max(0, left + width - resized.shape[1])
    padded = cv2.copyMakeBorder(
        resized, above, below, before, behind, cv2.BORDER_CONSTANT, value=float(resized.min())
    )
    return padded[top + above : top + above + height, left + before : left + before + width]


def _hash(path: Path) -> str:
    try:
        return sha256(path)
    except BundleError:  # it is named when its picture's turn comes
        return "unreadable"
