"""The model's confidence while pixels go and come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .arrays import Confidence, checked_image, confidences_of, descending, map_and_image, positive


@dataclass(frozen=True)
class Curve:
    """The confidence while an image changes, the map's highest pixels first.

    Attributes:
        auc: area under the curve by the trapezoid rule, all steps of equal width, in [0, 1].
        share: of the pixels that have changed, (steps + 1,) from 0 to 1; the last step may be a short one.
        confidence: at each share, (steps + 1,).
    """

    auc: float
    share: np.ndarray
    confidence: np.ndarray


def deletion(
    map_: np.ndarray, image: np.ndarray, confidence: Confidence, *, step: int = 224, batch: int = 32
) -> Curve:
    """The confidence while pixels become 0 in the model's input; of a good map the area is small.

    Source: Petsiuk et al., RISE, BMVC 2018. Their code takes equal values the other way round.

    Args:
        map_: (H, W).
        image: (C, H, W).
        confidence: the probability of one class, of each image of a batch; RISE takes the top class, softmax.
        step: pixels that change at a time; RISE takes 224, and 224 * 8 for many images, of 224 x 224 pixels.
        batch: images a call, which bounds the memory; 1 for models that take one at a time.

    Raises:
        ArgumentError: the arrays are not a map and its image, or `confidence` gives no probability for each.
    """
    map_, image = map_and_image(map_, image)
    return _curve(map_, image, np.zeros_like(image), confidence, step, batch)


def insertion(
    map_: np.ndarray, image: np.ndarray, confidence: Confidence, *, step: int = 224, batch: int = 32
) -> Curve:
    """The confidence while pixels of the `blurred` image become sharp; of a good map the area is large.

    Arguments, errors and source are those of `deletion`.
    """
    map_, image = map_and_image(map_, image)
    return _curve(map_, blurred(image), image, confidence, step, batch)


def blurred(image: np.ndarray) -> np.ndarray:
    """Each channel of the image under a Gaussian of 11 x 11 pixels and sigma 5, with 0 beyond the border.

    RISE's code names these numbers and pads with 0 too, but folds the Gaussian's tails back into the
    11 x 11 pixels, which makes its kernel flatter.
    """
    import cv2

    channels = [
        cv2.GaussianBlur(channel, (11, 11), 5, borderType=cv2.BORDER_CONSTANT)
        for channel in checked_image(image).astype(np.float64)
    ]
    return np.stack(channels).astype(np.float32)


def _curve(
    map_: np.ndarray, start: np.ndarray, end: np.ndarray, confidence: Confidence, step: int, batch: int
) -> Curve:
    positive("step", step)
    rank = np.argsort(descending(map_)).reshape(map_.shape)
    steps = -(-map_.size // step)
    changed = np.minimum(np.arange(steps + 1) * step, map_.size)
    values = confidences_of(
        lambda part: np.where((rank < changed[part, None, None])[:, None], end, start),
        len(changed),
        confidence,
        batch,
    )
    auc = (values.sum() - (values[0] + values[-1]) / 2) / steps
    return Curve(float(auc), changed / map_.size, values)
