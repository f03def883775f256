"""Phase 0: a picture becomes the model's input, and a map finds its way back onto the picture.

Resizing is Pillow's but where a model asks for OpenCV's, because the evaluation transforms that models are
trained against (torchvision's and timm's) are Pillow's; every rounding below is theirs too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sise_rt.bundle import Preprocess
from sise_rt.errors import ArgumentError, ImageError
from sise_rt.wording import counted

from .raster import full_scale
from .reading import MAX_PIXELS
from .resizing import resize_map, resize_picture

LUMA = np.array([299, 587, 114], np.int64)  # thousandths of red, green and blue in grey


@dataclass(frozen=True)
class Placement:
    """Where the model's input lies in the picture.

    Attributes:
        original: the picture's (height, width).
        resized: the picture's (height, width) before it was cropped.
        top: the crop's first row in the resized picture; negative where the crop reaches beyond it.
        left: the crop's first column, likewise.
        input: the crop's, and so the model input's, (height, width).
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int
    input: tuple[int, int]


def preprocess(
    picture: np.ndarray, spec: Preprocess, bit_depth: int | None = None
) -> tuple[np.ndarray, Placement]:
    """Turn a picture into the model's input, as torchvision's and timm's evaluation transforms do.

    Crop mode `center` resizes so that the picture covers (height, width) / crop_pct and cuts the middle out;
    `squash` resizes to exactly that size first; `cut` cuts the middle out first and resizes that, so that its
    pixels lie up to half a pixel of the input beside where the placement tells. A picture of exactly the
    input's size stays as it is where the crop was only assumed. Grey is ITU-R 601 luma, taken before
    resizing. 8-bit pictures for a model of 8 bits are resized in 8 bits; others are brought to the model's
    scale, v (2^b - 1) / (2^bit_depth - 1) for a model of b bits, and resized in float32 by the same filter.

    Args:
        picture: uint8 or uint16, (H, W, 3) RGB for models of 1 or 3 channels, else (H, W, C) with their C.
        spec: what the model expects.
        bit_depth: of the picture; by default 8 of uint8, and of uint16 the model's or, if that is 8, 16.

    Returns:
        The input, float32 (1, C, height, width), contiguous; and where it lies in the picture.

    Raises:
        ImageError: the picture does not fit the model, or is too elongated to be resized for it.
    """
    channels, height, width = spec.input_size
    planes = 3 if channels in (1, 3) else channels
    fits = picture.dtype in (np.uint8, np.uint16) and picture.ndim == 3 and picture.shape[2] == planes
    if not fits or picture.size == 0:
        raise ImageError(
            f"a picture {picture.shape} of {picture.dtype} does not fit the model's "
            f"{counted(channels, 'channel')}: "
            f"give uint8 or uint16 (H, W, {planes}), channels last"
        )
    original = (picture.shape[0], picture.shape[1])
    rows, columns = resized = _resized(original, spec)
    if rows * columns > MAX_PIXELS:
        raise ImageError(f"a picture of {original[1]} x {original[0]} is too narrow for the model: crop it")
    floor = spec.crop_floor
    top, left = _crop_start(rows, height, floor), _crop_start(columns, width, floor)
    placement = Placement(original, resized, top, left, (height, width))

    deep = picture.dtype == np.uint16 or spec.bit_depth > 8
    bits = bit_depth or (8 if picture.dtype == np.uint8 else spec.bit_depth if spec.bit_depth > 8 else 16)
    images = _value_planes(picture, channels, bits, spec) if deep else _byte_planes(picture, channels)
    part, size, box = None, resized, (left, top, left + width, top + height)
    if spec.crop_mode == "cut" and not _stays(original, spec):
        part, size, box = _middle(original, spec), (height, width), (0, 0, width, height)
    whole = (resize_picture(image, size, spec.interpolation, part) for image in images)
    pixels = np.dstack([np.asarray(image.crop(box)) for image in whole])
    if deep:  # bicubic and Lanczos filtering leave the range of pixels; in 8 bits it is cut
        pixels = pixels.clip(0, full_scale(spec.bit_depth))
    if spec.color == "BGR" and channels == 3:
        pixels = pixels[..., ::-1]

    values = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)[None], dtype=np.float32)
    values /= np.float32(spec.scale)
    values -= np.asarray(spec.mean, np.float32)[:, None, None]
    values /= np.asarray(spec.std, np.float32)[:, None, None]
    return values, placement


def _byte_planes(picture: np.ndarray, channels: int) -> list[Image.Image]:
    """What is resized of a picture in 8 bits."""
    if channels == 3:
        return [Image.fromarray(picture)]
    if channels == 1:
        return [Image.fromarray(picture).convert("L")]
    return [Image.fromarray(plane) for plane in np.moveaxis(picture, 2, 0)]


