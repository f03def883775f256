"""Measuring again, on this machine and without the source, what the export measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sise_rt.bundle import BEST, Manifest

from .consistency import (
    TOLERANCE,
    chain_error,
    differences_error,
    image_gradient,
    relative_error,
    run_heads,
    score_errors,
    shared_forward_error,
)
from .engine import Engine
from .gradient_scores import score_error
from .logits import confidences
from .probe import cell_sums, probe_tensor, read_probe

# Relative to the largest reference value. On another machine's rounding some units fall on the other side of
# their kinks (ReLU, max pooling), which changes gradients by a few thousandths; central differences in
# float32 cross kinks as well.
TOLERANCES = {
    "logits": 1e-3,
    "maps": 1e-3,
    "alpha": 2e-2,
    "chain": TOLERANCE,
    "differences": 5e-2,
    "image_gradient": 5e-2,
    "score": 1e-2,
    "masks": 1e-3,
}
# A quantised network's tensors are whole steps, of about a hundredth of their largest value. Another order of
# the same sums moves some by a step, and there is no slope that differences could measure.
QUANTISED_TOLERANCES = {
    "logits": 5e-2,
    "maps": 5e-2,
    "alpha": 2e-1,
    "chain": 5e-2,
    "score": 3e-1,
    "masks": TOLERANCES["masks"],  # made of maps in float32 all the same
}
HALF_SCORE_TOLERANCE = 3e-1  # of a small confidence: the error of its logit


def tolerances(manifest: Manifest) -> dict[str, float]:
    """What the errors of a bundle may be, by their names.

    Central differences are left out where every block's alpha was compared with autograd in float64, which
    no kink disturbs, and where they were found to measure nothing.
    """
    parity = manifest.parity
    if parity.quantised:
        return QUANTISED_TOLERANCES
    covered = parity.compared.alpha == len(manifest.blocks) or "differences" in parity.unproven
    allowed = TOLERANCES | ({"score": HALF_SCORE_TOLERANCE} if manifest.precision == "fp16" else {})
    return {name: value for name, value in allowed.items() if not (covered and name == "differences")}


def verify(engine: Engine) -> dict[str, float]:
    """Compare a bundle with the numbers of its source that were stored at export, and with itself.

    Args:
        engine: of a bundle whose hashes were checked.

    Returns:
        Relative errors: `logits` (of confidences where the source ended in an activation), `maps` (the mean
        of each feature map) and `alpha` against the source; `chain`, the per-block files against the linked
        graph, and several targets of that in one run against each alone; `differences`, alpha against central
        differences through the per-block files; `image_gradient`, the sums of the input's gradient over cells
        of it, against the source; `score`, the confidences of masked copies against the forward graph's, with
        masks made without a graph; `masks`, their extremes and areas. What the bundle has no graphs for is
        left out.

    Raises:
        BundleError: the stored numbers cannot be read.
    """
    manifest, sessions = engine.manifest, engine.sessions.with_weights()  # of which every file opens
    probe = read_probe(sessions)
    image, targets = probe_tensor(probe.image, manifest.preprocess), np.array([probe.target])
    linked = engine.features(image, targets)
    output = linked.logits[0]
    if probe.of_confidences:
        output = confidences(output, manifest.activation)
    errors = {
        "logits": relative_error(output, probe.output),
        "maps": _maps_error(linked.maps, probe.map_means),
    }
    heads = run_heads(sessions, targets, linked)
    if linked.alphas:
        compared = zip(linked.alphas, probe.alphas, heads.rounding, strict=True)
        off = [score_error(a[0], stored, rounded, TOLERANCES["alpha"]) for a, stored, rounded in compared]
        errors["alpha"] = float(np.max(off))  # NaN stays
    errors["chain"] = chain_error(sessions, image, targets, linked, heads)
    if manifest.shared_forward:
        both = np.array([BEST - 1 if manifest.classes > 1 else BEST, probe.target])
        together = shared_forward_error(sessions, engine.features_graph, image, both)
        errors["chain"] = float(np.maximum(errors["chain"], together))  # NaN stays
    if linked.alphas and "differences" in tolerances(manifest):
        errors["differences"] = differences_error(sessions, targets, linked)
    if "image_gradient" in sessions.specs and probe.image_gradient is not None:
        sums = cell_sums(image_gradient(sessions, image, targets))
        errors["image_gradient"] = relative_error(sums, probe.image_gradient)
    if "forward" in sessions.specs:
        errors |= score_errors(sessions, image, targets, linked.maps)
    return errors


def _maps_error(maps: Sequence[np.ndarray], means: Sequence[np.ndarray]) -> float:
    errors = [_means_error(block[0], stored) for block, stored in zip(maps, means, strict=True)]
    return float(np.max(errors))  # NaN stays


def _means_error(maps: np.ndarray, means: np.ndarray) -> float:
    """The largest difference of the maps' means, relative to the values; normalised maps have a mean of 0."""
    scale = max(float(np.abs(means).max()), float(np.sqrt(np.square(maps, dtype=np.float64).mean())))
    difference = float(np.abs(maps.mean(axis=(1, 2), dtype=np.float64) - means).max())
    return difference / scale if scale else difference


def failures(errors: Mapping[str, float], allowed: Mapping[str, float]) -> list[str]:
    """A line for each error that is above its tolerance or not a number."""
    return [
        f"{name} {error:.1e} is above {allowed[name]:.0e}"
        for name, error in errors.items()
        if not error <= allowed[name]
    ]
