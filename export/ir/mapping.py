"""Arrays that are mapped from files, so that they take memory while they are used only."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

PAGE = 4096  # external data starts on a page, so that it can be mapped


def mapped_offsets(weights: Mapping[str, np.ndarray]) -> tuple[Path | None, dict[str, int]]:
    """Which weights are whole mapped tensors: their file, and each one's byte offset in it."""
    found = {
        name: value for name, value in weights.items() if isinstance(value, np.memmap) and _mapping(value)
    }
    files = {Path(str(value.filename)) for value in found.values()}
    if len(files) > 1:
        raise ValueError(f"weights mapped from {len(files)} files")
    return next(iter(files), None), {name: value.offset for name, value in found.items()}


def unload(values: Iterable[np.ndarray]) -> None:
    """Give back the memory of mapped arrays; they are read again where they are used again."""
    for value in values:
        if (mapping := _mapping(value)) is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)


def _mapping(value: np.ndarray) -> mmap.mmap | None:
    # A view of a mapped array has its file and its offset as well, but another array as its base.
    base: object = value.base
    return base if isinstance(value, np.memmap) and isinstance(base, mmap.mmap) else None


def park(model: torch.nn.Module, program: Any, path: Path) -> list[np.ndarray]:
    """Move the weights that a module and its exported program share to a file, and map them from there.

    They work as before, but take memory while they run only.

    Returns:
        The mapped arrays, for `unload`.
    """
    import torch

    shared = [
        *model.parameters(),
        *model.buffers(),
        *program.state_dict.values(),
        *program.constants.values(),
    ]
    plain = (torch.Tensor, torch.nn.Parameter)
    tensors = {id(t): t for t in shared if type(t) in plain and t.device.type == "cpu" and t.numel()}
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors.values()}
    arrays: dict[int, np.ndarray] = {}
    with open(path, "wb") as file:
        for pointer, storage in storages.items():
            file.write(b"\0" * (-file.tell() % PAGE))
            start = file.tell()
            file.write(torch.empty(0, dtype=torch.uint8).set_(storage).numpy().data)
            file.flush()
            # Copy on write, as torch takes no array that can only be read.
            arrays[pointer] = np.memmap(path, np.uint8, "c", start, (storage.nbytes(),))
    parked = {pointer: torch.from_numpy(array).untyped_storage() for pointer, array in arrays.items()}
    for tensor in tensors.values():
        place = (tensor.storage_offset(), tensor.size(), tensor.stride())
        tensor.data = torch.empty(0, dtype=tensor.dtype).set_(
            parked[tensor.untyped_storage().data_ptr()], *place
        )
    return list(arrays.values())
