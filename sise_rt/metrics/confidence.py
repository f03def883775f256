"""The model's confidence on what a map keeps."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import ArgumentError

from .arrays import Confidence, checked_image, checked_map, confidences_of, pair


def kept_pixels(map_: np.ndarray, share: float = 0.15) -> np.ndarray:
    """The pixels that Drop and Increase show: those above the value at descending index int(share * H * W).

    At most that many are kept, fewer where others equal that value, none of a constant map: report the mean
    of the mask, the kept fraction, beside Drop and Increase. Source: Sattarzadeh et al., SISE, AAAI 2021;
    strictly above is what the authors' code takes.

    Args:
        map_: (H, W).
        share: of the pixels, 0 < share < 1.

    Returns:
        bool (H, W).

    Raises:
        ArgumentError: as for every metric, or the share is out of range.
    """
    map_ = checked_map(map_)
    if not 0 < share < 1:
        raise ArgumentError(f"share is {share}, where 0 < share < 1 is needed")
    ascending = map_.size - 1 - int(share * map_.size)
    return map_ > np.partition(map_, ascending, axis=None)[ascending]


def masked_confidence(
    image: np.ndarray, masks: np.ndarray, confidence: Confidence, *, batch: int = 32
) -> np.ndarray:
    """The confidence on the image times each mask, (M,) float64.

    What a mask leaves out becomes 0 in the model's input: with mean and std preprocessing, the mean colour.

    Args:
        image: (C, H, W).
        masks: (M, H, W), bool or in [0, 1].
        confidence: the probability of one class, of each image of a batch.
        batch: images a call; 1 for models that take one at a time.

    Raises:
        ArgumentError: the arrays are no image and its masks, or `confidence` gives no probability for each.
    """
    image, masks = checked_image(image), np.asarray(masks)
    if masks.ndim != 3 or masks.shape[1:] != image.shape[1:]:
        raise ArgumentError(
            f"masks have shape {masks.shape}, where (M, H, W) of the image {image.shape} is needed"
        )
    if masks.dtype.kind not in "biuf" or not ((masks >= 0) & (masks <= 1)).all():
        raise ArgumentError("masks need bool or real values in [0, 1]: scale them")
    return confidences_of(
        lambda part: image * masks[part, None].astype(np.float32), len(masks), confidence, batch
    )


def drop(whole: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """The share of the confidence that the masked image loses: max(0, whole - masked) / whole, element-wise.

    Source: Chattopadhyay et al., Grad-CAM++, WACV 2018; the masks are SISE's, `kept_pixels`.

    Args:
        whole: confidence on the whole image, any shape.
        masked: confidence on the masked image, of the same shape.

    Returns:
        Fractions of that shape, of which the mean over images is Drop; NaN where `whole` is 0.

    Raises:
        ArgumentError: the shapes differ, or values are not in [0, 1].
    """
    whole, masked = pair(whole, masked)
    lost = np.full(whole.shape, np.nan)
    np.divide(np.maximum(whole - masked, 0), whole, out=lost, where=whole > 0)
    return lost


def increase(whole: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Whether the masked image gives more confidence than the whole one: 1.0 or 0.0, element-wise.

    Arguments, errors and source are those of `drop`; the mean over images is Increase.
    """
    whole, masked = pair(whole, masked)
    return np.asarray(masked > whole, np.float64)
