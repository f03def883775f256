"""The network in torch, which counts its passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from peer import Count, Settings

from benchmarks.material import MODELS
from benchmarks.reference import import_torchvision


def load(settings: Settings, count: Count) -> torch.nn.Module:
    """Torchvision's ResNet with the material's weights, as its users have it: parameters want gradients."""
    torch.set_num_threads(settings["threads"])
    name = settings["model"]
    model = getattr(import_torchvision().models, name)(weights=None)
    with np.load(MODELS / f"{name}.npz") as weights:
        model.load_state_dict({key: torch.from_numpy(weights[key]) for key in weights.files}, strict=False)

    def counted(_module: object, _inputs: object, logits: torch.Tensor) -> None:
        count.forward += len(logits)
        if logits.requires_grad:
            logits.register_hook(counted_backward)

    def counted_backward(gradient: Any) -> None:
        count.backward += len(gradient)

    model.register_forward_hook(counted)
    return model.eval()
