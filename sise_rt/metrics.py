"""How good a map is: its agreement with a marked object, and the model's confidence on what it keeps.

A map is any finite array (H, W) of one image and target, whatever made it; a truth is a bool array of its
shape; an image is preprocessed, (C, H, W) float. Other arrays, and settings out of range, are refused with a
ValueError.

Every result is a fraction in [0, 1] for one image; a data set's is the mean over its images. What has no
meaning for an image is NaN, for the caller to count and leave out.

"The k highest pixels" are taken by descending value, of equal values the first in row-major order first. That
rule, not the evidence, ranks a map of many equal values: state it beside the numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Confidence = Callable[
    [np.ndarray], np.ndarray
]  # images (N, C, H, W) float32 -> probabilities (N,) of a class

ROUNDING = 1e-6  # how far a float32 softmax may lie outside [0, 1]


# ---- agreement with a marked object ----


def ebpg(map_: np.ndarray, truth: np.ndarray) -> float:
    """Energy-based pointing game: the share of the map's positive energy that lies in the truth.

    Negative values count as 0. Adding a constant to a map, as min-max normalising does, changes this metric
    alone: state how maps were normalised. A constant positive map scores the truth's share of the image.
    Source: Wang et al., Score-CAM, CVPR Workshops 2020.

    Returns:
        Fraction; NaN for an empty truth and for a map without a positive value.
    """
    map_, truth = _map_and_truth(map_, truth)
    highest = map_.max()
    if highest <= 0 or not truth.any():
        return np.nan
    energy = np.maximum(map_, 0) / highest  # so that no sum overflows
    inside = energy[truth].sum()
    return float(inside / (inside + energy[~truth].sum()))


def miou(map_: np.ndarray, truth: np.ndarray, share: float = 0.2) -> float:
    """Intersection over union of the map's highest pixels with the truth.

    Source: Sattarzadeh et al., SISE, AAAI 2021, which publishes no code for it.

    Args:
        map_: (H, W).
        truth: bool (H, W).
        share: of the pixels, 0 < share <= 1; exactly round(share * H * W), halves to even, are compared.

    Returns:
        Fraction, of which the mean over images is mIoU; NaN for an empty truth.

    Raises:
        ValueError: as for every metric, or the share is out of range or rounds to no pixel.
    """
    map_, truth = _map_and_truth(map_, truth)
    if not 0 < share <= 1 or round(share * map_.size) == 0:
        raise ValueError(
            f"share is {share}, where 0 < share <= 1 and at least a pixel of {map_.shape} are needed"
        )
    if not truth.any():
        return np.nan
    top = _highest(map_, round(share * map_.size))
    return float((top & truth).sum() / (top | truth).sum())


def bbox(map_: np.ndarray, truth: np.ndarray) -> float:
    """The share of the map's n highest pixels that lie in the truth, where n is the truth's area.

    Every truth counts, however large; the authors' code leaves out those over a third of the image, which a
    caller can do by `truth.mean()`. Source: Schulz et al., Restricting the Flow, ICLR 2020.

    Returns:
        Fraction; NaN for an empty truth.
    """
    map_, truth = _map_and_truth(map_, truth)
    if not truth.any():
        return np.nan
    return float(truth[_highest(map_, int(truth.sum()))].mean())


def pointing_game(map_: np.ndarray, truth: np.ndarray, tolerance: float = 15) -> float:
    """Whether the map's highest pixel is at most `tolerance` from the nearest pixel of the truth.

    Of several maxima the first in row-major order is taken, so that a constant map points at a corner.
    TorchRay wants a distance strictly below the tolerance. Source: Zhang et al., Top-down Neural Attention by
    Excitation Backprop, ECCV 2016; they report the mean over classes of each class's mean.

    Args:
        map_: (H, W).
        truth: bool (H, W).
        tolerance: Euclidean distance in pixels; 0 wants the highest pixel itself in the truth.

    Returns:
        1.0 for a hit, 0.0 for a miss; NaN for an empty truth.

    Raises:
        ValueError: as for every metric, or the tolerance is negative.
    """
    map_, truth = _map_and_truth(map_, truth)
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}, where 0 or more pixels are needed")
    if not truth.any():
        return np.nan
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    rows, columns = np.nonzero(truth)
    return float(np.sqrt(((rows - row) ** 2 + (columns - column) ** 2).min()) <= tolerance)


# ---- the confidence on what the map keeps ----


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
        ValueError: as for every metric, or the share is out of range.
    """
    map_ = _map(map_)
    if not 0 < share < 1:
        raise ValueError(f"share is {share}, where 0 < share < 1 is needed")
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
        ValueError: the arrays are not an image and its masks, or `confidence` gives no probability for each.
    """
    image, masks = _image(image), np.asarray(masks)
    if masks.ndim != 3 or masks.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"masks have shape {masks.shape}, where (M, H, W) of the image {image.shape} is needed"
        )
    if masks.dtype.kind not in "biuf" or not ((masks >= 0) & (masks <= 1)).all():
        raise ValueError("masks need bool or real values in [0, 1]: scale them")
    return _confidences(
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
        ValueError: the shapes differ, or values are not in [0, 1].
    """
    whole, masked = _pair(whole, masked)
    lost = np.full(whole.shape, np.nan)
    np.divide(np.maximum(whole - masked, 0), whole, out=lost, where=whole > 0)
    return lost


