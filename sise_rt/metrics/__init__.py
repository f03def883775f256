"""How good a map is: its agreement with a marked object, and the model's confidence on what it keeps.

A map is any finite array (H, W) of one image and target, whatever made it; a truth is a bool array of its
shape; an image is preprocessed, (C, H, W) float. Other arrays, and settings out of range, are refused with an
ArgumentError, which is a ValueError.

Every result is a fraction in [0, 1] for one image, that of `road` one in [-0.5, 0.5]; a data set's is the
mean over its images. What has no meaning for an image is NaN, for the caller to count and leave out.

"The k highest pixels" are taken by descending value, of equal values the first in row-major order first. That
rule, not the evidence, ranks a map of many equal values: state it beside the numbers.
"""

from sise_rt.pictures.regions import region_of

from .agreement import bbox, ebpg, miou, pointing_game
from .arrays import Confidence
from .border import border_share
from .confidence import drop, increase, kept_pixels, masked_confidence
from .curves import Curve, blurred, deletion, insertion
from .extent import complexity
from .imputation import Road, imputed, road
from .region import Region, borne_by

__all__ = [
    "Confidence",
    "Curve",
    "Region",
    "Road",
    "bbox",
    "blurred",
    "border_share",
    "borne_by",
    "complexity",
    "deletion",
    "drop",
    "ebpg",
    "imputed",
    "increase",
    "insertion",
    "kept_pixels",
    "masked_confidence",
    "miou",
    "pointing_game",
    "region_of",
    "road",
]
