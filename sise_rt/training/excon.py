"""Explanation-driven supervised contrastive learning (ExCon, arXiv 2111.14271).

Pictures of one class are drawn together in the space of the features; one view of each is what the model
looks at in it. Details follow what is known of the authors' public code; what the paper says beyond its
abstract has not been compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from sise_rt.errors import ArgumentError, ModelError

from .batch import evaluating, require_images, require_labels, require_logits, require_maps
from .maps import is_flat, normalised

TEMPERATURE, BASE = 0.1, 0.07


@dataclass(frozen=True)
class Views:
    """Two views of each picture, and of each background.

    Attributes:
        first: (N + B, C, H, W); of pictures the masked one where the model still has it right.
        second: likewise; of a background the same masked picture again.
        labels: (N + B,); of a background the label that was given for it.
        right: whether the masked picture became a view, bool (N,).
        flat: how many maps had no shape.
    """

    first: torch.Tensor
    second: torch.Tensor
    labels: torch.Tensor
    right: torch.Tensor
    flat: int


def masked(images: torch.Tensor, maps: torch.Tensor, threshold: float = 0.5) -> torch.Tensor:
    """The images (N, C, H, W) with 0 where the map, by min-max, is at most the threshold."""
    return images * (normalised(maps) > threshold)[:, None]


def views(
    plain: torch.Tensor,
    augmented: tuple[torch.Tensor, torch.Tensor],
    labels: torch.Tensor,
    maps: torch.Tensor,
    classify: Callable[[torch.Tensor], torch.Tensor],
    *,
    threshold: float = 0.5,
) -> Views:
    """ExCon: the masked picture is a view where it is classified right, else the second augmented one is.

    Args:
        plain: pictures without augmentation (N, C, H, W), which were explained.
        augmented: two augmentations of them, each (N, C, H, W): (v1, v2).
        labels: (N,).
        maps: of `plain` and `labels`, (N, H, W).
        classify: images to logits, the model as it is; called with N masked pictures, without gradients.
        threshold: of the map; pixels at or below become 0.

    Raises:
        ArgumentError: the arrays are no batch, or there are no pictures.
        ModelError: the logits are not finite.
    """
    return _views(plain, augmented, labels, maps, classify, threshold)[0]


def views_with_negatives(
    plain: torch.Tensor,
    augmented: tuple[torch.Tensor, torch.Tensor],
    labels: torch.Tensor,
    maps: torch.Tensor,
    classify: Callable[[torch.Tensor], torch.Tensor],
    *,
    background: int,
    threshold: float = 0.5,
) -> Views:
    """The same, and each masked picture that is classified wrong is a background, appended to both views.

    As in the reference it is one even where the masking alone caused the error. A map without a shape gives
    none.

    Args:
        plain: as for `views`, as are the next four.
        augmented: (v1, v2).
        labels: (N,).
        maps: (N, H, W).
        classify: images to logits.
        background: label of what is no picture of any class, above all labels.
        threshold: of the map.

    Raises:
        ArgumentError: as `views`, or a picture has the background's label.
        ModelError: the logits are not finite.
    """
    found, hidden, wrong = _views(plain, augmented, labels, maps, classify, threshold)
    require_labels(labels, len(plain), background)
    negatives = hidden[wrong]
    return Views(
        torch.cat([found.first, negatives]),
        torch.cat([found.second, negatives]),
        torch.cat([labels, labels.new_full((len(negatives),), background)]),
        found.right,
        found.flat,
    )


def _views(
    plain: torch.Tensor,
    augmented: tuple[torch.Tensor, torch.Tensor],
    labels: torch.Tensor,
    maps: torch.Tensor,
    classify: Callable[[torch.Tensor], torch.Tensor],
    threshold: float,
) -> tuple[Views, torch.Tensor, torch.Tensor]:
    """The views, the masked pictures (N, C, H, W), and which of them are wrong, bool (N,)."""
    one, two = augmented
    for name, images in (("plain", plain), ("v1", one), ("v2", two)):
        require_images(images, name)
        if images.shape != plain.shape:
            raise ArgumentError(f"{name} has shape {tuple(images.shape)}, plain {tuple(plain.shape)}")
    if not len(plain):
        raise ArgumentError("the batch is empty: there are no views of no picture")
    require_labels(labels, len(plain))
    require_maps(maps, plain)
    hidden = masked(plain, maps, threshold)
    with torch.no_grad():
        logits = classify(hidden)
    require_logits(logits, len(plain))
    require_labels(labels, len(plain), logits.shape[1])
    flat = is_flat(maps)
    right = (logits.argmax(1) == labels) & ~flat
    first = torch.where(right[:, None, None, None], hidden, two)
    return Views(first, one, labels, right, int(flat.sum())), hidden, ~right & ~flat


# -------------------------------------------------------------------------------------------------- loss


def contrastive_loss(
    features: torch.Tensor,
    labels: torch.Tensor,
    *,
    background: int | None = None,
    temperature: float = TEMPERATURE,
    base: float = BASE,
) -> torch.Tensor:
    """The supervised contrastive loss over every view of every picture.

    With i over all M V views, P(i) the other views of i's label, and z the features,

        -(temperature / base) / (N V) sum_i 1 / max(1, |P(i)|) sum_(p in P(i)) log(
            exp(z_i z_p / temperature) / sum_(a != i) exp(z_i z_a / temperature))

    P(i) is empty for views of the background, which stay in the denominators of the others, and N is the
    number of pictures that are none: the reference takes the mean over all M and multiplies it by M / N.
    Without a background this is equation 2 of Khosla et al., Supervised Contrastive Learning, NeurIPS 2020.

    Args:
        features: (M, V, D), rows of length 1 as of `ProjectionHead`.
        labels: (M,).
        background: the label of views that are no positives of each other; None where there are none.
        temperature: of the similarities.
        base: that the loss is scaled to.

    Raises:
        ArgumentError: shapes, labels or temperatures are out of range, every picture is background, or there
            is one view alone, which nothing can be compared with.
        ModelError: a feature is not finite.
    """
    if features.ndim != 3 or not all(features.shape):
        raise ArgumentError(f"features have shape {tuple(features.shape)}, where (M, V, D) is needed")
    if not features.isfinite().all():
        raise ModelError("the features are not all finite: has the training diverged?")
    if not (temperature > 0 and base > 0):
        raise ArgumentError(f"temperature is {temperature}, base {base}, where both are above 0")
    pictures, count = features.shape[:2]
    require_labels(labels, pictures)
    if pictures * count < 2:
        raise ArgumentError("a single view has nothing to be compared with: give two, or more pictures")
    labels = labels.repeat_interleave(count)
    shown = torch.ones_like(labels, dtype=torch.bool) if background is None else labels != background
    if not shown.any():
        raise ArgumentError("every picture is background: there is nothing to draw together")
    rows = features.flatten(0, 1)
    logits = rows @ rows.T / temperature
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    log_share = logits - logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels) & ~itself & shown
    counts = positive.sum(1).clamp(min=1)
    each = torch.where(positive, log_share, 0).sum(1) / counts
    return -(temperature / base) * each.sum() / shown.sum()


# --------------------------------------------------------------------------------------------- small modules


class ProjectionHead(nn.Module):
    """Two linear layers with a ReLU between: features (N, D) to rows (N, out) of length 1.

    Args:
        features: D, also the width between the layers.
        out: of the space in which views are compared.
    """

    def __init__(self, features: int, out: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(inplace=True), nn.Linear(features, out)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, D) to (N, out)."""
        return F.normalize(self.layers(features), dim=1)


