"""How much of a picture a map marks."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import ArgumentError

from .arrays import checked_map


def complexity(map_: np.ndarray) -> float:
    """The mean of a map in [0, 1]: low of one that marks little, 1 of one that marks everything.

    Source: Poppi et al., Revisiting the Evaluation of Class Activation Mapping, CVPR-W 2021; as a share of
    the pixels, as pytorch-grad-cam has it.

    Args:
        map_: (H, W), in [0, 1].

    Raises:
        ArgumentError: it is no map, or a value lies elsewhere.
    """
    map_ = checked_map(map_)
    if map_.min() < 0 or map_.max() > 1:
        raise ArgumentError(f"the map goes from {map_.min():g} to {map_.max():g}: bring it to 0 to 1 first")
    return float(map_.mean())
