"""Maps of a batch: normalised, found flat, or drawn at random as a control."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from sise_rt.errors import ArgumentError
from sise_rt.pictures.flatness import CONSTANT

TINY = 1e-8  # added to the range that min-max divides by, as the reference of ExCon does
CELLS = 6


def normalised(maps: torch.Tensor) -> torch.Tensor:
    """Each map by min-max, (m - min) / (max - min + 1e-8), (N, H, W) in [0, 1]; a constant one is 0."""
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low + TINY)


def is_flat(maps: torch.Tensor) -> torch.Tensor:
    """Which maps have no shape to show, bool (N,): range below 1e-6 of max(1, |largest value|)."""
    low, high = maps.amin((1, 2)), maps.amax((1, 2))
    return high - low < CONSTANT * high.abs().clamp(min=1)


def random_maps(images: torch.Tensor, generator: torch.Generator, cells: int = CELLS) -> torch.Tensor:
    """The control: smooth noise that knows neither picture nor model.

    As many pixels of it as of any map are taken by `highest_share`, in blobs about as large as Grad-CAM's.

    Args:
        images: (N, C, H, W), of which only the extents count.
        generator: of the noise, on the CPU.
        cells: a side of the grid that is enlarged to the images' extents.

    Returns:
        (N, H, W).

    Raises:
        ArgumentError: there are not at least two cells.
    """
    if cells < 2:
        raise ArgumentError(f"cells is {cells}, where at least 2 have a shape")
    noise = torch.rand(len(images), 1, cells, cells, generator=generator)
    large = F.interpolate(noise, images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return large.to(images.device)
