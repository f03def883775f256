"""Whether a network's backward pass may run for several targets of one forward pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sise_rt.bundle import BEST
from sise_rt.errors import BundleError, ModelError
from sise_rt.manifest import Manifest
from sise_rt.running.consistency import shared_forward_error
from sise_rt.running.probe import probe_tensor
from sise_rt.running.sessions import Sessions
from sise_rt.running.verify import TOLERANCES

from .parity import probe_picture

TARGETS = 3  # of one run: of two, either might do for the other


def takes_several_targets(folder: Path, manifest: Manifest) -> bool:
    """Whether the features graph gives several targets of an image in one run what it gives each alone.

    Forward tensors, of one image, are broadcast to gradients, of several targets. Where a network joins the
    batch with another axis (windows of a map, say), or a rule scatters, ONNX Runtime refuses the run.

    Args:
        folder: of a bundle to be, whose manifest is not written yet.
        manifest: which says that the forward pass is shared.
    """
    spec = manifest.preprocess
    image = probe_tensor(probe_picture(*spec.input_size, seed=0), spec)
    targets = BEST - np.arange(TARGETS) % manifest.classes
    try:
        sessions = Sessions(folder, manifest, provider="cpu")
        error = shared_forward_error(sessions, sessions.open("features"), image, targets)
        return error <= TOLERANCES["chain"]
    except (BundleError, ModelError):
        return False
