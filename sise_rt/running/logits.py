"""What logits become: confidences, the log-odds of a class, and the log-odds' gradient; all in float64.

Where a bundle explains the output itself (`none`), all of them are about the output as it is.
"""

from __future__ import annotations

import numpy as np


def confidences(logits: np.ndarray, activation: str) -> np.ndarray:
    """Probabilities (..., classes) of logits, in float64: softmax, or sigmoid per class; or the outputs."""
    z = logits.astype(np.float64)
    if activation == "none":
        return z
    if activation == "softmax":
        p = np.exp(z - z.max(axis=-1, keepdims=True))
        return p / p.sum(axis=-1, keepdims=True)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def log_odds(logits: np.ndarray, target: int, activation: str) -> np.ndarray:
    """The target's log-odds (N,) in float64: z_c - logsumexp_{j != c} z_j for softmax, else z_c."""
    z = logits.astype(np.float64)
    if activation != "softmax":
        return z[:, target]
    others = np.delete(z, target, axis=1)
    top = others.max(axis=1)
    return z[:, target] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))


def log_odds_gradient(logits: np.ndarray, target: int, activation: str) -> np.ndarray:
    """The gradient (N, classes) float32 of the target's log-odds with respect to the logits."""
    chosen = np.zeros(logits.shape)
    chosen[:, target] = 1
    if activation == "softmax":
        z = logits.astype(np.float64)
        z[:, target] = -np.inf
        others = np.exp(z - z.max(axis=1, keepdims=True))
        chosen -= others / others.sum(axis=1, keepdims=True)
    return chosen.astype(np.float32)
