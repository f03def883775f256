"""Extremal perturbations (Fong, Patrick and Vedaldi, ICCV 2019): the part of given area that serves a class most.

Written from the paper's equations: the area constraint by ranking, and the smooth maximum convolution.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import ModelError
from sise_rt.preprocess import resize_map

from .query import Finding, Found, Query

Score = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

CELLS = 32  # parameters along the shorter side
REACH = 4  # a mask's point depends on 2 * REACH parameters along each axis
TEMPERATURE = 1 / 20  # of the smooth maximum
PRESSURE = 2.0, 30.0  # weight of the area penalty against the score, from the first step to the last
RATE, MOMENTUM = 0.05, 0.9


def extremal_perturbation(
    query: Query, *, areas: tuple[float, ...] = (0.025, 0.05, 0.1, 0.2), steps: int = 100
) -> list[Found]:
    """The mean over areas of the mask m that maximises z(m * x), z the target's logit, at that area.

    As in the paper's benchmarks the masks of several areas are added up, the most important part being in all
    of them; its blur of the sum, which only breaks ties, is left out. What a mask hides is zero in the
    model's input space, as for the other methods here, so that their maps answer the same question; the paper
    blurs. A logit has no scale of its own, so z is divided by the sum of the magnitudes of its gradient with
    respect to the mask's parameters at the start.

    Args:
        query: the picture.
        areas: shares of the picture, each between 0 and 1.
        steps: of gradient ascent; each is one forward and one backward pass an area.

    Raises:
        BundleError: the bundle has no gradient with respect to the image.
        ModelError: the model's numbers are not finite for masked copies of the picture.
        ValueError: an option is out of its range.
    """
    if not areas or not all(0 < area < 1 for area in areas) or steps < 1:
        raise ValueError(
            f"areas {areas}, steps {steps}: each area between 0 and 1, and at least 1 step needed"
        )
    fixed = query.engine.manifest.input.get("batch")
    batch = int(fixed or min(query.batch_size or len(areas), len(areas)))
    passes, found = steps * len(areas), list[Found]()
    tick = query.ticker(passes * len(query.targets))
    for target in query.targets:
        own, masks = query.on_own_clock(), []
        with own.clock("scoring"):
            for start in range(0, len(areas), batch):
                some = areas[start : start + batch]
                masks += optimise(masked_score(query, int(target), tick), query.size, some, steps)
        if not masks:
            found.append(query.no_evidence(target, "no pixel speaks"))
            continue
        found.append(Finding(np.mean(masks, axis=0), passes, passes, batch, own.clock.seconds))
    return found
