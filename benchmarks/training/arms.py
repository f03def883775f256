"""The study's arms: each trains the same small network on the same pictures for as many epochs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from sise_rt.export import export
from torch import nn
from torch.nn import functional as F

from benchmarks.industrial import Residual
from sise_rt.training import (
    ProjectionHead,
    contrastive_loss,
    edda_loss,
    grad_cam,
    joined,
    views,
    views_with_negatives,
)
from sise_rt.training.batch import predicted
from sise_rt.training.bundled import BundleMaps
from sise_rt.training.edda import extra_class, occlude
from sise_rt.training.excon import features_of
from sise_rt.training.maps import random_maps
from sise_rt.training.occlusion import mean_colour

BATCH, RATE = 25, 3e-3
WIDTHS = (12, 24, 48, 64)  # of the network's stem and blocks
LAYER = "2"  # of the network: the block with 8 x 8 maps at 64 px
WARM_UP = 1 / 2  # of the epochs, before the explanations count
EVERY = 1 / 4  # of the epochs, which a bundle serves
WEIGHTS = {"kept_weight": 0.5, "without_weight": 0.5}  # of EDDA's two copies


def small_network(outputs: int) -> nn.Sequential:
    """A residual network of a stem, at half the picture's resolution, and three blocks."""
    stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 3, 2, 1), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
    blocks = [Residual(a, b) for a, b in itertools.pairwise(WIDTHS)]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], outputs))
    return nn.Sequential(stem, *blocks, *head).to(memory_format=torch.channels_last)


@dataclass
class Task:
    """What an arm is given.

    Attributes:
        images: (N, 3, S, S), the model's input.
        labels: (N,).
        classes: how many.
        rng: of order, augmentation and random maps.
        epochs: of training.
        scratch: a folder for bundles.
    """

    images: torch.Tensor
    labels: torch.Tensor
    classes: int
    rng: torch.Generator
    epochs: int
    scratch: Path

    @property
    def warm_up(self) -> int:
        """Epochs before the explanations count."""
        return int(WARM_UP * self.epochs)


# ------------------------------------------------------------------------------------------ augmentation


@dataclass(frozen=True)
class Turn:
    """Right angles (N,) and mirroring (N,) by which a batch, and whatever belongs to it, is turned."""

    angles: torch.Tensor
    mirrored: torch.Tensor

    @classmethod
    def drawn(cls, count: int, rng: torch.Generator) -> Turn:
        """A random one."""
        angles = torch.randint(0, 4, (count,), generator=rng)
        return cls(angles, torch.rand(count, generator=rng) < 0.5)

    def __call__(self, stack: torch.Tensor) -> torch.Tensor:
        """Turn (N, C, S, S)."""
        out = torch.where(self.mirrored[:, None, None, None], stack.flip(3), stack)
        for angle in (1, 2, 3):
            chosen = self.angles == angle
            out[chosen] = torch.rot90(out[chosen], angle, (2, 3))
        return out


def relit(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each image with a little more or less contrast."""
    return images * (1 + 0.2 * torch.randn((len(images), 1, 1, 1), generator=rng))


def usual(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """The usual augmentation: turned, mirrored, relit."""
    return relit(Turn.drawn(len(images), rng)(images), rng)


def order(task: Task) -> Iterator[torch.Tensor]:
    """Shuffled indices of full batches."""
    shuffled = torch.randperm(len(task.images), generator=task.rng)
    return (part for part in shuffled.split(BATCH) if len(part) == BATCH)


class Steps:
    """AdamW whose rate goes through one cycle."""

    def __init__(self, model: nn.Module, task: Task) -> None:
        total = task.epochs * (len(task.images) // BATCH)
        self.optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=1e-2)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, RATE, total_steps=total)

    def __call__(self, loss: torch.Tensor) -> None:
        """One step down."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()


# ---------------------------------------------------------------------------------- cross-entropy and EDDA


def supervised(task: Task, *, augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor]) -> nn.Module:
    """Cross-entropy."""
    model = small_network(task.classes)
    step = Steps(model, task)
    for _ in range(task.epochs):
        for index in order(task):
            step(F.cross_entropy(model(augment(task.images[index], task.rng)), task.labels[index]))
    return model.eval()


MapsOf = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Turn], torch.Tensor]
"""Augmented images, labels, the rows of the training set that they are, and their turn, to maps (N, S, S)."""

