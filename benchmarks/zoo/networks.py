"""The zoo's models in torch, with random weights that leave no branch idle."""

from __future__ import annotations

import math

import numpy as np
import torch
from sise_rt.export.intake.from_torch import import_torchvision
from sise_rt.export.proof.parity import probe_picture

CENTRE = 1.0  # standard deviations: what normalisations are centred at

Size = tuple[int, int, int]
"""Channels, height, width."""


def build(source: str) -> tuple[torch.nn.Module, Size]:
    """A model in evaluation mode with weights that leave no branch idle, and the size of its input.

    The initialisers of many families leave a branch out: zero for the last normalisation of a residual block,
    1e-6 for a layer scale, zero for a head. What a gradient rule does there would not show. So every
    parameter whose values are all the same is drawn anew, and the BatchNorms take their statistics from two
    pictures, which keeps deep networks from fading out. Deep random networks are chaotic as well: of 50
    ReLUs in a row so many units lie at their kinks that float32 and float64 differ by several percent in
    torch itself. Normalisations are therefore centred at `CENTRE`, which leaves a few percent of the units
    off.
    """
    kind, _, name = source.partition(":")
    torch.manual_seed(0)
    if kind == "timm":
        import_torchvision()  # timm imports it
        import timm

        model = timm.create_model(name, pretrained=False)
        size = tuple(model.pretrained_cfg["input_size"])
    else:
        models = import_torchvision().models
        slow = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        model = models.get_model(name, weights=None, **slow)
        size = (3, *models.get_model_weights(name).DEFAULT.transforms().crop_size * 2)[:3]
        if side := getattr(model, "image_size", None):  # of a transformer without those weights
            size = (3, side, side)
    model.eval()
    liven(model, size)
    return model, size


def liven(model: torch.nn.Module, size: Size) -> None:
    """Draw a module's constant parameters anew, seeded, and take BatchNorm statistics from two pictures."""
    generator = torch.Generator().manual_seed(0)

    def normal(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator)

    for parameter in model.parameters():
        values = parameter.data
        if not values.is_floating_point() or bool((values != values.flatten()[0]).any()):
            continue
        if values.ndim > 1 and values[0].numel() > 1:
            values += 0.5 * normal(values) / math.sqrt(values[0].numel())
        elif values.numel() > 1 or not values.any():  # a single number that is not zero is a constant
            values += 0.2 * normal(values)
    for module in model.modules():
        if "norm" in type(module).__name__.lower() and getattr(module, "bias", None) is not None:
            module.bias.data += CENTRE
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the statistics of the one batch that follows
        norm.train()
    with torch.no_grad():
        model(pictures(size))
    model.eval()


def pictures(size: Size) -> torch.Tensor:
    """Two preprocessed pictures (2, C, H, W), other than those that the comparison takes."""
    values = np.stack([probe_picture(*size, seed=1 + i) for i in range(2)])
    return torch.from_numpy((values / 255 - 0.45) / 0.225).float()
