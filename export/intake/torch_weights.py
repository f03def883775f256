"""Weights of torch modules: reading files that cannot run code, loading them strictly, and a fingerprint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sise_rt.errors import ModelError

from ..ir.messages import gist


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from `.safetensors`, `.npz` or `.pth`/`.pt`, none of which can run code.

    Raises:
        ModelError: the file is missing, damaged, of another kind, or holds more than tensors.
    """
    if not path.is_file():
        raise ModelError(f"no weight file {path}; weights are a file, DEFAULT or none", settings=("weights",))
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path)
        elif path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        elif path.suffix in (".pth", ".pt", ".bin"):
            state = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise ModelError(f"{path}: unknown kind of weight file; known are .safetensors, .npz and .pth")
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be read as weights: {gist(error)}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(f"{path} holds no state dict of tensors; save model.state_dict()")
    return {re.sub(r"^module\.", "", name): value for name, value in state.items()}


def load_weights(model: torch.nn.Module, state: Mapping[str, torch.Tensor], origin: str) -> None:
    """Load a state dict strictly (only BatchNorm's step counters may be missing), in the model's types."""
    own = model.state_dict()
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unknown = [k for k in state if k not in own]
    shapes = [
        f"{k} {tuple(state[k].shape)} for {tuple(own[k].shape)}"
        for k in own
        if k in state and own[k].shape != state[k].shape
    ]
    problems = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise ModelError(f"the weights in {origin} do not fit the model: {'; '.join(problems)}")
    if bad := [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]:
        raise ModelError(f"the weights in {origin} are not finite: {', '.join(bad[:3])}")
    model.load_state_dict({k: state[k].to(own[k].dtype) for k in own if k in state}, strict=False)


def fingerprint(model: torch.nn.Module) -> str:
    """The sha256 over names, shapes and bytes of the state dict."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
