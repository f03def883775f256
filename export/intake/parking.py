"""Weights of a torch module in a file, so that they take memory while they run only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ir.mapping import PAGE


def park(model: torch.nn.Module, program: Any, path: Path) -> list[np.ndarray]:
    """Move the weights that a module and its exported program share to a file, and map them from there.

    They work as before, but take memory while they run only.

    Returns:
        The mapped arrays, for `unload`.
    """
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
