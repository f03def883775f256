"""Which pixels of a map are salient, and pictures in which some pixels are hidden."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from sise_rt.errors import ArgumentError

from .maps import normalised

Mark = Callable[[torch.Tensor], torch.Tensor]
"""Maps (N, H, W) to their salient pixels, bool (N, H, W)."""

Fill = Callable[[torch.Tensor], torch.Tensor]
"""Images (N, C, H, W) to what stands where they are hidden, of their shape or one that broadcasts to it."""


def highest_share(maps: torch.Tensor, area: float = 0.2) -> torch.Tensor:
    """Of each map exactly round(area * H * W) pixels, bool (N, H, W); of equal ones the first in row order.

    Raises:
        ArgumentError: not 0 < area < 1, or the share rounds to no pixel or to all.
    """
    pixels = maps.shape[1] * maps.shape[2]
    count = round(area * pixels) if 0 < area < 1 else 0
    if not 0 < count < pixels:
        raise ArgumentError(f"area is {area}, where some but not all of {pixels} pixels are needed")
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    marked = torch.zeros(order.shape, dtype=torch.bool, device=maps.device)
    return marked.scatter(1, order[:, :count], True).view(maps.shape)


def above(maps: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """The pixels above a threshold of the map that min-max has normalised, bool (N, H, W).

    Raises:
        ArgumentError: not 0 <= threshold < 1.
    """
    if not 0 <= threshold < 1:
        raise ArgumentError(f"threshold is {threshold}, where 0 <= threshold < 1 is needed")
    return normalised(maps) > threshold


def hidden(images: torch.Tensor, marked: torch.Tensor, fill: Fill) -> torch.Tensor:
    """The images (N, C, H, W) with the marked pixels (N, H, W) filled; the others are as they were."""
    return torch.where(marked[:, None], fill(images), images)


# ------------------------------------------------------------------------------------------------- fills


def zero(images: torch.Tensor) -> torch.Tensor:
    """0 in the model's input: with mean and std preprocessing the mean colour of the training set."""
    return torch.zeros_like(images)


def mean_colour(images: torch.Tensor) -> torch.Tensor:
    """Each picture's own mean, (N, C, 1, 1)."""
    return images.mean((2, 3), keepdim=True)


def blur(images: torch.Tensor, sigma: float = 4.0) -> torch.Tensor:
    """The picture under a Gaussian of `sigma` pixels, cut at three of them; beyond the border as its edge.

    Raises:
        ArgumentError: sigma is not positive.
    """
    if not sigma > 0:
        raise ArgumentError(f"sigma is {sigma}, where more than 0 pixels are needed")
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, kernel[:, :, None, :], groups=images.shape[1])
    return F.conv2d(rows, kernel[:, :, :, None], groups=images.shape[1])


def noise(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise with the mean and deviation of each picture's channels; `generator` is on the CPU."""
    deviation = images.std((2, 3), keepdim=True, correction=0)
    drawn = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    return mean_colour(images) + deviation * drawn
