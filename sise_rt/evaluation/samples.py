"""What a data set is to an evaluation: pictures, the classes present in each, and where these are."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from sise_rt.errors import SiseError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import reason

MAX_ANNOTATION = 4 << 20
"""The largest annotation of one picture, in bytes."""
MAX_TABLE = 512 << 20
"""The largest annotation file of a whole data set, in bytes."""

TEXTS = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".names")
"""What files are called that nobody takes for pictures: annotations, lists and notes."""
NO_PICTURE = "file that is no picture by its suffix"
"""The kind of the problem of a file that nobody looked at; its detail is the suffix."""

FOREIGN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*:)?/")
"""How a path begins that is whole on some machine: `/home/x/a.jpg`, `C:/x/a.jpg`, `s3:/x/a.jpg`."""

Box = tuple[float, float, float, float]


class DataError(SiseError, ValueError):
    """A data set cannot be read at all: it is missing, of another layout, or its table is broken."""


@dataclass(frozen=True)
class Problem:
    """Something in a data set that was left out or changed: its kind, where it is, and the particulars."""

    kind: str
    where: str
    detail: str = ""


@dataclass(frozen=True)
class Truth:
    """Where a class is in a picture: the union of what is given here.

    Attributes:
        boxes: edges (x0, y0, x1, y1) in pixels; a pixel belongs to a box if its centre lies inside, that of
            the first pixel being (0.5, 0.5).
        masks: paths of files in the folder, as `sise_rt.evaluation.mask_files` reads them.
        polygons: of corners (x, y, x, y, ...), in the coordinates of the boxes.
        runs: run lengths of background and foreground in turn, down the columns (COCO's), each list with its
            (height, width).
        size: (height, width) of the picture that was annotated, if it is stated.
        scaled: the picture may have another size than that, and the coordinates are stretched to it.
        difficult: the annotators call every object of this class difficult.
    """

    boxes: tuple[Box, ...] = ()
    masks: tuple[str, ...] = ()
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[tuple[tuple[int, ...], tuple[int, int]], ...] = ()
    size: tuple[int, int] | None = None
    scaled: bool = False
    difficult: bool = False


@dataclass(frozen=True)
class Sample:
    """One picture: its path in the folder, and its classes, each with its truth or None."""

    image: str
    present: dict[str, Truth | None]


@dataclass
class Dataset:
    """A data set as it was read.

    Attributes:
        folder: that holds it.
        samples: in the order of the evaluation.
        problems: what is wrong in it.
    """

    folder: Path
    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The names of all classes, sorted."""
        return sorted({name for sample in self.samples for name in sample.present})

    def add(self, present: Mapping[str, dict[str, Truth | None]], pictures: Iterable[str]) -> None:
        """Add samples of annotated pictures; `pictures` that are not annotated are problems."""
        self.samples += [Sample(path, truths) for path, truths in present.items() if truths]
        self.problems += [Problem("image without annotation", p) for p in pictures if p not in present]


def shuffled(samples: Sequence[Sample]) -> list[Sample]:
    """The same fixed order everywhere, by the hash of the path, so that the first N are a fair sample."""

    def key(sample: Sample) -> bytes:
        return hashlib.sha256(sample.image.encode("utf-8", "surrogateescape")).digest()

    return sorted(samples, key=key)


class Files:
    """The files under a folder, without hidden ones; nothing that leads out of it is ever opened.

    Args:
        folder: to be searched, with its subfolders.
        problems: links that lead out of the folder are added.

    Raises:
        DataError: it is no folder.
    """

    def __init__(self, folder: Path, problems: list[Problem]):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder: name the one of the data set", settings=("folder",))
        self.folder = folder
        self.paths: list[str] = []
        self.folders: set[str] = set()  # right in the folder
        home = folder.resolve()
        for here, folders, names in os.walk(folder):
            folders[:] = _visible(folders)
            if Path(here) == folder:
                self.folders.update(name for name in folders if not Path(here, name).is_symlink())
            for name in folders:
                if Path(here, name).is_symlink():
                    problems.append(
                        Problem("link to a folder", _relative(Path(here, name), folder), "not followed")
                    )
            for name in _visible(names):
                path = Path(here, name)
                if _leads_out(path, home):
                    problems.append(Problem("link out of the folder", _relative(path, folder), "not read"))
                    continue
                self.paths.append(_relative(path, folder))
        places = (home, Path(os.path.abspath(folder)))
        self._homes = [PurePosixPath(place.as_posix()).parts for place in places]
        self._all = set(self.paths)
        self._by_name: dict[str, list[str]] = {}
        for picture in self.pictures():
            self._by_name.setdefault(PurePosixPath(picture).name, []).append(picture)

    def ending(self, *suffixes: str) -> list[str]:
        """Paths with one of the suffixes, in any letter case, sorted by folder."""
        return [path for path in self.paths if path.lower().endswith(suffixes)]

    def pictures(self) -> list[str]:
        """Paths of pictures, by their suffix."""
        return self.ending(*PICTURES)

    def others(self) -> list[Problem]:
        """The files that are neither pictures nor texts, by their suffix: nobody looks at them."""
        return [
            Problem(NO_PICTURE, path, PurePosixPath(path).suffix.lower() or "no suffix")
            for path in self.paths
            if not path.lower().endswith((*PICTURES, *TEXTS))
        ]

    def find(self, name: str, among: Collection[str] | None = None) -> str | None:
        """The file that an annotation names: by its path, else the one picture whose path ends in the name.

        A picture of that name in another folder than the one named is another picture. Only where the name
        is a whole path of another machine do its folders mean nothing here.

        Args:
            name: as the annotation has it; it is compared with the files that are there, never opened.
            among: paths in the folder; no other is found. None allows all.
        """
        pure = PurePosixPath(name.replace("\\", "/"))
        allowed = self._all if among is None else among
        for home in self._homes:  # the name may begin with the last folders of the folder's own path, or all
            for count in range(min(len(pure.parts), len(home) + 1)):
                path = "/".join(pure.parts[count:])
                if pure.parts[:count] == home[len(home) - count :] and path in allowed:
                    return path
        namesakes = [path for path in self._by_name.get(pure.name, []) if path in allowed]
        here = any(pure.parts[: len(home)] == home for home in self._homes)
        if here or not FOREIGN.match(str(pure)):
            namesakes = [path for path in namesakes if path.endswith(f"/{pure}")]
        return namesakes[0] if len(namesakes) == 1 else None

    def outside(self, name: str) -> bool:
        """Whether an annotation's name leads out of the folder, by its letters: nothing is looked for."""
        path = os.path.abspath(self.folder / name.replace("\\", "/"))
        return not any(PurePosixPath(path).parts[: len(home)] == home for home in self._homes)


def _visible(names: Iterable[str]) -> list[str]:
    """Names sorted, without those that begin with a dot: macOS leaves `._a.png` beside `a.png`."""
    return sorted(name for name in names if not name.startswith("."))


def _leads_out(path: Path, home: Path) -> bool:
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(home)
    except (OSError, RuntimeError):  # a link to itself
        return True


def read_limited(path: Path, limit: int) -> bytes:
    """The content of a file.

    Raises:
        DataError: it is larger than `limit` bytes, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise DataError(f"{path}: cannot be read: {reason(error)}") from error
    if len(content) > limit:
        raise DataError(f"{path}: is larger than {limit:,} bytes: this is no annotation")
    return content


def read_named(path: Path, files: Files) -> bytes:
    """The content of the annotation file of a whole data set that the user names.

    Raises:
        DataError: it is too large, or cannot be read; the message says if it lies in the data set's folder.
    """
    inside = files.folder / path
    if not path.exists() and inside.is_file():
        raise DataError(
            f"{path}: no such file, but there is {inside}: give that path", settings=("annotations",)
        )
    return read_limited(path, MAX_TABLE)


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def number(value: Any) -> float:
    """A finite number.

    Raises:
        ValueError: it is none, or so large that it is no coordinate.
    """
    try:
        result = float(value)
    except OverflowError as error:  # a whole number with hundreds of digits
        raise ValueError("a number too large to be a coordinate") from error
    except (TypeError, ValueError):
        result = math.nan
    if not abs(result) <= 1e9:
        raise ValueError(f"{_quoted(value)} is no coordinate")
    return result


def _quoted(value: Any) -> str:
    if isinstance(value, str | int | float):
        return repr(value)
    return "null" if value is None else "a list or object"  # which may be nested too deeply to be shown


def side(value: Any) -> int:
    """A width or height in pixels; 0 if none is stated.

    Raises:
        ValueError: what is stated is no whole number of pixels.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return 0
    try:
        result = number(value)
    except ValueError:
        result = math.nan
    if isinstance(value, bool) or result < 0 or not result.is_integer():
        raise ValueError(f"{_quoted(value)} is no width or height")
    return int(result)
