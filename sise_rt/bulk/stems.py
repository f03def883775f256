"""Where the results of items lie: below the output folder, each under a name of its own.

A stem is a relative path with forward slashes, without target and ending. It mirrors the picture's own path,
whatever that holds: it never leaves the output folder, and differs from every other one by more than letter
case or the composition of accents, which some file systems take for the same. `sise_rt.naming` shortens those
that are too long for one.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence

from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import CONTROL

MARK = 8  # hexadecimal digits that tell names apart which are the same but for what was replaced in them
RESERVED = re.compile(r"results.*\.jsonl|run\.json|overview\.html")  # files of a run
# What is no part of a name: a separator of Windows, code points that are no characters, and there some more.
UNSAFE = re.compile(r"[\\\ud800-\udc7f\udd00-\udfff]" + ('|[<>:"|?*]' if os.name == "nt" else ""))


def stems_of_files(paths: Sequence[str]) -> list[str]:
    """The stems of pictures by their paths: `cam1/0001` of `cam1/0001.png`.

    Args:
        paths: with forward slashes, relative to what the tree of results mirrors; all different.

    Returns:
        A stem each, in their order, which does not depend on that order. Pictures that differ in their ending
        only keep it.
    """
    return _distinct(paths, [posixpath.splitext(path)[0] for path in paths])


def stems_of_ids(ids: Sequence[str]) -> list[str]:
    """The same of what a list calls its pictures, which may be anything; endings of pictures are left out."""
    return _distinct(ids, [_without_ending(name) for name in ids])


def _without_ending(name: str) -> str:
    base, ending = posixpath.splitext(name)
    return base if ending.lower() in PICTURES else name


def _distinct(names: Sequence[str], plain: Sequence[str]) -> list[str]:
    """A stem each: the plain one; where several have that, the whole name; where they still do, a mark too.

    Of several that have one stem those go on to a longer one that have the shortest kind.
    """
    stems = [_safe(stem) for stem in plain]
    rank = [0] * len(names)
    holders: dict[str, list[int]] = {}
    for place, stem in enumerate(stems):
        holders.setdefault(_folded(stem), []).append(place)
    clashing = {key for key, places in holders.items() if len(places) > 1}
    while clashing:  # in rounds, or stems would depend on the order
        moving = []
        for key in clashing:
            lowest = min(rank[place] for place in holders[key])
            moving += [place for place in holders[key] if rank[place] == lowest]
            holders[key] = [place for place in holders[key] if rank[place] != lowest]
        touched = clashing
        clashing = set()
        for place in moving:
            rank[place] += 1
            stems[place] = _ranked(names[place], rank[place])
            key = _folded(stems[place])
            holders.setdefault(key, []).append(place)
            touched.add(key)
        clashing = {key for key in touched if len(holders[key]) > 1}
    return stems


def _ranked(name: str, rank: int) -> str:
    """The whole name, and with each rank more of a mark."""
    safe = _safe(name)
    return safe if rank == 1 else f"{safe}~{_digest(name)[: MARK * (rank - 1)]}"


def _safe(name: str) -> str:
    """A relative path of whatever a name is, in names that a file system takes."""
    parts = [_safe_part(part) for part in name.split("/") if part not in ("", ".", "..")] or ["_"]
    if RESERVED.fullmatch(parts[0].lower()) and len(parts) > 1:
        parts[0] = f"{parts[0]}~{_digest(parts[0])[:MARK]}"
    return "/".join(parts)


def _safe_part(part: str) -> str:
    if part.isascii() and part.isprintable() and "\\" not in part and os.name != "nt" and part.strip("."):
        return part  # as nearly all are
    part = UNSAFE.sub("_", CONTROL.sub("_", part))
    return part if part.strip(". ") else "_" * len(part)


def _folded(stem: str) -> str:
    """What is the same for two stems that some file system takes for one."""
    if stem.isascii():
        return stem.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", stem).casefold())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