@torch.no_grad()
def features_of(encoder: nn.Module, images: torch.Tensor, batch: int = 256) -> torch.Tensor:
    """The encoder's features (N, D) of images, in evaluation mode, without gradients."""
    require_images(images)
    with evaluating(encoder):
        return torch.cat([encoder(part) for part in images.split(batch)])


def linear_head(
    features: torch.Tensor, labels: torch.Tensor, classes: int, *, decay: float = 1e-3, steps: int = 100
) -> nn.Linear:
    """Linear evaluation: the linear classifier on features that stay as they are.

    It minimises mean cross-entropy + decay / 2 |W|^2, which has one minimum, by L-BFGS from 0.

    Args:
        features: (N, D), as of `features_of`.
        labels: (N,).
        classes: outputs.
        decay: above 0, lest the weights grow without end where the classes can be told apart.
        steps: of the minimiser, at most.

    Raises:
        ArgumentError: labels are out of range, there is no picture, or the decay is not positive.
        ModelError: a feature is not finite.
    """
    if features.ndim != 2 or not len(features):
        raise ArgumentError(f"features have shape {tuple(features.shape)}, where (N, D) is needed")
    if not features.isfinite().all():
        raise ModelError("the features are not all finite: has the training diverged?")
    if not decay > 0:
        raise ArgumentError(f"decay is {decay}, where more than 0 is needed")
    require_labels(labels, len(features), classes)
    head = nn.Linear(features.shape[1], classes).to(features)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    minimiser = torch.optim.LBFGS(head.parameters(), max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        minimiser.zero_grad()
        loss = F.cross_entropy(head(features), labels) + decay / 2 * head.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        minimiser.step(closure)
    head.zero_grad()
    return head
