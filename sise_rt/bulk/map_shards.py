"""The maps of a large run: float16, a thousand a file, none of which is lost or torn when the run is killed.

A shard is a `.npz` that NumPy reads by itself: `keys`, a JSON text `["cam1/0001.png", 281, "sise"]` for each
map, and the maps as `0`, `1`, ... in this order. One that is being filled is a file that is only added to,
with the ending `.pending`. It becomes a `.npz` when it is full, and at the end of the run.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sise_rt.errors import OutputError
from sise_rt.files import make_folder, not_written, whole_file
from sise_rt.saving import map_bytes, smaller_map
from sise_rt.wording import reason

from . import pending_maps
from .pending_maps import KeptMap, half

FOLDER = "maps"
MOST = 1000  # maps of a shard
NAME = re.compile(r"(?P<number>\d{6,})(?P<part>(?:-\d+-of-\d+)?)\.(?P<kind>npz|pending)")
DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RecursionError)


class MapShards:
    """Where a run puts its maps; a context, at whose end the shard that is being filled becomes a `.npz`.

    What a run says is done has to have its maps here before it says so. Maps of which it does not say so, as
    it was killed in between, are dropped when it goes on.

    Args:
        folder: the run's; the shards lie in `maps` below it.
        done: whether the run says of a picture, by its id, that it is done.
        part: the number of this run and how many share the work, which write beside each other.
        map_size: as for `smaller_map`.

    Raises:
        OutputError: the folder cannot be written, or the last shard is damaged.
    """

    def __init__(
        self,
        folder: Path,
        done: Callable[[str], bool],
        *,
        part: tuple[int, int] = (1, 1),
        map_size: int | None = None,
    ):
        self._folder, self._map_size = folder / FOLDER, map_size
        self._part = "" if part[1] == 1 else f"-{part[0]}-of-{part[1]}"
        make_folder(self._folder, settings=("out",))
        self._number = max((n for n, of, _ in _shards(self._folder) if of == self._part), default=1)
        self._count = self._reopen(done)

    def _reopen(self, done: Callable[[str], bool]) -> int:
        """Go on with the last shard, if it is not full; gives how many maps it has."""
        shard, pending, count = self._path("npz"), self._path("pending"), 0

        def kept() -> Iterator[KeptMap]:
            nonlocal count
            for one in pending_maps.read(pending) if pending.exists() else _read(shard):
                if done(one.id):
                    count += 1
                    yield one

        if not pending.exists() and (not shard.exists() or len(_keys(shard)) >= MOST):
            self._number += shard.exists()
            return 0
        pending_maps.write(pending, kept())
        _remove(shard)  # killed between the two, a run leaves both; they are the same
        return count

    def add(self, name: str, maps: Iterable[tuple[int, str, np.ndarray]]) -> str:
        """Keep the maps of a picture; they are on the disk before this returns.

        Args:
            name: the picture's id.
            maps: of each explanation the target, the method's label, and the map (H, W) in [0, 1].

        Returns:
            The shard that they lie in once it is full or the run ends: `maps/000001.npz`.

        Raises:
            OutputError: they cannot be written; `Unwritable` where the disk is full.
        """
        kept = [
            KeptMap(name, target, method, half(smaller_map(map_, self._map_size)))
            for target, method, map_ in maps
        ]
        if self._count and self._count + len(kept) > MOST:
            self.close()
        pending_maps.append(self._path("pending"), kept)
        self._count += len(kept)
        return f"{FOLDER}/{self._path('npz').name}"

    def close(self) -> None:
        """Make a `.npz` of the shard that is being filled, full or not; what is added later starts another.

        Raises:
            OutputError: it cannot be written; nothing is lost by that.
        """
        pending = self._path("pending")
        if self._count:
            _write(self._path("npz"), pending_maps.read(pending), self._count)
        _remove(pending)
        self._number, self._count = self._number + bool(self._count), 0

    def __enter__(self) -> MapShards:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what ends the run is told rather than that this fails too."""
        with suppress(OutputError) if error is not None else nullcontext():
            self.close()

    def _path(self, kind: str) -> Path:
        return self._folder / f"{self._number:06}{self._part}.{kind}"


def read_maps(folder: str | Path) -> Iterator[KeptMap]:
    """The maps of a run that has ended, or was killed; one at a time is in memory.

    Args:
        folder: of the run, or its folder `maps`.

    Yields:
        `id`, `target`, `method` and `map` (H, W) float16 in [0, 1], of each explanation once: what was
        explained anew is what it was explained as last.

    Raises:
        OutputError: there are no maps, or a shard is damaged.
    """
    folder = Path(folder)
    shards = [path for *_, path in _shards(folder / FOLDER) or _shards(folder)]
    if not shards:
        raise OutputError(f"there are no maps of a run in {str(folder)!r}: name the run's folder")
    marks = [_marks(path) for path in shards]
    every = np.concatenate(marks)[::-1]
    latest = np.zeros(len(every), bool)
    latest[np.unique(every, return_index=True)[1]] = True
    wanted = iter(latest[::-1])
    for path in shards:
        yield from (kept for kept in _read(path) if next(wanted))


