"""Folders for results, and files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError, SiseError, Unwritable
from .wording import reason

# What the system says of a disk that is full, or gone: no space, a quota, a size that no file may have.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})


def make_folder(folder: Path, *, settings: tuple[str, ...] = ()) -> None:
    """Make a folder for results, and those above it.

    Args:
        folder: stays as it is where it is one already.
        settings: what the caller's argument for it is called.

    Raises:
        OutputError: it cannot be made, or a file has its name or that of one above it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{folder} is a file: name a folder", settings=settings) from error
    except NotADirectoryError as error:
        raise OutputError(f"{folder} lies below a file: name a folder", settings=settings) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise OutputError(
            f"folder {str(folder)!r} cannot be made: {reason(error)}: name another one", settings=settings
        ) from error


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file; it is either there and whole, or as it was before.

    Args:
        path: where to; its folder exists.
        data: the content.

    Raises:
        OutputError: the file cannot be written; `Unwritable` where no other one could be, as on a full disk.
    """
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def whole_file(path: str | os.PathLike[str], beside: Path | None = None) -> Iterator[BinaryIO]:
    """Write a file piece by piece, which is there once all of it is; errors as of `write_whole`.

    Args:
        path: where to; its folder exists.
        beside: the unfinished file, in the same folder, which a kill leaves; None takes a name of its own.
    """
    path = Path(path)
    beside = beside or path.parent / f".{uuid.uuid4().hex}.tmp"  # a rename is atomic only within a folder
    try:
        with beside.open("wb") as file:
            yield file
        os.replace(beside, path)
    except SiseError:  # of what was to be written
        raise
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise not_written(path, error) from error
    finally:
        with suppress(OSError, ValueError):
            beside.unlink()  # gone already, where all went well


def append_whole(path: Path, data: bytes) -> None:
    """Add to a file that outlives a crash: all of it is there, on the disk, before this returns, or nothing.

    Args:
        path: is made if missing; belongs to this process alone.
        data: what is added.

    Raises:
        Unwritable: it cannot be written.
    """
    try:
        with path.open("ab", buffering=0) as file:  # a buffer would be written once more when it is closed
            before, rest = os.fstat(file.fileno()).st_size, memoryview(data)
            try:
                while rest:  # a disk that takes only a part of it says why when it gets the rest
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(before)
                raise
    except OSError as error:
        raise Unwritable(
            f"{str(path)!r} cannot be written: {reason(error)}; what was finished is kept"
        ) from error


def not_written(path: Path, error: Exception) -> OutputError:
    """What is raised where a file cannot be written; `Unwritable` where the next one could not either."""
    if isinstance(error, OSError) and error.errno in FULL:
        return Unwritable(f"{str(path)!r} cannot be written: {reason(error)}; what was finished is kept")
    return OutputError(f"{str(path)!r} cannot be written: {reason(error)}: check folder and rights")
