"""SISE in torch without a thought for speed: hooks, autograd, full-size masks, 16 masked pictures at once."""

from __future__ import annotations

import numpy as np
import torch
from peer import Count, Explain, Settings, normalised
from torch.nn.functional import interpolate
from torch_model import load

from benchmarks.reference import Network, features, fused, log_odds, norm01

BATCH = 16


def prepare(_method: str, settings: Settings, count: Count) -> Explain:
    """SISE with mu 0."""
    model = load(settings, count)
    network = Network(model, [model.relu, model.layer1, model.layer2, model.layer3, model.layer4])

    def explain(picture: np.ndarray, target: int) -> np.ndarray:
        image = torch.from_numpy(normalised(picture))
        _, blocks, alphas = features(network, image, lambda logits: log_odds(logits, target, "softmax"))
        visual = [
            visualization(model, image, maps[alpha > 0], target)
            for maps, alpha in zip(blocks, alphas, strict=True)
        ]
        return fused([norm01(v) for v in visual]).raw

    return explain


@torch.no_grad()
def visualization(model: torch.nn.Module, image: torch.Tensor, maps: torch.Tensor, target: int) -> np.ndarray:
    """V_b (H, W) of the maps (K, h, w) of one block that were kept."""
    total = torch.zeros(image.shape[2:])
    for some in maps.split(BATCH):
        masks = interpolate(some[:, None], image.shape[2:], mode="bilinear", align_corners=False)
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        masks = ((masks - low) / (high - low))[(high > low).flatten()]
        if len(masks):
            weights = model(image * masks).softmax(1)[:, target] / masks.sum((1, 2, 3))
            total += torch.einsum("m,mhw->hw", weights, masks[:, 0])
    return total.numpy()
