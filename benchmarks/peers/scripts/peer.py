"""What every peer shares: the picture's way into the network, and the count of the passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Settings = dict[str, Any]
Explain = Callable[[np.ndarray, int], np.ndarray]
"""From a picture, uint8 (224, 224, 3), and a class to a map (224, 224)."""


@dataclass
class Count:
    """Images that the network was run on, forwards and backwards."""

    forward: int = 0
    backward: int = 0


def normalised(picture: np.ndarray) -> np.ndarray:
    """The network's input, float32 (1, 3, 224, 224)."""
    values = (picture / np.float32(255) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def softmax(logits: np.ndarray) -> np.ndarray:
    """Confidences of logits, both (N, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