Explaining = Callable[[nn.Module, Task, int], MapsOf]
"""The model, the task and the epoch that begins to what gives the maps of its batches."""


def edda(task: Task, *, explaining: Explaining) -> nn.Module:
    """EDDA with a background class, on top of the usual augmentation."""
    model = small_network(task.classes + 1)
    step = Steps(model, task)
    for epoch in range(task.epochs):
        maps_of = explaining(model, task, epoch) if epoch >= task.warm_up else None
        for index in order(task):
            turn = Turn.drawn(len(index), task.rng)
            images, labels = relit(turn(task.images[index]), task.rng), task.labels[index]
            if maps_of is None:
                step(F.cross_entropy(model(images), labels))
                continue
            right = predicted(model, images).argmax(1) == labels
            maps = maps_of(images, labels, index, turn)
            copies = occlude(images, labels, maps, right, fill=mean_colour)
            logits = model(joined(images, copies))
            step(edda_loss(logits, labels, copies, background=extra_class, **WEIGHTS))
    return model.eval()


def at_random(_model: nn.Module, task: Task, _epoch: int) -> MapsOf:
    """The control: the same areas and labels, wherever."""
    return lambda images, _labels, _index, _turn: random_maps(images, task.rng)


def by_grad_cam(model: nn.Module, _task: Task, _epoch: int) -> MapsOf:
    """Grad-CAM by the model as it is at each batch."""
    return lambda images, labels, _index, _turn: grad_cam(model, images, labels, LAYER)


class BySise:
    """SISE by a bundle; the maps of the pictures as they are serve for some epochs, turned as these are."""

    def __init__(self) -> None:
        self.bundled: BundleMaps | None = None
        self.maps = torch.zeros(0)

    def __call__(self, model: nn.Module, task: Task, epoch: int) -> MapsOf:
        """The maps, made anew when they are due."""
        if self.bundled is None:
            make = partial(exported, model, task)
            self.bundled = BundleMaps(
                make, every=max(1, int(EVERY * task.epochs)), method="sise", preset="fast"
            )
        if self.bundled.begin(epoch):
            self.maps = self.bundled(task.images, task.labels)
        return lambda _images, _labels, index, turn: turn(self.maps[index, None])[:, 0]


def exported(model: nn.Module, task: Task) -> Path:
    """The bundle of the model as it is."""
    path = task.scratch / "model.sise"
    example = torch.zeros(1, *task.images.shape[1:])
    export(copy.deepcopy(model).eval(), path, example=example, activation="softmax", overwrite=True)
    return path


# --------------------------------------------------------------------------------------------- contrastive


def contrastive(task: Task, *, explained: bool, negatives: bool = False) -> nn.Module:
    """SupCon or ExCon: an epoch of the encoder, then one of the linear head on its features."""
    network = small_network(task.classes)
    encoder, head = network[:-1], network[-1]
    projection = ProjectionHead(WIDTHS[-1], 64)
    step = Steps(nn.ModuleList([encoder, projection]), task)
    step_head = Steps(head, task)
    for epoch in range(task.epochs):
        masking = explained and epoch >= task.warm_up
        for index in order(task):
            images, labels = task.images[index], task.labels[index]
            pair = usual(images, task.rng), usual(images, task.rng)
            background = None
            if masking:
                maps = grad_cam(network, images, labels, LAYER)
                given = (images, pair, labels, maps, partial(predicted, network))
                background = task.classes if negatives else None
                made = views_with_negatives(*given, background=task.classes) if negatives else views(*given)
                pair, labels = (made.first, made.second), made.labels
            rows = projection(encoder(torch.cat(pair)))
            step(contrastive_loss(torch.stack(rows.chunk(2), 1), labels, background=background))
        for index in order(task):
            features = features_of(encoder, usual(task.images[index], task.rng))
            step_head(F.cross_entropy(head(features), task.labels[index]))
    return network.eval()


ARMS: dict[str, Callable[[Task], nn.Module]] = {
    "none": partial(supervised, augment=lambda images, _rng: images),
    "augmented": partial(supervised, augment=usual),
    "random": partial(edda, explaining=at_random),
    "edda-grad-cam": partial(edda, explaining=by_grad_cam),
    "edda-sise": lambda task: edda(task, explaining=BySise()),
    "supcon": partial(contrastive, explained=False),
    "excon": partial(contrastive, explained=True),
    "excon-negatives": partial(contrastive, explained=True, negatives=True),
}
"""By name; all but `none` have the usual augmentation."""
