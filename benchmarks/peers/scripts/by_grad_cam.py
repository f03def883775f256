"""pytorch-grad-cam on the last block, `layer4`.

Score-CAM runs 32 masks at once, as the package's page advises, and weighs the maps by a softmax over the
channels of the target's logits, where the method's authors have the confidence. Grad-CAM goes back from the
logit through all parameters, as `backward` does.
"""

from __future__ import annotations

import numpy as np
import torch
from peer import Count, Explain, Settings, normalised
from torch_model import load


def prepare(method: str, settings: Settings, count: Count) -> Explain:
    """`GradCAM` or `ScoreCAM`."""
    model = load(settings, count)
    import pytorch_grad_cam  # it imports torchvision, which `load` knows how to
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    cam = getattr(pytorch_grad_cam, method)(model, [model.layer4])
    cam.batch_size = 32

    def explain(picture: np.ndarray, target: int) -> np.ndarray:
        image = torch.from_numpy(normalised(picture))
        return cam(image, [ClassifierOutputTarget(target)])[0]

    return explain
