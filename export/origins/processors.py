"""The image processors of Hugging Face's transformers: what each takes for granted, and how it resizes.

Read from transformers 5.24; its older classes (`...FeatureExtractor`, `...Fast`) do the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BILINEAR, BICUBIC = 2, 3
RESAMPLE = {0: "nearest", 1: "lanczos", BILINEAR: "bilinear", BICUBIC: "bicubic"}  # Pillow's numbers

EVERY = {  # of the base class
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "default_to_square": True,
}
# Keys that change nothing about the pixels of a picture in 8 bits.
HARMLESS = frozenset(
    "_processor_class auto_map data_format device disable_grouping do_convert_rgb do_reduce_labels "
    "do_resize_and_center_crop "  # PoolFormer's, which reads it no more
    "feature_extractor_type image_processor_type input_data_format model_input_names processor_class "
    "reduce_labels return_tensors".split()
)
FOLLOWED = frozenset({*EVERY, "resample", "image_mean", "image_std", "size", "crop_size"})
WARPS_FROM = 384  # ConvNext: pixels


class Processor(NamedTuple):
    """An image processor.

    Attributes:
        defaults: of the keys that a file leaves out.
        further: the keys that it follows besides those that all follow.
        normalises: whether it ever does.
    """

    defaults: Mapping[str, Any]
    further: frozenset[str] = frozenset()
    normalises: bool = True


def _processor(
    size: Mapping[str, int],
    resample: int = BICUBIC,
    *,
    crop: int | None = None,
    mean: tuple[float, ...] = HALF,
    std: tuple[float, ...] = HALF,
    normalises: bool = True,
    **further: Any,
) -> Processor:
    """A processor that by default resizes so, and crops if `crop` is given."""
    defaults = EVERY | {
        "size": size,
        "resample": resample,
        "image_mean": mean,
        "image_std": std,
        "default_to_square": "shortest_edge" not in size,
        "do_center_crop": crop is not None,
        "crop_size": crop,
        **further,
    }
    return Processor(defaults, frozenset(further), normalises)


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _short(side: int) -> dict[str, int]:
    return {"shortest_edge": side}


CLIP = _processor(_short(224), crop=224, mean=CLIP_MEAN, std=CLIP_STD)
MOBILENET = _processor(_short(256), BILINEAR, crop=224)
PROCESSORS = {
    "Beit": _processor(_square(224)),
    "Bit": CLIP,
    "CLIP": CLIP,
    "ConvNext": _processor(_short(WARPS_FROM), crop_pct=224 / 256),
    "DeiT": _processor(_square(256), crop=224),
    "EfficientNet": _processor(_square(346), include_top=True, rescale_offset=False),
    "Levit": _processor(_short(224), crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "MobileNetV1": MOBILENET,
    "MobileNetV2": MOBILENET,
    "MobileViT": _processor(_short(224), crop=256, normalises=False, do_flip_channel_order=True),
    "PoolFormer": _processor(_short(224), crop=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, crop_pct=0.9),
    "Pvt": _processor(_square(224), mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "Siglip": _processor(_square(224)),
    "ViT": _processor(_square(224), BILINEAR),
}
# Whose processor a model takes that has none of its own, for files that do not say which.
OF_MODELS = {
    **dict.fromkeys(("convnext", "convnextv2", "cvt", "regnet", "resnet"), "ConvNext"),
    **dict.fromkeys(("bit", "focalnet"), "Bit"),
    **dict.fromkeys(("mobilevit", "mobilevitv2"), "MobileViT"),
    **dict.fromkeys(("pvt", "pvt_v2"), "Pvt"),
    **dict.fromkeys(("swiftformer", "vit"), "ViT"),
    "efficientnet": "EfficientNet",
    "levit": "Levit",
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
    "poolformer": "PoolFormer",
}


def family(name: str) -> str:
    """`ConvNext` of `ConvNextImageProcessorFast`, `ConvNextFeatureExtractor` and the like."""
    for suffix in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(suffix)
    return name


class Frame(NamedTuple):
    """How a picture becomes an input of one size, as `Preprocess` says it.

    Attributes:
        height: of the input.
        width: of the input.
        crop_mode: `center` or `squash`.
        crop_pct: the share that is cropped.
    """

    height: int
    width: int
    crop_mode: str
    crop_pct: float


class NotFramed(ValueError):
    """What a processor does with sizes is no `Frame`; the text says what it does instead."""


def frame(kind: str, values: Mapping[str, Any]) -> Frame:
    """What a processor does with sizes.

    Args:
        kind: of `PROCESSORS`.
        values: what its file says, and its defaults.

    Raises:
        NotFramed: it gives pictures of another size each, borders, or pads.
    """
    if not values["do_resize"]:
        raise NotFramed("do_resize is false, so every picture keeps its own size")
    sides = _sides(values["size"], "size", bool(values["default_to_square"]))
    crop = _sides(values["crop_size"], "crop_size", True) if values["do_center_crop"] else None
    if kind == "ConvNext":
        return _convnext(sides, crop, values["crop_pct"])
    if kind == "Levit" and isinstance(sides, int):
        sides = int((256 / 224) * sides)
    if kind == "PoolFormer" and values["crop_pct"] is not None:
        share = _share(values["crop_pct"])
        if isinstance(sides, tuple):
            height, width = (int(side / share) for side in sides)
            sides = height if sides[0] == sides[1] else (height, width)
        else:
            sides = int(sides / share)
    return _framed(sides, crop)


def _convnext(sides: int | tuple[int, int], crop: int | tuple[int, int] | None, share: Any) -> Frame:
    """Below 384 the short side becomes int(side / crop_pct), and the middle is cut out; else squashed."""
    if isinstance(sides, tuple):
        raise NotFramed("size has no shortest_edge, which ConvNextImageProcessor needs")
    if crop not in (None, (sides, sides)):
        raise NotFramed("crop_size crops once more what size has cropped")
    if sides < WARPS_FROM:
        return _framed(int(sides / _share(share)), (sides, sides))
    return Frame(sides, sides, "squash", 1.0)


def _framed(sides: int | tuple[int, int], crop: int | tuple[int, int] | None) -> Frame:
    """A short side, or both sides, and then a crop."""
    if isinstance(sides, int):
        if crop is None:
            raise NotFramed(
                "only the short side gets a size and nothing is cropped, so inputs differ in size"
            )
        if not isinstance(crop, tuple) or crop[0] != crop[1]:
            raise NotFramed("crop_size is not square, where the short side alone gets a size")
        resized = (sides, sides)
    else:
        resized = sides
        crop = crop or resized
    if not isinstance(crop, tuple):
        raise NotFramed("crop_size has no height and width")
    if crop[0] > resized[0] or crop[1] > resized[1]:
        raise NotFramed("crop_size is larger than size, so pictures get a black border")
    shares = [c / r for c, r in zip(crop, resized, strict=True)]
    if shares[0] != shares[1]:
        raise NotFramed("crop_size and size differ in their aspect ratio")
    return Frame(*crop, "center" if isinstance(sides, int) else "squash", shares[0])


def _sides(value: Any, key: str, square: bool) -> int | tuple[int, int]:
    """The (height, width), or the short side alone."""
    if isinstance(value, Mapping):
        given = {name: side for name, side in value.items() if side is not None}
        if given.keys() == {"shortest_edge"}:
            return _side(given["shortest_edge"], key)
        if given.keys() != {"height", "width"}:
            raise NotFramed(f"{key} gives {', '.join(map(str, sorted(given)))[:60] or 'nothing'}")
        return _side(given["height"], key), _side(given["width"], key)
    if isinstance(value, list | tuple) and len(value) == 2:
        return _side(value[0], key), _side(value[1], key)
    side = _side(value, key)
    return (side, side) if square else side


def _side(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1 << 20:
        raise NotFramed(f"{key} is {str(value)[:60]!r}, where pixels are needed")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.01 <= value <= 1:
        raise NotFramed(f"crop_pct is {str(value)[:60]!r}, where 0.01 to 1 is needed")
    return float(value)
