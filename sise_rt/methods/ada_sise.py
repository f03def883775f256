"""Ada-SISE (Sudhakar et al., 2021): SISE with a selection threshold that each block finds for itself.

The paper states the idea and its saving; the rule is that of two independent implementations that agree:
Otsu's threshold on the positive gradient scores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sise_rt.phases.fusion import REGIONS

from .method import Method, Option
from .query import Answer, Call, Clock, Query
from .sise import perturb_and_fuse


def ada_sise(query: Query, call: Call, clock: Clock, *, fusion: str, threshold: str) -> list[Answer]:
    """Explain the targets.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        fusion: `otsu` (the paper) or `otsu-soft` (the authors' code).
        threshold: Otsu's from a `histogram` of 256 bins, or of the `sorted` scores themselves, which a
            block of few maps may want.

    Raises:
        ModelError: the model's numbers are not finite for masked copies of the picture.
    """
    selection = partial(select_adaptively, otsu=THRESHOLDS[threshold])
    return perturb_and_fuse(query, call, clock, selection, REGIONS[fusion])


def histogram_otsu(values: np.ndarray) -> float:
    """Otsu's threshold over 256 bins of at least two distinct values (n,): where the upper class begins."""
    from skimage.filters import threshold_otsu

    # It gives the middle of the lower class's last bin, which may hold values on either side of it.
    return float(threshold_otsu(values, nbins=256) + np.ptp(values) / 256 / 2)


def sorted_otsu(values: np.ndarray) -> float:
    """Otsu's threshold of at least two distinct values (n,) themselves: the smallest of the upper class."""
    ordered = np.sort(values)
    count = np.arange(1, len(ordered))
    total = np.cumsum(ordered)
    lower, upper = total[:-1] / count, (total[-1] - total[:-1]) / (len(ordered) - count)
    between = count * (len(ordered) - count) * (upper - lower) ** 2
    between[ordered[1:] == ordered[:-1]] = -1.0  # equal values stay together
    return float(ordered[int(between.argmax()) + 1])


THRESHOLDS: dict[str, Callable[[np.ndarray], float]] = {"histogram": histogram_otsu, "sorted": sorted_otsu}


def select_adaptively(alpha: np.ndarray, otsu: Callable[[np.ndarray], float]) -> np.ndarray:
    """The positive gradient scores whose share of the largest reaches Otsu's threshold of these shares.

    Fewer than two distinct positive scores are all kept.

    Args:
        alpha: gradient scores (K,).
        otsu: gives the threshold of the shares.

    Returns:
        bool (K,).
    """
    alpha = alpha.astype(np.float64)
    positive = alpha > 0
    if len(np.unique(alpha[positive])) < 2:
        return positive
    shares = alpha / alpha.max()
    return positive & (shares >= otsu(shares[positive]))


METHOD = Method(
    name="ada-sise",
    run=ada_sise,
    help="Ada-SISE (Sudhakar et al., 2021): SISE with a threshold that each block finds for itself.",
    options=(
        Option(
            "fusion", "otsu", "The paper's region of a block, or the authors' code's.", choices=tuple(REGIONS)
        ),
        Option(
            "threshold", "histogram", "Otsu's, of a histogram or of the scores.", choices=tuple(THRESHOLDS)
        ),
    ),
    features=True,
    gradients=True,
    blocks=True,
)
