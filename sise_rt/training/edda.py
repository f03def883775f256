"""Explanation-driven data augmentation (EDDA, arXiv 2105.14162).

The paper's principle: hiding what is salient for a prediction must lower the confidence in it, hiding the
rest must not change it. Which pixels are salient, what labels the copies get and how the losses are weighted
is our reading: the abstract leaves it open, and no code of the authors is public.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from sise_rt.errors import ArgumentError

from .batch import predicted, require_images, require_labels, require_logits, require_maps
from .maps import is_flat
from .occlusion import Fill, Mark, hidden, highest_share, zero

Explain = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Images (N, C, H, W) and labels (N,) to maps (N, H, W)."""

Background = Callable[[int, int], torch.Tensor]
"""How many pictures and outputs to what such pictures ought to give, (pictures, outputs)."""

RowLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits and targets, both (N, outputs), to the loss of each row, (N,)."""


@dataclass(frozen=True)
class Occluded:
    """Two copies of M of a batch's N images.

    Attributes:
        kept: the salient part, the rest hidden, (M, C, H, W).
        without: the salient part hidden, (M, C, H, W).
        labels: (M,).
        salient: the pixels, bool (M, H, W).
        rows: which images of the batch, (M,).
        wrong: how many have no copies because the model has them wrong.
        flat: how many of the others because their map has no shape.
    """

    kept: torch.Tensor
    without: torch.Tensor
    labels: torch.Tensor
    salient: torch.Tensor
    rows: torch.Tensor
    wrong: int
    flat: int


def occlude(
    images: torch.Tensor,
    labels: torch.Tensor,
    maps: torch.Tensor,
    right: torch.Tensor,
    *,
    mark: Mark = highest_share,
    fill: Fill = zero,
) -> Occluded:
    """The two copies of every image that the model has right and whose map has a shape.

    Args:
        images: (N, C, H, W).
        labels: (N,).
        maps: (N, H, W).
        right: which the model has right, bool (N,); all True treats every image.
        mark: which pixels are salient.
        fill: what stands where they, or the others, are hidden.

    Raises:
        ArgumentError: the arrays are no batch.
    """
    require_images(images)
    require_labels(labels, len(images))
    require_maps(maps, images)
    if right.shape != labels.shape or right.dtype != torch.bool:
        raise ArgumentError(
            f"right is {right.dtype} of {tuple(right.shape)}, where bool ({len(images)},) is needed"
        )
    flat = is_flat(maps)
    rows = (right & ~flat).nonzero()[:, 0]
    chosen = images[rows]
    salient = mark(maps[rows])
    return Occluded(
        hidden(chosen, ~salient, fill),
        hidden(chosen, salient, fill),
        labels[rows],
        salient,
        rows,
        int((~right).sum()),
        int((right & flat).sum()),
    )


@dataclass
class Edda:
    """The batch transform of a training loop; of each of its batches, `edda(model, images, labels, epoch)`.

    Attributes:
        explain: what explains, as `partial(grad_cam, model)` or `bundled.BundleMaps`.
        warm_up: epochs without occlusions, counted from 0: what an untrained model looks at tells nothing.
        mark: which pixels are salient.
        fill: what stands where pixels are hidden.
        wrong: images so far that the model had wrong, flat: whose map had no shape, occluded: the others.
    """

    explain: Explain
    warm_up: int = 0
    mark: Mark = highest_share
    fill: Fill = zero
    wrong: int = 0
    flat: int = 0
    occluded: int = 0

    def __call__(self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, epoch: int) -> Occluded:
        """The occlusions of a batch; none during the warm-up, and of images that the model has wrong.

        Only images that are right are explained. The model is left as it was.

        Raises:
            ArgumentError: images, labels or the explainer's maps are none of a batch.
            ModelError: the model's logits are not finite.
        """
        require_images(images)
        require_labels(labels, len(images))
        if epoch < self.warm_up or not len(images):
            return _none_of(images, labels)
        logits = predicted(model, images)
        require_labels(labels, len(images), logits.shape[1])
        right = logits.argmax(1) == labels
        maps = images.new_zeros((len(images), *images.shape[2:]))
        if right.any():
            found = self.explain(images[right], labels[right]).to(maps)
            require_maps(found, images[right])
            maps[right] = found
        done = occlude(images, labels, maps, right, mark=self.mark, fill=self.fill)
        self.wrong, self.flat = self.wrong + done.wrong, self.flat + done.flat
        self.occluded += len(done.rows)
        return done


def _none_of(images: torch.Tensor, labels: torch.Tensor) -> Occluded:
    salient = images.new_zeros((0, *images.shape[2:]), dtype=torch.bool)
    rows = labels.new_zeros(0)
    return Occluded(images[:0], images[:0], labels[:0], salient, rows, 0, 0)


# -------------------------------------------------------------------------------------------------- loss


def joined(images: torch.Tensor, occluded: Occluded) -> torch.Tensor:
    """A batch and its copies for one forward pass, (N + 2 M, C, H, W): images, kept, without."""
    return torch.cat([images, occluded.kept, occluded.without])


def extra_class(pictures: int, outputs: int) -> torch.Tensor:
    """For a softmax over the classes and a last output more, which is the background."""
    return F.one_hot(torch.full((pictures,), outputs - 1), outputs).float()


def uniform(pictures: int, outputs: int) -> torch.Tensor:
    """For a softmax over the classes alone: every class as likely."""
    return torch.full((pictures, outputs), 1 / outputs)


def nothing(pictures: int, outputs: int) -> torch.Tensor:
    """For sigmoids: no class is there."""
    return torch.zeros(pictures, outputs)


def softmax_rows(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of each row to a distribution, -sum_c t_c log softmax(z)_c."""
    return -(targets * logits.log_softmax(1)).sum(1)


