"""Masked scoring by log-odds: where probabilities are saturated, these still differ."""

from __future__ import annotations

import numpy as np

from sise_rt.pictures.resizing import resize_map

from .engine import Engine
from .finite import require_finite
from .logits import log_odds


class LogOddsScorer:
    """Scores masked copies of one image by the forward graph, as `Scorer` does by the score graph.

    Args:
        engine: of the bundle.
        image: (1, C, H, W).
        targets: (T,) class indices.

    Attributes:
        targets: how many there are.
        size: (H, W) of the image.
    """

    def __init__(self, engine: Engine, image: np.ndarray, targets: np.ndarray):
        self._engine, self._image, self._indices = engine, image, targets.tolist()
        self.targets, self.size = len(self._indices), image.shape[2:]

    def __call__(self, maps: np.ndarray, most: int = 0) -> tuple[np.ndarray, ...]:
        """Score a batch of feature maps (M, h, w).

        Returns:
            Log-odds (M, T), and of each map resized to the input its minimum, its maximum, and the sum of its
            normalised mask over the pixels, each (M,) float32.
        """
        resized = np.array([resize_map(map_, self.size) for map_ in maps], np.float32)
        low, high = resized.min(axis=(1, 2)), resized.max(axis=(1, 2))
        span = np.maximum(high - low, np.finfo(np.float32).tiny)
        masks = (resized - low[:, None, None]) / span[:, None, None]
        logits = self._engine.forward(self._image * masks[:, None])
        require_finite("logits", "for masked copies of this image", logits)
        activation = self._engine.manifest.activation
        odds = [log_odds(logits, target, activation) for target in self._indices]
        return np.stack(odds, axis=1), low, high, masks.sum(axis=(1, 2), dtype=np.float64).astype(np.float32)
