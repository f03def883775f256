"""ROAD: the confidence while pixels are replaced by what their surroundings suggest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sise_rt.errors import ArgumentError

from .arrays import Confidence, checked_image, confidences_of, descending, map_and_image

SHARES = (0.2, 0.4, 0.6, 0.8)
# Standard deviation, in the model's input: what is filled in is not to be told by its smoothness.
NOISE = 0.01
NEIGHBOURS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}  # and their opposites
SEED = 0


@dataclass(frozen=True)
class Road:
    """The confidence with some of the pixels replaced.

    Attributes:
        shares: of the pixels that were replaced, (S,).
        morf: the confidence at each, most relevant pixels first, (S,).
        lerf: likewise, least relevant pixels first.
    """

    shares: np.ndarray
    morf: np.ndarray
    lerf: np.ndarray

    @property
    def value(self) -> float:
        """Half the mean of lerf - morf, in [-0.5, 0.5]: high of a good map, 0 of one that says nothing."""
        return float((self.lerf - self.morf).mean() / 2)


def road(
    map_: np.ndarray,
    image: np.ndarray,
    confidence: Confidence,
    *,
    shares: Sequence[float] = SHARES,
    batch: int = 32,
) -> Road:
    """The confidence while the map's highest pixels, and its lowest, are filled in by `imputed`.

    A model cannot tell from the shape of what is filled in which pixels were, as it can from a grey region.
    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022;
    the difference is pytorch-grad-cam's.

    Args:
        map_: (H, W).
        image: (C, H, W).
        confidence: the probability of one class, of each image of a batch.
        shares: of the pixels, each between 0 and 1; exactly round(share * H * W) are replaced.
        batch: images a call; 1 for models that take one at a time.

    Raises:
        ArgumentError: the arrays are not a map and its image, a share is out of range, or `confidence` gives
            no probability for each.
    """
    map_, image = map_and_image(map_, image)
    order, copies = descending(map_), []
    counts = [round(share * map_.size) if 0 < share < 1 else 0 for share in shares]
    if not counts or not all(0 < count < map_.size for count in counts):
        raise ArgumentError(
            f"shares are {tuple(shares)}: each has to replace some of the pixels, and not all"
        )
    for count in counts:
        for chosen in (order[:count], order[-count:]):
            known = np.ones(map_.size, bool)
            known[chosen] = False
            copies.append(imputed(image, known.reshape(map_.shape)))
    values = confidences_of(lambda part: np.stack(copies[part]), len(copies), confidence, batch)
    return Road(np.array(counts) / map_.size, values[::2], values[1::2])


def imputed(image: np.ndarray, known: np.ndarray, *, noise: float = NOISE, seed: int = SEED) -> np.ndarray:
    """The image with each unknown pixel as the weighted mean of its eight neighbours, and a little noise.

    Neighbours beside count 1/6 and those across 1/12, known or not, so that all are solved for at once;
    beyond the border there are none, and the others count more.

    Args:
        image: (C, H, W).
        known: bool (H, W), of which some are true.
        noise: standard deviation of what is added to the pixels that are filled in.
        seed: of the noise.

    Returns:
        (C, H, W) float32.

    Raises:
        ArgumentError: the image is none, its pixels are of another number, or none is known.
    """
    image, known = checked_image(image), np.asarray(known)
    if known.shape != image.shape[1:] or known.dtype != bool or not known.any():
        raise ArgumentError(
            f"known is {known.dtype} {known.shape}: bool {image.shape[1:]} is needed, with some true"
        )
    filled = image.astype(np.float64)
    if not known.all():
        values = _solved(filled, known)
        values += noise * np.random.default_rng(seed).standard_normal(values.shape)
        filled[:, ~known] = values
    return filled.astype(np.float32)


def _solved(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What the unknown pixels are without noise, (C, unknown), in row-major order."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    place = np.cumsum(~known.ravel()).reshape(known.shape) - 1  # of each unknown pixel among them
    count = int((~known).sum())
    weights, given = np.zeros(count), np.zeros((image.shape[0], count))
    rows, columns, values = [], [], []
    for (down, right), weight in NEIGHBOURS.items():
        for sign in (1, -1):
            here, there = _shifted(known.shape, sign * down, sign * right)
            asked = ~known[here]
            own = place[here][asked]
            weights += weight * np.bincount(own, minlength=count)
            seen = known[there][asked]
            for channel, plane in zip(given, image, strict=True):
                channel += np.bincount(own[seen], weight * plane[there][asked][seen], minlength=count)
            rows.append(own[~seen])
            columns.append(place[there][asked][~seen])
            values.append(np.full((~seen).sum(), -weight))
    diagonal = np.arange(count)
    entries = np.concatenate([weights, *values])
    at = np.concatenate([diagonal, *rows]), np.concatenate([diagonal, *columns])
    system = coo_array((entries, at), shape=(count, count)).tocsc()
    return np.reshape(spsolve(system, given.T), (count, -1)).T


def _shifted(
    shape: tuple[int, ...], down: int, right: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where pixels have a neighbour so far away, and where these neighbours are."""
    here, there = [], []
    for side, step in zip(shape, (down, right), strict=True):
        here.append(slice(max(0, -step), side - max(0, step)))
        there.append(slice(max(0, step), side - max(0, -step)))
    return (here[0], here[1]), (there[0], there[1])
