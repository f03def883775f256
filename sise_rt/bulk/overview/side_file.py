"""The file beside a run's results that keeps what the overview shows, a line for each line of them.

A line is written before the results' own, and may be there twice where a kill lay between the two: then the
later one counts, so that every explanation is shown, and enters a mean, once.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sise_rt.bulk import journal
from sise_rt.errors import OutputError
from sise_rt.files import make_folder
from sise_rt.wording import reason

from .thumbnails import CELLS, Thumbnail

FOLDER = "overview"  # below that of the run
PIECE = 1 << 20  # bytes read at a time in search of a torn line's beginning


def side_file(folder: Path, shard: tuple[int, int] | None = None) -> Path:
    """The side file of a run in a folder, or of a shard (from 1, of how many) of it."""
    name = "thumbnails" if shard is None else f"thumbnails-{shard[0]}-of-{shard[1]}"
    return folder / FOLDER / f"{name}.jsonl"


def side_files(folder: Path) -> list[Path]:
    """All of them that a folder has."""
    return sorted((folder / FOLDER).glob("thumbnails*.jsonl"))


def begin(path: Path) -> None:
    """See to it that a side file can be added to: it is made if missing, what a kill tore off is cut off.

    Raises:
        OutputError: it cannot be written.
    """
    make_folder(path.parent)
    try:
        path.touch()  # also of a run without any thumbnail: it tells whose the pages are
        with path.open("r+b") as file:
            file.truncate(_end(file))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {reason(error)}: check folder and rights") from error


def keep(path: Path, id: str, thumbnails: Sequence[Thumbnail]) -> None:
    """Add what is shown of an item, on the disk before this returns.

    Args:
        path: of the side file, which was begun, and belongs to this process alone.
        id: of the item.
        thumbnails: one for each of its lines in the results, in their order.

    Raises:
        OutputError: it cannot be written.
    """
    append(path, lines(id, thumbnails))


def lines(id: str, thumbnails: Sequence[Thumbnail]) -> Iterator[dict[str, Any]]:
    """The lines of an item, for `append`, where that is another process's."""
    return (_line(id, part, shown) for part, shown in enumerate(thumbnails, 1))


def append(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Add the lines of an item, as `keep` does."""
    journal.append(path, lines)


class Shelf:
    """The thumbnails of a run, each read when it is asked for: in memory are their places only.

    A line that is damaged is passed over: its thumbnail is missing, and nothing else.

    Args:
        files: open side files, as of several shards.
    """

    def __init__(self, files: Iterable[BinaryIO]):
        self._places: dict[int, tuple[BinaryIO, int]] = {}
        for file in files:
            at = 0
            for line in file:
                if whose := _whose(_parsed(line)):
                    self._places[_key(*whose)] = file, at
                at += len(line)

    def find(self, id: str, part: int) -> Thumbnail | None:
        """The thumbnail of an item's line in the results, counted from 1; None where there is none."""
        if (place := self._places.get(_key(id, part))) is None:
            return None
        file, at = place
        file.seek(at)
        line = _parsed(file.readline())
        return _thumbnail(line) if _whose(line) == (id, part) else None


@contextmanager
def shelf(paths: Iterable[Path]) -> Iterator[Shelf]:
    """The thumbnails of side files, which are open until this ends.

    Raises:
        OutputError: one of them cannot be read.
    """
    try:
        with ExitStack() as opened:
            yield Shelf([opened.enter_context(path.open("rb")) for path in paths])
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"the pictures of the overview cannot be read: {reason(error)}") from error


# -------------------- lines


def _key(id: str, part: int) -> int:
    """What stands in memory for a line: 8 bytes, whatever the length of its item's id."""
    text = f"{part} {id}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _line(id: str, part: int, shown: Thumbnail) -> dict[str, Any]:
    return {
        "id": id,
        "part": part,
        "size": shown.size,
        "picture": _text(shown.picture),
        "overlay": _text(shown.overlay),
        "map": None if shown.map is None else _text(shown.map.tobytes()),
    }


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _whose(line: Any) -> tuple[str, int] | None:
    """The item's id and the part that a line is of; None where it is no line of ours."""
    try:
        return str(line["id"]), int(line["part"])
    except (TypeError, KeyError, ValueError):
        return None


def _thumbnail(line: Mapping[str, Any]) -> Thumbnail | None:
    try:
        width, height = map(int, line["size"])
        picture, overlay, few = (_bytes(line[key]) for key in ("picture", "overlay", "map"))
        map_ = None if few is None else np.frombuffer(few, np.uint8).reshape(CELLS, CELLS)
    except (TypeError, KeyError, ValueError):
        return None
    return None if picture is None else Thumbnail((width, height), picture, overlay, map_)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


def _end(file: BinaryIO) -> int:
    """Where the last whole line of a file ends."""
    at = file.seek(0, os.SEEK_END)
    while at > 0:
        begin = max(0, at - PIECE)
        file.seek(begin)
        if (last := file.read(at - begin).rfind(b"\n")) >= 0:
            return begin + last + 1
        at = begin
    return 0
