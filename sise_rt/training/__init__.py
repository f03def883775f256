"""Explanations that train: occlusions by what a model looks at (EDDA), and contrastive views of it (ExCon).

The one room with torch in it (extra `training`); no other module of the runtime imports it. Functions and
small modules for a training loop of the user's own:

- `cam`: Grad-CAM of the model that trains; `bundled`: any method, by a bundle that is renewed every few
  epochs; `maps`: the control, which knows no model.
- `occlusion`: which pixels of a map are salient, and what takes their place.
- `edda`: the occlusions of a batch, and the loss.
- `excon`: the views of a batch, the loss, the head and linear evaluation.
- `faithfulness`, `calibration`, `robustness`: what came of it.

Images are (N, C, H, W) float, the model's input; labels (N,) int64, from 0; maps (N, H, W) float, one for
each image and its label, of any range. A model gives logits (N, outputs). Whatever else is refused with an
`ArgumentError`, or a `ModelError` where it came from the model.
"""

from __future__ import annotations

from sise_rt.errors import SiseError
from sise_rt.wording import installing

try:
    import torch  # noqa: F401
except ImportError as error:
    raise SiseError(f"training with explanations needs torch: {installing('training')}") from error

from .cam import find_layer, grad_cam
from .edda import Edda, Occluded, edda_loss, joined
from .excon import ProjectionHead, Views, contrastive_loss, views, views_with_negatives

__all__ = [
    "Edda",
    "Occluded",
    "ProjectionHead",
    "Views",
    "contrastive_loss",
    "edda_loss",
    "find_layer",
    "grad_cam",
    "joined",
    "views",
    "views_with_negatives",
]
