"""What a batch has to be, and a model that answers for it without being changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from sise_rt.errors import ArgumentError, ModelError


def require_images(images: torch.Tensor, name: str = "images") -> None:
    """Refuse what is no batch (N, C, H, W) of finite floats; N may be 0."""
    if images.ndim != 4 or not all(images.shape[1:]):
        raise ArgumentError(f"{name} have shape {tuple(images.shape)}, where (N, C, H, W) is needed")
    if not images.is_floating_point():
        raise ArgumentError(f"{name} are {images.dtype}, where float is needed: preprocess them first")
    if not images.isfinite().all():
        raise ArgumentError(f"{name} have values that are not finite")


def require_labels(labels: torch.Tensor, count: int, classes: int | None = None) -> None:
    """Refuse labels that are not (count,) int64 in [0, classes)."""
    if labels.shape != (count,) or labels.dtype != torch.int64:
        raise ArgumentError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}, where int64 of ({count},) is needed"
        )
    if not len(labels):
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise ArgumentError(f"there is a label {low}, where none below 0 has a meaning")
    if classes is not None and high >= classes:
        raise ArgumentError(f"there is a label {high}, where the model has {classes} outputs, from 0")


def require_maps(maps: torch.Tensor, images: torch.Tensor) -> None:
    """Refuse maps that are not (N, H, W) of the images' extents, and finite."""
    wanted = (len(images), *images.shape[2:])
    if maps.shape != wanted:
        raise ArgumentError(f"maps have shape {tuple(maps.shape)}, where {wanted} of the images is needed")
    if not maps.is_floating_point() or not maps.isfinite().all():
        raise ArgumentError("maps need finite floats")


def require_logits(logits: torch.Tensor, count: int) -> None:
    """Refuse what is not (count, outputs) of finite floats.

    Raises:
        ModelError: the shape is another, or a value is not finite.
    """
    if (
        not isinstance(logits, torch.Tensor)
        or logits.ndim != 2
        or len(logits) != count
        or not logits.shape[1]
    ):
        given = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(f"the model gave {given}, where logits ({count}, outputs) are needed")
    if not logits.isfinite().all():
        raise ModelError("the model's logits are not all finite: has its training diverged?")


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, each of its modules afterwards in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def predicted(model: nn.Module, images: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """The logits (N, outputs) of at least one image, in evaluation mode and without gradients."""
    with evaluating(model):
        parts = []
        for part in images.split(batch):
            parts.append(model(part))
            require_logits(parts[-1], len(part))
    return torch.cat(parts)
