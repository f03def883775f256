"""A folder of results belongs to one run at a time.

The lock is the operating system's, on a file in the folder: it ends with its process, however that ends.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sise_rt.errors import OutputError
from sise_rt.files import make_folder

LOCK = ".sise-rt.lock"
NUMBER = re.compile(rb"[0-9]{1,10}")
ATTEMPTS = 100
PAUSE = 0.05  # seconds between two looks at a lock that somebody else has
BEHIND = 1 << 20  # Windows keeps others from reading what is locked; the number of the process lies before it


@dataclass(frozen=True)
class Words:
    """How a refusal tells what a folder is for.

    Attributes:
        doing: what the process that has it does.
        setting: the caller's argument for the folder, by its name in Python.
    """

    doing: str
    setting: str


EVALUATING = Words("evaluates into it", "report")


@contextmanager
def claimed(
    folder: Path, name: str = LOCK, *, words: Words = EVALUATING, patience: float = 0.0
) -> Iterator[None]:
    """Have a folder of results, or a part of it, to oneself; it is made if missing.

    Args:
        folder: of the results.
        name: of the lock's file, of which there is one for each part that may be had alone.
        words: how a refusal tells what the folder is for.
        patience: seconds to wait for somebody else to end.

    Raises:
        OutputError: the folder cannot be used, or another process has it.
    """
    make_folder(folder, settings=(words.setting,))
    path = folder / name
    lock = _locked(path, words, time.monotonic() + patience)
    try:
        yield
    finally:
        if sys.platform != "win32":  # there an open file cannot be removed
            path.unlink(missing_ok=True)  # before the lock ends: later the file may be somebody else's
        os.close(lock)
        if sys.platform == "win32":
            with suppress(OSError):  # somebody else has it open
                path.unlink(missing_ok=True)


def _locked(path: Path, words: Words, until: float) -> int:
    """The open file that is locked for this process, whose number it holds."""
    for _ in range(ATTEMPTS):
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except OSError as error:
            raise OutputError(f"folder {str(path.parent)!r} cannot be written: {error.strerror}") from error
        try:
            _wait(lock, path, words, until)
            if _is_at(lock, path):
                os.ftruncate(lock, 0)  # what a killed run left
                os.write(lock, b"%d\n" % os.getpid())
                return lock
        except OSError as error:
            os.close(lock)
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{path.parent} cannot be locked ({error.strerror}): give a folder on another disk",
                settings=(words.setting,),
            ) from error
        os.close(lock)  # who had it has just ended and removed the file
    raise OutputError(f"{path} is removed again and again: give another folder", settings=(words.setting,))


def _wait(lock: int, path: Path, words: Words, until: float) -> None:
    """Take the lock as soon as it is free."""
    while not _lock(lock):
        if time.monotonic() >= until:
            raise OutputError(
                f"{path.parent} is in use: {_holder(lock)} {words.doing}; wait until that has ended, or "
                "give another folder",
                settings=(words.setting,),
            )
        time.sleep(PAUSE)


def _is_at(lock: int, path: Path) -> bool:
    """Whether the open file is still the one that others would open."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(lock: int) -> str:
    number = NUMBER.match(os.read(lock, 16))
    return f"process {int(number[0])}" if number else "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(lock: int) -> bool:
        """Take the lock; False if another process has it."""
        os.lseek(lock, BEHIND, os.SEEK_SET)
        try:
            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(lock, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(lock: int) -> bool:
        """Take the lock; False if another process has it."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
