"""Grad-CAM of a model that trains, in torch, without a trace left in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional as F

from sise_rt.errors import ArgumentError, ModelError

from .batch import evaluating, require_images, require_labels, require_logits


def grad_cam(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, layer: str | None = None
) -> torch.Tensor:
    """Grad-CAM of each image for its label: sum_k w_k A_k, w_k the mean of d y_label / d A_k over the pixels.

    There is no ReLU over the sum, and the map is enlarged bilinearly to the image, as in the reference of
    ExCon. Unlike there the model is in evaluation mode meanwhile, so that a batch's maps do not depend on
    its other images, and batch normalisation counts no image twice. Mode, gradients, `requires_grad` and
    hooks are afterwards as they were. Source: Selvaraju et al., ICCV 2017, equations 1 and 2.

    Args:
        model: gives logits (N, outputs).
        images: (N, C, H, W).
        labels: (N,).
        layer: name of a module as in `model.named_modules()`, whose output (N, K, h, w) is A; None takes
            `find_layer`'s. Of a module that is called several times the last call counts.

    Returns:
        (N, H, W), signed, not normalised; it carries no gradient.

    Raises:
        ArgumentError: the batch is none, a label is out of range, or there is no such layer.
        ModelError: the layer's output is no map, the logits do not depend on it, or they are not finite.
    """
    require_images(images)
    require_labels(labels, len(images))
    if not len(images):
        return images.new_zeros((0, *images.shape[2:]))
    name = find_layer(model, images) if layer is None else layer
    with evaluating(model), torch.enable_grad(), _kept(model, name) as kept:
        logits = model(images)
        require_logits(logits, len(images))
        require_labels(labels, len(images), logits.shape[1])
        if not kept:
            raise ModelError(f"{name} does not run when the model does: name another layer")
        maps = kept[-1]
        scores = logits.gather(1, labels[:, None]).sum()
        gradient = torch.autograd.grad(scores, maps, allow_unused=True)[0] if scores.requires_grad else None
    if gradient is None:
        raise ModelError(f"the logits do not depend on {name}: name a layer that they are computed from")
    cam = (gradient.mean((2, 3), keepdim=True) * maps.detach()).sum(1, keepdim=True)
    if not cam.isfinite().all():
        raise ModelError(f"the gradients at {name} are not all finite: has the training diverged?")
    return F.interpolate(cam, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]


@torch.no_grad()
def find_layer(model: nn.Module, images: torch.Tensor) -> str:
    """The name of the last module to finish whose output is maps (N, K, h, w) of more than one pixel.

    Raises:
        ModelError: there is none.
    """
    found: list[str] = []

    def look(name: str, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            found.append(name)

    handles = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: look(name, output))
        for name, module in model.named_modules()
        if name
    ]
    try:
        with evaluating(model):
            model(images[:1])
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ModelError("no module of the model gives maps (N, K, h, w): name a layer", settings=("layer",))
    return found[-1]


@contextmanager
def _kept(model: nn.Module, name: str) -> Iterator[list[torch.Tensor]]:
    """What a module gives while the model runs.

    The model goes on with a copy, so that an in-place ReLU after the module does not change what is kept.
    What came before the module needs no gradient.
    """
    modules = dict(model.named_modules())
    if name not in modules:
        raise ArgumentError(
            f"the model has no module {name!r}: see model.named_modules()", settings=("layer",)
        )
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise ModelError(f"{name} gives {shape}, where maps (N, K, h, w) are needed", settings=("layer",))
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()

    handle = modules[name].register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()
