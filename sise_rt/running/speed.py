"""How long masked scoring takes on each of several providers."""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping
from statistics import median
from typing import TypeVar

import numpy as np

from .engine import Engine

MASKS, ROUNDS = 8, 7
NOISE = 0  # the seed of the picture and the maps

Name = TypeVar("Name", bound=Hashable)


def milliseconds(engines: Mapping[Name, Engine], rounds: int = ROUNDS) -> dict[Name, float]:
    """Milliseconds that a masked copy takes in the score graph, on each engine.

    Engines take turns, so that whatever else the machine does weighs on all of them, and each has run twice
    before.

    Args:
        engines: of one bundle, by whatever names.
        rounds: that are timed; the median counts.
    """
    taken: dict[Name, list[float]] = {name: [] for name in engines}
    for turn in range(2 + rounds):
        for name, engine in engines.items():
            seconds = _once(engine)
            if turn >= 2:
                taken[name].append(seconds)
    return {name: 1e3 * median(seconds) for name, seconds in taken.items()}


def _once(engine: Engine) -> float:
    """Seconds a mask, of one pass over noise at the middle block's size."""
    manifest, random = engine.manifest, np.random.default_rng(NOISE)
    block = manifest.blocks[len(manifest.blocks) // 2]
    count = engine.sessions.at_once(MASKS)
    image = random.standard_normal((1, *manifest.preprocess.input_size)).astype(np.float32)
    maps = random.random((count, block.height, block.width), np.float32)
    scorer = engine.scorer(image, np.zeros(1, np.int64))
    start = time.perf_counter()
    scorer(maps)
    return (time.perf_counter() - start) / count