def sigmoid_rows(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over the outputs of the binary cross-entropy of each row."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


def edda_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    occluded: Occluded,
    background: Background,
    *,
    rows: RowLoss = softmax_rows,
    kept_weight: float = 1.0,
    without_weight: float = 1.0,
) -> torch.Tensor:
    """Mean L(x, y) + a mean L(kept, y) + b mean L(without, background); a mean of no rows is 0.

    Args:
        logits: of `joined`, (N + 2 M, outputs).
        labels: of the whole images, (N,), each below `outputs`.
        occluded: of the M that have copies.
        background: what a picture without its salient part ought to give: `extra_class`, `uniform` or
            `nothing`.
        rows: the loss of each row: `softmax_rows`, `sigmoid_rows`.
        kept_weight: a.
        without_weight: b.

    Raises:
        ArgumentError: labels are out of range, the background is one of them, a weight is negative, or there
            is no image.
        ModelError: the logits are not finite, or not as many.
    """
    whole, copies = len(labels), len(occluded.labels)
    if not whole:
        raise ArgumentError("the batch is empty: there is no loss of no image")
    require_logits(logits, whole + 2 * copies)
    outputs = logits.shape[1]
    require_labels(labels, whole, outputs)
    if not (kept_weight >= 0 and without_weight >= 0):
        raise ArgumentError(
            f"weights are {kept_weight} and {without_weight}, where none below 0 has a meaning"
        )
    own = F.one_hot(torch.cat([labels, occluded.labels]), outputs).to(logits)
    absent = background(copies, outputs).to(logits)
    if (absent.gather(1, occluded.labels[:, None]) == 1).any():
        raise ArgumentError("the background is a class of the data: give the model one output more")
    targets = torch.cat([own, absent])
    whole_rows, kept_rows, without_rows = rows(logits, targets).split([whole, copies, copies])
    loss = whole_rows.mean()
    if copies:
        loss = loss + kept_weight * kept_rows.mean() + without_weight * without_rows.mean()
    return loss
