"""Arrays that are mapped from files, so that they take memory while they are used only."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

PAGE = 4096  # external data starts on a page, so that it can be mapped


def mapped_offsets(weights: Mapping[str, np.ndarray]) -> tuple[Path | None, dict[str, int]]:
    """The file that whole weights are mapped from, and the byte offset in it of each of these weights."""
    whole = {
        name: value for name, value in weights.items() if isinstance(value, np.memmap) and _mapping(value)
    }
    files = {Path(str(value.filename)) for value in whole.values()}
    if len(files) > 1:
        raise ValueError(f"weights mapped from {len(files)} files")
    return next(iter(files), None), {name: value.offset for name, value in whole.items()}


def unload(values: Iterable[np.ndarray]) -> None:
    """Give back the memory of mapped arrays; they are read again where they are used again."""
    for value in values:
        if (mapping := _mapping(value)) is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(value: np.ndarray) -> mmap.mmap | None:
    # A view of a mapped array has its file and its offset as well, but another array as its base.
    base: object = value.base
    return base if isinstance(value, np.memmap) and isinstance(base, mmap.mmap) else None
