"""Whether the region that a map marks bears the decision: the confidence without it, and with it alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sise_rt.errors import ArgumentError

from .arrays import Confidence
from .confidence import masked_confidence

NEARLY_ALL = 0.8  # of the input: hiding a region of more tells little about it
LEAST = 0.01  # of the confidence that hiding must take: less is lost in the two digits that people go by
SHIFTS, SEED = 8, 0


@dataclass(frozen=True)
class Region:
    """What the model says without a region, and with it alone.

    Attributes:
        area: the region's share of the input.
        whole: the confidence in the whole picture.
        hidden: that without the region.
        alone: that in the region alone.
        random: those without each of the shifted copies, (n,) float64; none where the region is empty or all.
    """

    area: float
    whole: float
    hidden: float
    alone: float
    random: np.ndarray

    @property
    def bears(self) -> bool | None:
        """Whether hiding the region takes `LEAST` of the confidence, and as much more than its copies do.

        The copies count by their mean. None where there is nothing to compare: the region is empty, or is the
        whole picture.
        """
        if not len(self.random):
            return None
        elsewhere = min(self.whole, float(self.random.mean()))
        return not spared(self.hidden, elsewhere, self.whole)


def spared(hidden: float, before: float, whole: float) -> bool:
    """Whether a confidence falls from `before` to `hidden` by less than `LEAST` of that in the whole."""
    return before - hidden < LEAST * whole


def borne_by(
    region: np.ndarray,
    image: np.ndarray,
    whole: float,
    confidence: Confidence,
    *,
    shifts: int = SHIFTS,
    seed: int = SEED,
    batch: int = 16,
) -> Region:
    """Hide a region, show it alone, and hide copies of it that lie elsewhere.

    What is hidden becomes 0 in the model's input, as under the masks of SISE. A copy is the region moved by a
    random number of rows and columns on a torus: what leaves one side enters at the other, so that copies
    have the region's area, and its shape but for that cut. So a place is held against chance in spatial
    statistics (Lotwick and Silverman, J. R. Stat. Soc. B 44, 1982); that hiding what a map marks is to be
    held against hiding as much at random is from Hooker et al., ROAR, NeurIPS 2019.

    Args:
        region: bool (H, W).
        image: (C, H, W), preprocessed.
        whole: the confidence in the whole image, in [0, 1].
        confidence: the probability of one class, of each image of a batch.
        shifts: how many copies.
        seed: of the copies' places.
        batch: images a call.

    Raises:
        ArgumentError: the region is no bool array of the image's size, or as `masked_confidence` does.
    """
    region = np.asarray(region)
    if region.dtype != bool:
        raise ArgumentError(
            f"the region is {region.dtype}, where bool is needed: compare the map with a level"
        )
    shown = [~region, region]
    if region.any() and not region.all():
        shown += [~copy for copy in shifted_copies(region, shifts, seed)]
    hidden, alone, *random = masked_confidence(image, np.array(shown), confidence, batch=batch)
    return Region(float(region.mean()), float(whole), float(hidden), float(alone), np.array(random))


def shifted_copies(region: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """A region (H, W) moved on a torus, by any number of rows and columns but none of both."""
    height, width = region.shape
    places = np.random.default_rng(seed).integers(1, height * width, count)
    return [np.roll(region, divmod(int(place), width), (0, 1)) for place in places]
