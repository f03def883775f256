"""Captum: integrated gradients and occlusion of the target's logit, against a picture of zeros.

Both run 16 images at once; by itself captum would take all steps in one batch, and occlusion one window at a
time. Occlusion slides a window of 16 x 16 pixels in steps of 8.
"""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion
from peer import Count, Explain, Settings, normalised
from torch_model import load


def prepare(method: str, settings: Settings, count: Count) -> Explain:
    """`integrated-gradients` or `occlusion`."""
    model = load(settings, count)
    gradients, occlusion = IntegratedGradients(model), Occlusion(model)

    def explain(picture: np.ndarray, target: int) -> np.ndarray:
        image = torch.from_numpy(normalised(picture))
        if method == "occlusion":
            window, strides = (3, 16, 16), (3, 8, 8)
            shares = occlusion.attribute(image, window, strides, target=target, perturbations_per_eval=16)
        else:
            shares = gradients.attribute(image, target=target, n_steps=50, internal_batch_size=16)
        return shares[0].sum(0).detach().abs().numpy()

    return explain
