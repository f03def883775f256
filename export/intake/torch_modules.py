"""A torch module as it is deployed: out of its wrappers, in float32, and giving one tensor (N, classes)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sise_rt.errors import ModelError

from ..ir.messages import gist

LOGITS = "logits"  # what transformers and many others call them
RUNS_AGAIN = 2
SAME = 1e-3  # relative; kernels may differ with and without gradients
WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}


@dataclass(frozen=True)
class Deployed:
    """A module that can be exported.

    Attributes:
        module: gives one tensor of rank 2 or more.
        prefix: in front of the names of the user's submodules.
        differentiable: whether torch has a gradient from the output to the picture.
        notes: what was decided, a line each.
        first: what the module gave for the example.
        chosen: whether the wanted output was one of the module's own.
    """

    module: torch.nn.Module
    prefix: str
    differentiable: bool
    notes: tuple[str, ...]
    first: torch.Tensor
    chosen: bool

    def require_same_again(self, example: torch.Tensor) -> None:
        """Refuse a module whose results depend on what it was run on before, or on chance.

        Raises:
            ModelError: it gives something else for the example than at first.
        """
        first = self.first.flatten()
        finite = first.where(first.isfinite(), 0)  # what is not finite is told of later, by its name
        least = SAME * float(finite.abs().max())
        for _ in range(RUNS_AGAIN):
            again = self.module(example).detach().flatten()
            same = again.numel() == first.numel()
            if not same or not torch.allclose(again, first, rtol=SAME, atol=least, equal_nan=True):
                raise ModelError(
                    "the module gives something else for the same images when it is run again: what it keeps "
                    "from one run to the next, or draws by chance, has to be fixed before the export"
                )


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside DataParallel and torch.compile.

    Raises:
        ModelError: it has weights that are not there yet.
    """
    while (inner := WRAPPERS.get(type(module).__name__)) and hasattr(module, inner):
        module = getattr(module, inner)
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if torch.nn.parameter.is_lazy(value):
            raise ModelError(
                f"the module's weight {name!r} gets its shape when the module first runs: run it on a "
                "picture, and train it, before the export"
            )
        if value.is_meta:
            raise ModelError(f"the module's weight {name!r} is on the device 'meta', which holds no numbers")
    return module


def deployed(module: torch.nn.Module, example: torch.Tensor, output: str | None = None) -> Deployed:
    """A module in float32 on the CPU that gives one tensor.

    Args:
        module: from `unwrapped`, in evaluation mode; it is not changed.
        example: (N, C, H, W) float32 images.
        output: which of its results, by key, field or place, where it gives several.

    Raises:
        ModelError: it does not run on the example, or gives no tensor, or several.
    """
    module, notes = _in_float32(module)
    images = example.clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            result = module(images)
    except Exception as error:
        raise ModelError(
            f"the module does not run on images {tuple(example.shape)}: {type(error).__name__}: {gist(error)}"
        ) from error
    key, tensor = _selected(result, output)
    if tensor.ndim == 0 or len(tensor) != len(example):
        raise ModelError(
            f"the module gives a tensor of shape {tuple(tensor.shape)} for {len(example)} images, where a "
            "classifier gives (N, classes)"
        )
    several = not isinstance(result, torch.Tensor)
    wrapped = _OneTensor(module, key) if several or tensor.ndim == 1 else module
    differentiable = tensor.requires_grad and _reaches(tensor, images)
    if several and len(_tensors(result)) > 1:
        notes = (*notes, f"of what the module gives, {key!r} is explained")
    return Deployed(
        wrapped,
        "inner." if wrapped is not module else "",
        differentiable,
        notes,
        tensor.detach(),
        several and output is not None,
    )


def _in_float32(module: torch.nn.Module) -> tuple[torch.nn.Module, tuple[str, ...]]:
    held = [value for value in (*module.parameters(), *module.buffers()) if value.is_floating_point()]
    others = sorted({str(value.dtype).removeprefix("torch.") for value in held} - {"float32"})
    if not others and all(value.device.type == "cpu" for value in held):
        return module, ()
    try:
        copied = copy.deepcopy(module).float().cpu()
    except Exception as error:
        raise ModelError(f"the module cannot be copied to float32 on the CPU: {gist(error)}") from error
    return copied, (f"the model was brought from {' and '.join(others)} to float32",) if others else ()


def _tensors(result: Any) -> dict[str, torch.Tensor]:
    """What a module gives, by key, field or place; what is no tensor of floats is left out."""
    if isinstance(result, torch.Tensor):
        return {"": result}
    if isinstance(result, Mapping):
        entries = {str(key): value for key, value in result.items()}
    elif dataclasses.is_dataclass(result) and not isinstance(result, type):
        entries = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    elif isinstance(result, (tuple, list)):
        names = getattr(result, "_fields", range(len(result)))
        entries = {str(name): value for name, value in zip(names, result, strict=True)}
    else:
        entries = {}
    return {
        name: value
        for name, value in entries.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def _selected(result: Any, output: str | None) -> tuple[str, torch.Tensor]:
    entries = _tensors(result)
    if not entries:
        raise ModelError(
            f"the module gives {type(result).__name__} without a tensor of floats, where a classifier gives "
            "(N, classes)"
        )
    if "" in entries or len(entries) == 1:
        return next(iter(entries.items()))
    key = output if output is not None else LOGITS
    if key not in entries:
        listed = ", ".join(f"{name} {tuple(value.shape)}" for name, value in entries.items())
        raise ModelError(
            f"the module gives {len(entries)} tensors, choose one: {listed}", settings=("output_name",)
        )
    return key, entries[key]


def _reaches(tensor: torch.Tensor, images: torch.Tensor) -> bool:
    with torch.enable_grad():
        return torch.autograd.grad(tensor.sum(), images, allow_unused=True)[0] is not None


class _OneTensor(torch.nn.Module):
    """A module that gives one of another's tensors, as (N, 1) where it is (N,)."""

    def __init__(self, inner: torch.nn.Module, key: str):
        super().__init__()
        self.inner, self.key = inner, key

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tensor = _tensors(self.inner(images))[self.key]
        return tensor[:, None] if tensor.ndim == 1 else tensor
