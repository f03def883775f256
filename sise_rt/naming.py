"""What the files of a result are called: below the folder, by the picture, the target and the method."""

from __future__ import annotations

import hashlib
import os
import re
import sys

from .errors import ArgumentError

METHODS_SUFFIX = ".methods.png"  # of several methods side by side
COMPARE_SUFFIX = ".compare.png"  # of two targets
SUFFIXES = (".png", ".npy", ".json", ".blocks.png", ".html")
ENDINGS = (METHODS_SUFFIX, COMPARE_SUFFIX, ".blocks.png", ".png", ".npy", ".json", ".html")

LONGEST = 255  # bytes of a name that every file system in use takes
KEPT = 175  # bytes of a longer name that stay, so that target, method and ending mostly find room behind it
LONGEST_SUFFIX = max(map(len, ENDINGS))
LONGEST_TAIL = 120  # bytes of target and method
LONGEST_STEM = 1024  # bytes of a stem with its folders: a path has 4096 with all that lies above it


def base_name(stem: str, target: int, label: str = "") -> str:
    """What the files of a result are called, without a suffix: `cat.281`, `cam1/cat.281.grad-cam`.

    Args:
        stem: of the picture, below the folder of the results; with `/` where it lies deeper.
        target: class index.
        label: comes behind it, as that of a method.

    Returns:
        A name that has room for any suffix: what is too long for a file system is `shortened`.

    Raises:
        ArgumentError: the stem leads out of the folder.
    """
    tail = f".{target}" + (f".{file_label(label)}" if label else "")
    tail = shortened(tail, LONGEST_TAIL)
    *folders, name = _parts(stem)
    room = LONGEST - LONGEST_SUFFIX - len(os.fsencode(tail))
    short = name if len(os.fsencode(name)) <= room else shortened(name, min(room, KEPT))
    return "/".join([*folders, short + tail])


def short_names(stem: str) -> tuple[str, str]:
    """What files of a picture may begin with: its stem as it is, and where that is too long for a name."""
    *folders, name = _parts(stem)
    above = "".join(f"{folder}/" for folder in folders)
    return above + name, above + shortened(name, KEPT)


def shortened(name: str, length: int) -> str:
    """A name in at most so many bytes: its beginning, and 8 digits of the SHA-256 of the whole of it."""
    encoded = os.fsencode(name)
    if len(encoded) <= length:
        return name
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}"
    beginning = encoded[: length - len(mark)]
    return beginning.decode(sys.getfilesystemencoding(), "ignore") + mark  # no half of a character


def file_label(text: str) -> str:
    """A method with its options as part of a file name: `sise:mu=0.3` becomes `sise-mu-0.3`."""
    return re.sub(r"[^\w.+-]+", "-", text)


def _parts(stem: str) -> list[str]:
    """The folders of a stem and its name, none of which is too long."""
    *folders, name = stem.split("/")
    elsewhere = os.sep != "/" and {os.sep, ":"} & {*stem}  # which Windows takes for a folder or a disk
    if elsewhere or "\0" in stem or {"", ".", ".."} & {*folders}:
        raise ArgumentError(
            f"results cannot be called {stem!r}, which leads out of their folder: give another stem",
            settings=("stem",),
        )
    if len(os.fsencode(stem)) > LONGEST_STEM:
        return [shortened(stem.replace("/", "-"), KEPT)]
    return [*(shortened(folder, LONGEST) for folder in folders), name]
