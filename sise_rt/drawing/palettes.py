"""Colours that rise evenly in lightness, so that colour-blind readers and grey print keep their order."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from sise_rt.errors import ArgumentError

PALETTES = {
    "inferno": cv2.COLORMAP_INFERNO,
    "magma": cv2.COLORMAP_MAGMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
}
"""By their usual names: those of matplotlib (Smith and van der Walt 2015; cividis: Nunez et al. 2018)."""

INFERNO = "inferno"

# Purple and orange, as the ends of ColorBrewer's PuOr: no kind of colour blindness takes one for the other,
# and in grey the one is dark and the other light.
PURPLE, ORANGE = (74, 32, 130), (255, 150, 20)


@lru_cache(maxsize=len(PALETTES))
def palette_colours(name: str) -> np.ndarray:
    """The colours of a palette, (256, 3) uint8 RGB, from its dark end to its light one.

    Raises:
        ArgumentError: there is no such palette.
    """
    require_palette(name)
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    return np.ascontiguousarray(cv2.applyColorMap(ramp, PALETTES[name])[:, 0, ::-1])


def require_palette(name: str) -> None:
    """Refuse what is no palette's name, with an `ArgumentError`."""
    if not isinstance(name, str) or name not in PALETTES:
        raise ArgumentError(f"no palette {name!r}; known are {', '.join(PALETTES)}", settings=("palette",))
