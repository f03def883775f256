"""Whether a model is as sure as it is right."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import ArgumentError
from sise_rt.metrics.arrays import probabilities


def calibration_error(confidences: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: sum over bins of (share of pictures) |mean confidence - share right|.

    The highest confidence of each picture goes into one of `bins` bins (k / bins, (k + 1) / bins] of equal
    width. Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.

    Args:
        confidences: (N, classes), probabilities.
        labels: (N,), whole numbers.
        bins: how many.

    Returns:
        Fraction; NaN for no picture.

    Raises:
        ArgumentError: shapes do not fit, a label is out of range, or values are no probabilities.
    """
    psi, labels = probabilities("confidences", confidences), np.asarray(labels)
    if psi.ndim != 2 or not psi.shape[1] or labels.shape != psi.shape[:1] or labels.dtype.kind not in "iu":
        raise ArgumentError(
            f"confidences have shape {psi.shape}, labels {labels.shape} of {labels.dtype}: (N, classes) and "
            "whole numbers (N,) are needed"
        )
    if bins < 1:
        raise ArgumentError(f"bins is {bins}, where at least 1 is needed")
    if not len(labels):
        return float("nan")
    if labels.min() < 0 or labels.max() >= psi.shape[1]:
        raise ArgumentError(
            f"labels go from {labels.min()} to {labels.max()}, the classes are {psi.shape[1]}"
        )
    sure, right = psi.max(axis=1), psi.argmax(axis=1) == labels
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