def _value_planes(picture: np.ndarray, channels: int, bits: int, spec: Preprocess) -> Iterator[Image.Image]:
    """The planes of a picture in float32, on the model's scale."""
    factor = full_scale(spec.bit_depth) / full_scale(bits)
    planes = np.moveaxis(picture, 2, 0)
    if channels == 1:  # in integers first, so that grey stays as it is
        planes = np.array([(LUMA[:, None, None] * planes).sum(axis=0, dtype=np.float64) / LUMA.sum()])
    for plane in planes:
        yield Image.fromarray((plane * factor).astype(np.float32))


def _resized(original: tuple[int, int], spec: Preprocess) -> tuple[int, int]:
    """The picture's size before cropping, rounded as torchvision and timm round it."""
    if _stays(original, spec):
        return original
    rows, columns = spec.frame
    if spec.crop_mode == "squash":
        return rows, columns
    if rows == columns:
        short, long = min(original), max(original)
        long = int(rows * long / short)
        return (rows, long) if original[0] <= original[1] else (long, rows)
    ratio = min(original[0] / rows, original[1] / columns)
    return round(original[0] / ratio), round(original[1] / ratio)


def _stays(original: tuple[int, int], spec: Preprocess) -> bool:
    """Whether a picture of that (height, width) is neither resized nor cropped."""
    return spec.crop_assumed and original == spec.input_size[1:]


def _middle(original: tuple[int, int], spec: Preprocess) -> tuple[float, float, float, float]:
    """The middle of a picture that has the input's aspect ratio: left, top, right and bottom."""
    _, height, width = spec.input_size
    scale = min(original[0] / height, original[1] / width) * spec.crop_pct
    top, left = (  # never beyond the picture by rounding
        max(0.0, (whole - scale * part) / 2) for whole, part in zip(original, (height, width), strict=True)
    )
    return left, top, original[1] - left, original[0] - top


def _crop_start(size: int, crop: int, floor: bool) -> int:
    if floor:
        return (size - crop) // 2
    return round((size - crop) / 2.0)  # to even at .5, as torchvision


def to_original(map_: np.ndarray, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Put a map over the model's input back on the picture.

    Pixel centres are aligned throughout. Where the picture is smaller than what the model saw, the map is
    averaged and not sampled, so that nothing in it is lost.

    Args:
        map_: (h, w), covers the model's input; of its size or of any other.
        placement: from `preprocess`.

    Returns:
        The map on the picture, float32 (H, W), within `map_`'s range, 0 where the model did not see; and
        bool (H, W), the pixels of which the model saw at least a part.

    Raises:
        ArgumentError: `map_` is not a (h, w) array with values.
    """
    if map_.ndim != 2 or map_.size == 0:
        raise ArgumentError(f"a map is (h, w), not {map_.shape}")
    height, width = placement.input
    whole = resize_map(map_.astype(np.float32), (height, width))
    # Repeating the border keeps the zeros outside the crop from bleeding into it.
    rows = np.clip(np.arange(placement.resized[0]) - placement.top, 0, height - 1)
    columns = np.clip(np.arange(placement.resized[1]) - placement.left, 0, width - 1)
    whole = resize_map(whole[rows[:, None], columns], placement.original)
    np.clip(whole, map_.min(), map_.max(), out=whole)  # rounding

    seen_rows = _seen(placement.original[0], placement.resized[0], placement.top, height)
    seen_columns = _seen(placement.original[1], placement.resized[1], placement.left, width)
    whole[~seen_rows] = 0
    whole[:, ~seen_columns] = 0
    return whole, seen_rows[:, None] & seen_columns


def _seen(original: int, resized: int, start: int, extent: int) -> np.ndarray:
    """Which of the picture's rows (or columns) reach into the crop; in integers, so that edges are exact."""
    index = np.arange(original, dtype=np.int64)
    return (index * resized < (start + extent) * original) & ((index + 1) * resized > start * original)


def seen_rectangle(placement: Placement) -> tuple[float, float, float, float]:
    """Where the model's input lies in the picture: (left, top, right, bottom) in its pixels, within it."""
    (height, width), (rows, columns) = placement.original, placement.resized
    top, left = placement.top, placement.left
    down, right = top + placement.input[0], left + placement.input[1]
    return (
        max(0.0, left * width / columns),
        max(0.0, top * height / rows),
        min(float(width), right * width / columns),
        min(float(height), down * height / rows),
    )


def seen_share(placement: Placement) -> float:
    """The share of the picture's pixels of which the model sees at least a part."""
    rows, columns = (
        _seen(placement.original[i], placement.resized[i], start, placement.input[i]).mean()
        for i, start in enumerate((placement.top, placement.left))
    )
    return float(rows * columns)
