"""How a picture becomes the model's input, as the manifest tells it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import BundleError
from .wording import counted

COLORS = {1: ("GRAY",), 3: ("RGB", "BGR")}  # by channels; a picture has no others
SMALLEST, LARGEST = 1e-9, 1e9  # of what pixels are divided by, or shifted by
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "linear")  # Pillow's, and OpenCV's
CROP_MODES = ("center", "squash", "cut")
FILTERS = {"nearest": "nearest pixel", "lanczos": "Lanczos", "linear": "bilinear as OpenCV's"}  # in words
DEPTHS = range(8, 17)  # bits of a pixel's value
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of red, green and blue in [0, 1]

Number = int | float  # as JSON has it


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the model's input; key names are timm's, plus those from `color` on.

    A pixel value p in [0, 2 ** bit_depth - 1] becomes (p / scale - mean) / std, channels in the
    order of `color`.

    Attributes:
        input_size: (channels, height, width) of the model's input.
        interpolation: `bilinear` or `bicubic`, and since 1.4 `lanczos`, anti-aliased when shrinking; or,
            since 1.4, `nearest`, or `linear`, the bilinear of OpenCV, which is not.
        crop_pct: the crop's share of the resized picture's side, in [0.01, 1].
        crop_mode: `center` resizes the short side and crops the middle, `squash` ignores the aspect ratio;
            since 1.4, `cut` crops the middle first and resizes that, as Pillow's `ImageOps.fit`.
        mean: one value a channel, after scaling.
        std: one value a channel, after scaling, positive.
        color: `RGB` or `BGR` for 3 channels, `GRAY` for 1; `RGB` for any other number, where it says nothing:
            such arrays are taken as they are.
        scale: pixels are divided by it, positive.
        bit_depth: of the pixels that `scale`, `mean` and `std` are meant for, 8 to 16; those of another depth
            are brought to it. Since 1.4.
        crop_assumed: whether nobody said `crop_pct`, so that a picture of exactly the input's size is
            taken as it is. Since 1.4.
        crop_floor: whether a crop that lies between two pixels begins at the first of them, as in
            transformers, and not at the even one, as in torchvision and timm. Since 1.4.
    """

    input_size: tuple[int, int, int]
    interpolation: str
    crop_pct: Number
    crop_mode: str
    mean: tuple[Number, ...]
    std: tuple[Number, ...]
    color: str
    scale: Number
    bit_depth: int = 8
    crop_assumed: bool = False
    crop_floor: bool = False

    def __post_init__(self) -> None:
        """Refuse values that would give a wrong or non-finite input."""
        size = self.input_size
        _require(
            len(size) == 3 and min(size) > 0,
            f"input_size {size}, where (channels, height, width), all positive, is needed",
        )
        channels = size[0]
        for key, known in (
            ("interpolation", INTERPOLATIONS),
            ("crop_mode", CROP_MODES),
            ("color", ("RGB", "BGR", "GRAY")),
        ):
            value = getattr(self, key)
            _require(value in known, f"{key} {_cut(value)}; known are {', '.join(known)}")
        colors = COLORS.get(channels, ("RGB",))
        _require(
            self.color in colors,
            f"color {self.color} does not go with {counted(channels, 'channel')} of the model's input: "
            + (f"use {' or '.join(colors)}" if channels in COLORS else "leave it out, they come as they are"),
        )
        _require(
            self.bit_depth in DEPTHS,
            f"bit_depth {_cut(self.bit_depth)}, where {DEPTHS[0]} to {DEPTHS[-1]} is needed",
        )
        # So phrased, because NaN compares false; the limits keep float32 from overflowing.
        _require(0.01 <= self.crop_pct <= 1, f"crop_pct {_cut(self.crop_pct)}, where 0.01 to 1 is needed")
        for key in ("mean", "std"):
            values = getattr(self, key)
            _require(
                len(values) == channels,
                f"{key} of {counted(len(values), 'value')} for {counted(channels, 'channel')}",
            )
        for value in self.mean:
            _require(abs(value) < LARGEST, f"mean {_cut(value)}, where -1e9 to 1e9 is needed")
        for key, values in (("std", self.std), ("scale", (self.scale,))):
            for value in values:
                _require(SMALLEST < value < LARGEST, f"{key} {_cut(value)}, where 1e-9 to 1e9 is needed")

    @property
    def frame(self) -> tuple[int, int]:
        """(height, width) that a picture is resized to cover, or to have, before the crop."""
        # crop_pct is often a quotient, as in 224 / 232, and must lead back to 232: hence the epsilon.
        rows, columns = (math.floor(side / self.crop_pct + 1e-6) for side in self.input_size[1:])
        return rows, columns

    @property
    def ends(self) -> tuple[tuple[float, float], ...]:
        """What the darkest and the brightest value of a pixel become, for each channel of the input."""
        full = 2**self.bit_depth - 1
        return tuple(
            (-mean / std, (full / self.scale - mean) / std)
            for mean, std in zip(self.mean, self.std, strict=True)
        )

    @property
    def largest(self) -> float:
        """The largest amount of what a pixel may become."""
        return max(abs(value) for pair in self.ends for value in pair)

    def sentence(self) -> str:
        """All of it in a sentence for people: what is resized and cropped, the channels, and their values."""
        return f"{self._placing()}; {self._channels()}; {self._values()}."

    def _placing(self) -> str:
        """What becomes of the picture's extent."""
        size, frame = ("{1} x {0}".format(*pair) for pair in (self.input_size[1:], self.frame))
        square = self.frame[0] == self.frame[1]
        by = FILTERS.get(self.interpolation, self.interpolation)
        if self.crop_mode == "cut":
            part = "" if self.crop_pct == 1 else f"{self.crop_pct:.4g} of "
            return (
                f"The middle of the picture, {part}the largest part with the input's proportions, is cut out "
                f"and resized to {size} pixels ({by})"
            )
        how = by if square else f"width x height, {by}"
        if self.crop_mode == "squash":
            said = f"The picture is resized to {frame} pixels ({how}), whatever its proportions"
        elif square:
            said = f"The short side is resized to {self.frame[0]} pixels ({how})"
        else:
            said = f"The picture is resized until it just covers {frame} pixels ({how})"
        if self.crop_mode == "center" or size != frame:
            rounded = " (from the first of two pixels where it lies between them)" if self.crop_floor else ""
            said += f", and the middle {size} is cropped{rounded}"
        if self.crop_assumed and size != frame:
            said += f" (a picture of exactly {size} is taken as it is, as nobody stated the crop)"
        return said

    def _channels(self) -> str:
        count = self.input_size[0]
        if count not in COLORS:
            return f"its {counted(count, 'channel')} come as they are"
        return "colours become grey" if self.color == "GRAY" else f"the channels are {self.color}"

    def _values(self) -> str:
        """What becomes of the values of pixels."""
        steps = [] if self.scale == 1 else [f"divided by {self.scale:g}"]
        if any(self.mean):
            steps.append(f"reduced by the mean {_listed(self.mean)}")
        if any(value != 1 for value in self.std):
            steps.append(f"divided by the std {_listed(self.std)}")
        values = f"pixel values, 0 to {2**self.bit_depth - 1}"
        if self.bit_depth > 8:
            values += f" at {self.bit_depth} bits"
        if not steps:
            return f"{values}, stay as they are"
        done = " and ".join(filter(None, (", ".join(steps[:-1]), steps[-1])))
        low, high = min(low for low, _ in self.ends) + 0, max(high for _, high in self.ends)  # no -0
        return f"{values}, are {done}, which gives {low:.3g} to {high:.3g}"


def _listed(values: Sequence[Number]) -> str:
    """Numbers of the channels, as few as say it."""
    few = values[:1] if len(set(values)) == 1 else values
    return ", ".join(f"{value:g}" for value in few)


def _require(valid: bool, what: str) -> None:
    if not valid:
        raise BundleError(f"preprocessing is not usable: {what}")


def _cut(value: object) -> str:
    return repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:60]}..."
