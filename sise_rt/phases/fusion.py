"""Phase 4 (SISE): fusing the blocks' visualization maps into one explanation (Fig. 5), in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sise_rt.pictures.flatness import is_constant

STEEPNESS = 100.0  # of the soft threshold


def normalise(map_: np.ndarray) -> np.ndarray | None:
    """Min-max to [0, 1]; None for a constant map, which says nothing."""
    low, high = map_.min(), map_.max()
    # A visualization map's values are small (a mask's share of its area), so its range is judged against
    # itself.
    if not high > low or is_constant(low / max(abs(low), abs(high)), high / max(abs(low), abs(high))):
        return None
    return (map_ - low) / (high - low)


def otsu(map_: np.ndarray) -> np.ndarray:
    """The activated region of a map in [0, 1]: 1.0 above Otsu's threshold over 256 bins, else 0.0."""
    return (map_ > _threshold(map_)).astype(np.float64)


def otsu_soft(map_: np.ndarray) -> np.ndarray:
    """The activated region of a map in [0, 1] with a soft edge: a sigmoid around Otsu's threshold.

    The threshold is raised by half where fewer than a tenth of the pixels reach that. This is the form in the
    authors' code; the paper describes the hard one.
    """
    threshold = _threshold(map_)
    if np.mean(map_ >= 1.5 * threshold) < 0.1:
        threshold *= 1.5
    return 0.5 * (1 + np.tanh(0.5 * STEEPNESS * (map_ - threshold)))


def import_otsu() -> Callable[..., float]:
    """Scikit-image's threshold; the first import takes most of a second."""
    from skimage.filters import threshold_otsu

    return threshold_otsu


def _threshold(map_: np.ndarray) -> float:
    return float(import_otsu()(map_, nbins=256))


REGIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"otsu": otsu, "otsu-soft": otsu_soft}


def fuse(maps: Sequence[np.ndarray], region: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """E_1 = U_1, E_b = (E_{b-1} + U_b) * region(U_b) (Fig. 5).

    Args:
        maps: U_b (H, W) in [0, 1] of each usable block, in the order of the data; at least one.
        region: `otsu` or `otsu_soft`.

    Returns:
        (H, W) float64 in [0, number of maps].
    """
    explanation = maps[0]
    for map_ in maps[1:]:
        explanation = (explanation + map_) * region(map_)
    return explanation