def increase(whole: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Whether the masked image gives more confidence than the whole one: 1.0 or 0.0, element-wise.

    Arguments, errors and source are those of `drop`; the mean over images is Increase.
    """
    whole, masked = _pair(whole, masked)
    return np.asarray(masked > whole, np.float64)


# ---- the confidence while pixels go and come ----


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
        ValueError: the arrays are not a map and its image, or `confidence` gives no probability for each.
    """
    map_, image = _map_and_image(map_, image)
    return _curve(map_, image, np.zeros_like(image), confidence, step, batch)


def insertion(
    map_: np.ndarray, image: np.ndarray, confidence: Confidence, *, step: int = 224, batch: int = 32
) -> Curve:
    """The confidence while pixels of the `blurred` image become sharp; of a good map the area is large.

    Arguments, errors and source are those of `deletion`.
    """
    map_, image = _map_and_image(map_, image)
    return _curve(map_, blurred(image), image, confidence, step, batch)


def blurred(image: np.ndarray) -> np.ndarray:
    """Each channel of the image under a Gaussian of 11 x 11 pixels and sigma 5, with 0 beyond the border.

    RISE's code names these numbers and pads with 0 too, but folds the Gaussian's tails back into the
    11 x 11 pixels, which makes its kernel flatter.
    """
    import cv2

    channels = [
        cv2.GaussianBlur(channel, (11, 11), 5, borderType=cv2.BORDER_CONSTANT)
        for channel in _image(image).astype(np.float64)
    ]
    return np.stack(channels).astype(np.float32)


def _curve(
    map_: np.ndarray, start: np.ndarray, end: np.ndarray, confidence: Confidence, step: int, batch: int
) -> Curve:
    _positive("step", step)
    rank = np.argsort(_descending(map_)).reshape(map_.shape)
    steps = -(-map_.size // step)
    changed = np.minimum(np.arange(steps + 1) * step, map_.size)
    values = _confidences(
        lambda part: np.where((rank < changed[part, None, None])[:, None], end, start),
        len(changed),
        confidence,
        batch,
    )
    auc = (values.sum() - (values[0] + values[-1]) / 2) / steps
    return Curve(float(auc), changed / map_.size, values)


def _confidences(
    images: Callable[[slice], np.ndarray], count: int, confidence: Confidence, batch: int
) -> np.ndarray:
    """The confidence on each of `count` images, which are made and scored a batch at a time."""
    _positive("batch", batch)
    values = np.empty(count)
    for first in range(0, count, batch):
        part = slice(first, min(first + batch, count))
        scored = np.asarray(confidence(images(part)))
        if scored.shape != values[part].shape:
            raise ValueError(f"confidence has shape {scored.shape}, where {values[part].shape} is needed")
        values[part] = _probabilities("confidence", scored)
    return values


def _descending(map_: np.ndarray) -> np.ndarray:
    return np.argsort(-map_, axis=None, kind="stable")


def _highest(map_: np.ndarray, count: int) -> np.ndarray:
    """The `count` highest pixels, bool (H, W)."""
    top = np.zeros(map_.size, bool)
    top[_descending(map_)[:count]] = True
    return top.reshape(map_.shape)


# ---- what may come in ----


def _map(map_: np.ndarray) -> np.ndarray:
    map_ = _real("the map", map_)
    if map_.ndim != 2 or map_.size == 0:
        raise ValueError(f"the map has shape {map_.shape}, where (H, W) is needed")
    return map_


def _map_and_truth(map_: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    map_, truth = _map(map_), np.asarray(truth)
    if truth.dtype != bool:
        raise ValueError(
            f"the truth is {truth.dtype}, where bool is needed: pass truth > 0, or what marks it"
        )
    if truth.shape != map_.shape:
        raise ValueError(f"the truth has shape {truth.shape}, the map {map_.shape}: resize one of them first")
    return map_, truth


def _map_and_image(map_: np.ndarray, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    map_, image = _map(map_), _image(image)
    if image.shape[1:] != map_.shape:
        raise ValueError(f"the image has shape {image.shape}, the map {map_.shape}: resize the map first")
    return map_, image


def _image(image: np.ndarray) -> np.ndarray:
    if np.asarray(image).dtype.kind != "f":
        raise ValueError(
            f"the image is {np.asarray(image).dtype}, where float is needed: preprocess it first"
        )
    image = _real("the image", image)
    if image.ndim != 3 or image.size == 0:
        raise ValueError(f"the image has shape {image.shape}, where (C, H, W) is needed")
    return image.astype(np.float32)


def _real(name: str, values: np.ndarray) -> np.ndarray:
    """The values as float64, once they are known to be finite real numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {values.dtype}, where real numbers are needed")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has values that are not finite")
    return values.astype(np.float64)


def _pair(whole: np.ndarray, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole, masked = _probabilities("whole", whole), _probabilities("masked", masked)
    if whole.shape != masked.shape:
        raise ValueError(f"whole has shape {whole.shape}, masked {masked.shape}: give one of each per image")
    return whole, masked


def _probabilities(name: str, values: np.ndarray) -> np.ndarray:
    values = _real(name, values)
    if values.size and not (values.min() >= -ROUNDING and values.max() <= 1 + ROUNDING):
        raise ValueError(
            f"{name} has values from {values.min():g} to {values.max():g}, where probabilities are needed: "
            "apply softmax or sigmoid first"
        )
    return values.clip(0, 1)


def _positive(name: str, value: int) -> None:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value}, where a whole number of at least 1 is needed")
