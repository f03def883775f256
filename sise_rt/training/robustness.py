"""Pictures that are a little worse: along the gradient (FGSM), by noise, blur and loss of contrast."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from sise_rt.errors import ArgumentError, ModelError

from .batch import evaluating, require_images, require_labels, require_logits
from .occlusion import blur

EPSILONS = (1 / 255, 2 / 255, 4 / 255)

Prepare = Callable[[torch.Tensor], torch.Tensor]
"""Pictures (N, C, H, W) in [0, 1] to the model's input, of the same shape."""


def fgsm(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    epsilon: float,
    prepare: Prepare | None = None,
) -> torch.Tensor:
    """Pictures a step of epsilon towards a higher loss: clip(x + epsilon sign(d cross-entropy / d x), 0, 1).

    The model is in evaluation mode meanwhile, and is left as it was. Source: Goodfellow et al., Explaining
    and Harnessing Adversarial Examples, ICLR 2015.

    Args:
        model: gives logits.
        images: (N, C, H, W) in [0, 1], before mean and std.
        labels: (N,).
        epsilon: of the range [0, 1].
        prepare: pictures to the model's input, of the same shape, as (x - mean) / std; None where the model
            takes [0, 1].

    Returns:
        (N, C, H, W) in [0, 1], no value further than epsilon from where it was.

    Raises:
        ArgumentError: the batch is none, pictures are not in [0, 1], or epsilon is negative.
        ModelError: the logits or their gradient are not finite.
    """
    require_pictures(images)
    require_labels(labels, len(images))
    if not epsilon >= 0:
        raise ArgumentError(f"epsilon is {epsilon}, where none below 0 has a meaning")
    if not len(images):
        return images.clone()
    with evaluating(model), torch.enable_grad():
        moved = images.detach().clone().requires_grad_()
        logits = model(moved if prepare is None else prepare(moved))
        require_logits(logits, len(images))
        require_labels(labels, len(images), logits.shape[1])
        loss = F.cross_entropy(logits, labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
    if not gradient.isfinite().all():
        raise ModelError("the gradient at the picture is not finite: has the training diverged?")
    return (images + epsilon * gradient.sign()).clamp(0, 1)


def noisy(images: torch.Tensor, generator: torch.Generator, deviation: float = 0.08) -> torch.Tensor:
    """Gaussian noise of a deviation of the range [0, 1] on pictures (N, C, H, W); `generator` on the CPU."""
    require_pictures(images)
    drawn = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    return (images + deviation * drawn).clamp(0, 1)


def blurred(images: torch.Tensor, sigma: float = 1.0) -> torch.Tensor:
    """Pictures (N, C, H, W) in [0, 1] under a Gaussian of `sigma` pixels."""
    require_pictures(images)
    return blur(images, sigma).clamp(0, 1)


def paler(images: torch.Tensor, contrast: float = 0.4) -> torch.Tensor:
    """Pictures (N, C, H, W) in [0, 1] whose values lie nearer to each picture's mean, by a factor."""
    require_pictures(images)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (mean + contrast * (images - mean)).clamp(0, 1)


def require_pictures(images: torch.Tensor) -> None:
    """Refuse what is no batch of pictures in [0, 1]."""
    require_images(images)
    if len(images) and not (images.min() >= 0 and images.max() <= 1):
        raise ArgumentError(
            f"pictures go from {float(images.min()):.3g} to {float(images.max()):.3g}, where [0, 1] is "
            "needed: mean and std come after"
        )
