"""Predicting the confidence under masks that were not scored, from those that were.

Every mask, of whichever block, asks the model the same question: what is Psi(x * m)? So one regression serves
all blocks: a Gaussian process on the log-odds, over masks brought to one small size.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from sise_rt.pictures.resizing import resize_map

CELLS = 14  # along each side of a mask that is compared with others
# What the likelihood chooses from: squared length scales as shares of the masks' median squared distance, the
# share of the linear kernel, and the variance of the noise as a share of the signal's.
LENGTHS, LINEAR, NOISES = (0.25, 1.0, 4.0), (0.0, 0.5, 0.9), (1e-3, 1e-2, 5e-2, 2e-1, 1.0)
USUAL = 1.0, 0.5, 1e-2
LEAST, MOST = 16, 256  # masks to choose by: fewer say too little, more change little and cost the cube
LOWEST, HIGHEST = 1e-12, 1 - 1e-7  # confidences in float32 end there


@cache
def _blas() -> Any:
    """The process's BLAS libraries, which takes a while to look up."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_alone = threading.RLock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context in which linear algebra takes one thread, in the whole process; one caller at a time.

    ONNX Runtime's threads go on spinning for a while after a pass, and work of a few milliseconds on as many
    threads again would wait for them. The number is the process's: a second caller inside would take note of
    the limit as what was there before, and leave it behind. So it waits; what is done here is short.
    """
    with _alone, _blas().limit(limits=1, user_api="blas"):
        yield


def pooled_masks(maps: np.ndarray) -> np.ndarray:
    """Feature maps (M, h, w), none flat, as masks in [0, 1] of one size: (M, CELLS * CELLS) float64."""
    low, high = (f(axis=(1, 2), keepdims=True) for f in (maps.min, maps.max))
    masks = ((maps - low) / (high - low)).astype(np.float32)
    return np.array([resize_map(mask, (CELLS, CELLS)).ravel() for mask in masks], np.float64)


def log_odds(confidences: np.ndarray) -> np.ndarray:
    """The log-odds of confidences in [0, 1], kept finite; float64."""
    p = np.clip(confidences.astype(np.float64), LOWEST, HIGHEST)
    return np.log(p) - np.log1p(-p)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """The confidences of log-odds."""
    return 0.5 * (1 + np.tanh(0.5 * z))


def predict(points: np.ndarray, index: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The posterior mean of a Gaussian process (Rasmussen and Williams, eq. 2.25) with the likeliest kernel.

    Args:
        points: N masks, (N, d), from `pooled_masks`.
        index: the masks whose values are known, (n,), none twice, n > 0.
        values: of each, for T targets: (n, T).

    Returns:
        Of every mask, (N, T); at `index` the values themselves.
    """
    if len(index) == len(points):
        return values[np.argsort(index)]
    mean = values.mean(axis=0)
    rest = values - mean
    squares = np.einsum("nd,nd->n", points, points)
    inner = points @ points[index].T
    distances = np.maximum(squares[:, None] + squares[index] - 2 * inner, 0)
    scale, inner = _median_distance(points, squares), inner / squares.mean()

    length, linear, noise = _most_likely(
        distances[index[:MOST], :MOST] / scale, inner[index[:MOST], :MOST], rest[:MOST]
    )
    cross = _kernel(distances / scale, inner, length, linear)
    posterior = mean + cross @ np.linalg.solve(cross[index] + noise * np.eye(len(index)), rest)
    posterior[index] = values
    return posterior


def _median_distance(points: np.ndarray, squares: np.ndarray) -> float:
    """Of the squared distances between masks, some hundred of them where there are more."""
    step = -(-len(points) // 512)
    some = points[::step]
    distances = squares[::step, None] + squares[::step] - 2 * some @ some.T
    apart = distances[np.triu_indices(len(some), 1)]
    return max(float(np.median(apart)), 1e-12) if len(apart) else 1.0


def _kernel(distances: np.ndarray, inner: np.ndarray, length: float, linear: float) -> np.ndarray:
    return (1 - linear) * np.exp(-distances / (2 * length)) + linear * inner


def _most_likely(distances: np.ndarray, inner: np.ndarray, rest: np.ndarray) -> tuple[float, float, float]:
    """Length, linear share and noise with the largest likelihood, the variance being what it likes best."""
    chosen, best = USUAL, -np.inf
    if len(rest) < LEAST:
        return chosen
    for length, linear in itertools.product(LENGTHS, LINEAR):
        eigenvalues, basis = np.linalg.eigh(_kernel(distances, inner, length, linear))
        parts = (basis.T @ rest) ** 2
        for noise in NOISES:
            spectrum = np.maximum(eigenvalues, 0) + noise
            scale = (parts / spectrum[:, None]).mean(axis=0) + 1e-9
            likelihood = -len(rest) * np.log(scale).sum() - rest.shape[1] * np.log(spectrum).sum()
            if likelihood > best:
                best, chosen = likelihood, (length, linear, noise)
    return chosen
