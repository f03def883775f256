"""Predicting the confidence under masks that were not scored, from those that were.

Every mask, of whichever block, asks the model the same question: what is Psi(x * m)? So one regression serves
all blocks: a Gaussian process on the log-odds, over masks brought to one small size.
"""

from __future__ import annotations

import itertools

import numpy as np

from .preprocess import resize_map

CELLS = 14  # along each side of a mask that is compared with others
# What the likelihood chooses from: squared length scales as shares of the masks' median squared distance, the
# share of the linear kernel, and the variance of the noise as a share of the signal's.
LENGTHS, LINEAR, NOISES = (0.25, 1.0, 4.0), (0.0, 0.5, 0.9), (1e-3, 1e-2, 5e-2, 2e-1, 1.0)
MOST = 256  # masks to choose these by; more change little and cost the cube
LOWEST, HIGHEST = 1e-12, 1 - 1e-7  # confidences in float32 end there


def pooled_masks(maps: np.ndarray) -> np.ndarray:
    """Feature maps (M, h, w), none flat, as masks in [0, 1] of one size: (M, CELLS * CELLS) float64."""
    low, high = (f(axis=(1, 2), keepdims=True) for f in (maps.min, maps.max))
    masks = ((maps - low) / (high - low)).astype(np.float32)
    return np.array([resize_map(mask, (CELLS, CELLS)).ravel() for mask in masks], np.float64)


def log_odds(confidences: np.ndarray) -> np.ndarray:
    """Of confidences in [0, 1], finite; float64."""
    p = np.clip(confidences.astype(np.float64), LOWEST, HIGHEST)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """The confidences of log-odds."""
    return 0.5 * (1 + np.tanh(0.5 * z))


class Surrogate:
    """A Gaussian process over N masks: a linear and a squared exponential kernel, mixed as is most likely.

    Args:
        points: the masks, (N, d), from `pooled_masks`.
    """

    def __init__(self, points: np.ndarray):
        self._points = points / np.sqrt(points.shape[1])
        self._squares = np.einsum("nd,nd->n", self._points, self._points)
        some = slice(None, None, -(-len(points) // 512))
        distances = self._distances(some)[some]
        self._median = (
            float(np.median(distances[np.triu_indices(len(distances), 1)])) if len(points) > 1 else 1
        )
        self._chosen, self._chosen_by = (LENGTHS[1], LINEAR[1], NOISES[1]), 0

    def predict(self, index: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The posterior given the values of some masks.

        Args:
            index: which masks, (n,), no one twice, n > 0.
            values: of each, for T targets: (n, T).

        Returns:
            Mean and standard deviation (N, T); at `index` the values themselves, and zero.
        """
        mean = values.mean(axis=0)
        rest = values - mean
        if self._chosen_by < min(MOST, len(index)) and len(index) >= 1.5 * self._chosen_by:
            self._choose(index[:MOST], rest[:MOST])
        length, linear, noise = self._chosen
        kernel = self._kernel(index, length, linear)
        known = kernel[index] + noise * np.eye(len(index))
        weights = np.linalg.solve(known, np.column_stack([rest, kernel.T]))
        coefficients, explained = weights[:, : values.shape[1]], weights[:, values.shape[1] :]
        scale = np.einsum("nt,nt->t", rest, coefficients) / len(index)  # the variance that is most likely
        prior = 1 - linear + linear * self._squares / self._squares.mean()
        left = np.maximum(prior - np.einsum("Nn,nN->N", kernel, explained), 0)
        found = mean + kernel @ coefficients
        spread = np.sqrt(np.maximum(scale, 0) * left[:, None])
        found[index], spread[index] = values, 0
        return found, spread

    def _choose(self, index: np.ndarray, rest: np.ndarray) -> None:
        """Take the kernel and the noise with the largest likelihood, its scale left free."""
        best = -np.inf
        for length, linear in itertools.product(LENGTHS, LINEAR):
            eigenvalues, basis = np.linalg.eigh(self._kernel(index, length, linear)[index])
            parts = (basis.T @ rest) ** 2
            for noise in NOISES:
                spectrum = np.maximum(eigenvalues, 0) + noise
                scale = (parts / spectrum[:, None]).mean(axis=0) + 1e-9
                likelihood = -len(index) * np.log(scale).sum() - rest.shape[1] * np.log(spectrum).sum()
                if likelihood > best:
                    best, self._chosen = likelihood, (length, linear, noise)
        self._chosen_by = len(index)

    def _kernel(self, index: np.ndarray, length: float, linear: float) -> np.ndarray:
        """(N, n)."""
        near = np.exp(-self._distances(index) / (2 * length * max(self._median, 1e-12)))
        return (1 - linear) * near + linear * (self._points @ self._points[index].T) / self._squares.mean()

    def _distances(self, index: np.ndarray | slice) -> np.ndarray:
        """Squared, from every mask to some, (N, n)."""
        inner = self._points @ self._points[index].T
        return np.maximum(self._squares[:, None] + self._squares[index] - 2 * inner, 0)