def is_there(path: str) -> bool:
    """Whether a file of a run is there; a shard is that also while it is being filled."""
    return os.path.exists(path) or (
        path.endswith(".npz") and os.path.exists(f"{path.removesuffix('.npz')}.pending")
    )


@contextmanager
def kept_maps(folder: Path) -> Iterator[Callable[[str, int, str], np.ndarray | None]]:
    """A function that finds a map of a run by its picture's id, its target and its method's label.

    It gives (H, W) float16 in [0, 1], the last one of what was explained anew; None where there is none.
    Of each map 16 bytes are in memory, and one shard is open: maps are best asked for in the order in which
    they were kept.

    Args:
        folder: of the run.

    Raises:
        OutputError: a shard is damaged.
    """
    shards = [path for *_, path in _shards(folder / FOLDER)]
    marks = [_marks(path) for path in shards]
    every = np.concatenate([np.empty(0, np.uint64), *marks])
    order = np.argsort(every, kind="stable")
    ordered, starts = every[order], np.cumsum([0, *map(len, marks)])
    with ExitStack() as opened:
        at = -1
        maps: Callable[[int], np.ndarray]

        def find(name: str, target: int, method: str) -> np.ndarray | None:
            nonlocal at, maps
            mark = _mark(json.dumps([name, target, method]).encode())
            place = int(np.searchsorted(ordered, mark, side="right")) - 1  # of several the last
            if place < 0 or ordered[place] != mark:
                return None
            shard = int(np.searchsorted(starts, order[place], side="right")) - 1
            if shard != at:
                opened.close()
                at, maps = shard, opened.enter_context(_numbered(shards[shard]))
            return maps(int(order[place] - starts[shard]))

        yield find


@contextmanager
def _numbered(path: Path) -> Iterator[Callable[[int], np.ndarray]]:
    """A function that gives a map of a shard by its place."""
    if path.suffix == ".pending":
        yield [kept.map for kept in pending_maps.read(path)].__getitem__
        return
    with _opened(path) as stored:
        yield lambda number: stored[str(number)]


def _marks(path: Path) -> np.ndarray:
    """A number of 64 bits for each map of a shard, by what it is of."""
    return np.array([_mark(key) for key in _keys(path)], np.uint64)


def _mark(key: bytes) -> np.uint64:
    return np.frombuffer(hashlib.blake2b(key, digest_size=8).digest(), np.uint64)[0]


def _shards(folder: Path) -> list[tuple[int, str, Path]]:
    """The shards of a folder in their order: number, part and path; the file of one that is being filled."""
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"folder {str(folder)!r} cannot be read: {reason(error)}") from error
    found = {}
    for match in filter(None, map(NAME.fullmatch, names)):  # of both kinds `pending` comes later
        found[int(match["number"]), match["part"]] = folder / match[0]
    return [(*key, path) for key, path in sorted(found.items())]


def _key(kept: KeptMap) -> bytes:
    return json.dumps(kept[:3]).encode()  # ASCII, whatever the id holds


def _keys(path: Path) -> list[bytes]:
    """What the maps of a shard are of, in their order."""
    if path.suffix == ".pending":
        return [_key(kept) for kept in pending_maps.read(path)]
    with _opened(path) as stored:
        return stored["keys"].tolist()


def _read(path: Path) -> Iterator[KeptMap]:
    """The maps of a shard."""
    if path.suffix == ".pending":
        yield from pending_maps.read(path)
        return
    with _opened(path) as stored:
        for number, key in enumerate(stored["keys"].tolist()):
            name, target, method = json.loads(key)
            yield KeptMap(name, target, method, stored[str(number)])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A shard that is full, as NumPy reads it."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            yield stored
    except DAMAGED as error:
        raise OutputError(f"{str(path)!r} is damaged, or no shard of maps: {reason(error)}") from error


def _write(path: Path, maps: Iterable[KeptMap], count: int) -> None:
    """Write a shard, whole or not at all, one map after the other."""
    keys = []
    with whole_file(path, path.with_name(f".{path.name}.tmp")) as file:
        with zipfile.ZipFile(file, "w") as archive:
            for number, kept in enumerate(maps):
                archive.writestr(zipfile.ZipInfo(f"{number}.npy"), map_bytes(kept.map))  # of no date
                keys.append(_key(kept))
            if len(keys) != count:
                raise OutputError(
                    f"{str(path)!r} cannot be made: {count - len(keys)} of its maps are damaged"
                )
            archive.writestr(zipfile.ZipInfo("keys.npy"), map_bytes(np.array(keys)))
        file.flush()
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise not_written(path, error) from error
