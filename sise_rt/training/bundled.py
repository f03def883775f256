"""Maps of any method for a model that trains: by a bundle that is made of it again every few epochs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sise_rt.errors import ArgumentError, NoEvidence
from sise_rt.explainer import Explainer, load
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.placement import Placement

from .batch import require_images, require_labels


class BundleMaps:
    """Explains batches by a bundle of the model as it was when that was last made.

    Args:
        make: exports the model as it is, and gives the bundle's path; it may overwrite the one before.
        every: epochs that a bundle serves.
        method: with options as in `rise:masks=1000`.
        preset: of SISE; None is exact.
    """

    def __init__(
        self,
        make: Callable[[], str | Path],
        *,
        every: int = 5,
        method: str = "sise",
        preset: str | None = None,
    ) -> None:
        if every < 1:
            raise ArgumentError(f"every is {every}, where at least 1 epoch is needed")
        self.make, self.every, self.method, self.preset = make, every, method, preset
        self._explainer: Explainer | None = None
        self._made = 0

    def begin(self, epoch: int) -> bool:
        """Renew the bundle if it has served its epochs, or there is none; whether it was."""
        if self._explainer is not None and epoch - self._made < self.every:
            return False
        self._explainer, self._made = load(self.make(), "cpu"), epoch
        return True

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The maps (N, H, W) in [0, 1] of images (N, C, H, W) for their labels; 0 where nothing is found.

        The images are the model's input: what the bundle says of preprocessing is not applied again.

        Raises:
            ArgumentError: `begin` was not called, or the batch is none, or not of the bundle's input.
            SiseError: as `Explainer.explain`.
        """
        if self._explainer is None:
            raise ArgumentError("there is no bundle yet: call begin(epoch) before the epoch's first batch")
        require_images(images)
        require_labels(labels, len(images))
        wanted = tuple(self._explainer.manifest.preprocess.input_size)
        if tuple(images.shape[1:]) != wanted:
            raise ArgumentError(f"images are {tuple(images.shape[1:])}, where the bundle takes {wanted}")
        maps = [self._map(x, int(label)) for x, label in zip(images.cpu().numpy(), labels, strict=True)]
        made = np.stack(maps) if maps else np.zeros((0, *wanted[1:]), np.float32)
        return torch.from_numpy(made).to(images)

    def _map(self, image: np.ndarray, label: int) -> np.ndarray:
        assert self._explainer is not None
        extent = (image.shape[1], image.shape[2])
        shown = np.zeros((*extent, 3), np.uint8)
        placement = Placement(extent, extent, 0, 0, extent)
        picture = Picture(shown, image[None].astype(np.float32), placement, "image")
        try:
            explained = self._explainer.explain(picture, label, method=self.method, preset=self.preset)
        except NoEvidence:
            return np.zeros(extent, np.float32)
        return np.asarray(explained.map, np.float32)
