"""A picture on its way through any score graph: what it takes, and what the explanation is then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import BEST
from sise_rt.pictures.picture import prepare
from sise_rt.running.finite import require_finite
from sise_rt.running.passes import OpenGraph, run, run_features
from sise_rt.running.sessions import Sessions

from .fusion import fuse, normalise, otsu
from .masks import constant_maps
from .scoring import Scores, usable_maps, visualization_map

MASKS = 100  # of each picture, those that weigh most; all of them would take minutes
BATCH = 4  # masks a pass, so that networks of large maps fit into memory


@dataclass(frozen=True)
class Scored:
    """What a score graph tells of each block's masks, and the peaks (P,) if it gives them."""

    blocks: list[Scores | None]
    peaks: np.ndarray


@dataclass(frozen=True)
class MaskedPicture:
    """What scoring starts from.

    Attributes:
        name: for people.
        inputs: `image` and `targets` of a score graph.
        maps: feature maps (K, h, w) of each block.
        kept: which of them are masks, bool (K,) of each block.
        batch: masks a pass.
    """

    name: str
    inputs: dict[str, np.ndarray]
    maps: list[np.ndarray]
    kept: list[np.ndarray]
    batch: int

    def scores(self, session: Any) -> Scored:
        """The scores by a session of a score graph."""
        names = [output.name for output in session.get_outputs()]

        def score(masks: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip(names, run(session, self.inputs | {"maps": masks[:, None]}), strict=True))

        return self._scored(score)

    def scored_by(self, scorer: Callable[[np.ndarray], Sequence[np.ndarray]]) -> Scored:
        """The scores by a scorer of the picture."""
        names = [field.name for field in fields(Scores) if field.name != "index"]
        return self._scored(lambda masks: dict(zip(names, scorer(masks), strict=True)))

    def _scored(self, score: Callable[[np.ndarray], dict[str, np.ndarray]]) -> Scored:
        blocks: list[Scores | None] = []
        peaks: list[np.ndarray] = []
        for maps, keep in zip(self.maps, self.kept, strict=True):
            index, passes = np.flatnonzero(keep), []
            for start in range(0, len(index), self.batch):
                passes.append(score(maps[index[start : start + self.batch]]))
            peaks += [outputs["peaks"] for outputs in passes if "peaks" in outputs]
            blocks.append(_joined(index, passes) if passes else None)
        return Scored(blocks, np.max(peaks, axis=0) if peaks else np.zeros(1))

    def usable(self, scored: Scored) -> list[np.ndarray]:
        """The maps that enter the explanation, bool (K,) of each block."""
        return [usable_maps(keep, scores) for keep, scores in zip(self.kept, scored.blocks, strict=True)]

    def explanation(self, scored: Scored) -> np.ndarray | None:
        """The explanation (H, W), None if there is none."""
        size = self.inputs["image"].shape[2:]
        visual = [
            None if scores is None else visualization_map(maps, scores, 0, usable, size)
            for maps, scores, usable in zip(self.maps, scored.blocks, self.usable(scored), strict=True)
        ]
        normal = [u for v in visual if v is not None and (u := normalise(v)) is not None]
        return normalise(fuse(normal, otsu)) if normal else None


def _joined(index: np.ndarray, passes: Sequence[Mapping[str, np.ndarray]]) -> Scores:
    """The scores of a block's masks, of several passes."""
    names = (field.name for field in fields(Scores) if field.name != "index")
    return Scores(index, **{name: np.concatenate([outputs[name] for outputs in passes]) for name in names})


def mask_picture(sessions: Sessions, features: OpenGraph, path: Path) -> MaskedPicture:
    """A picture with its features for the class with the highest logit.

    Raises:
        ImageError: it cannot be read.
        ModelError: the model's numbers are not finite for it.
    """
    return mask_image(sessions, features, prepare(path, sessions.manifest.preprocess).tensor, str(path))


def mask_image(sessions: Sessions, features: OpenGraph, image: np.ndarray, name: str) -> MaskedPicture:
    """A model's input (1, C, H, W) with its features for the class with the highest logit.

    Raises:
        ModelError: the model's numbers are not finite for it.
    """
    maps, alphas, logits = run_features(features, sessions.manifest, image, np.array([BEST]))
    require_finite("feature maps, gradients or logits", f"for {name}", logits, *maps, *alphas)
    blocks = [block[0] for block in maps]
    kept = strongest(blocks, [alpha[0] for alpha in alphas])
    inputs = {"image": image, "targets": logits.argmax(axis=1)}
    return MaskedPicture(name, inputs, blocks, kept, sessions.at_once(BATCH))


def strongest(
    maps: Sequence[np.ndarray], alphas: Sequence[np.ndarray], count: int = MASKS
) -> list[np.ndarray]:
    """Which maps are the gate's masks: those with the highest share of their block's highest gradient score.

    A higher mu would leave the same ones. Without gradient scores, they are evenly drawn.

    Args:
        maps: (K, h, w) of each block.
        alphas: (K,) of each block, or empty.
        count: how many there are at most.

    Returns:
        bool (K,) of each block.
    """
    flat = np.concatenate([constant_maps(block) for block in maps])
    if alphas:
        positive = [np.maximum(alpha, 0) for alpha in alphas]
        shares = np.concatenate([alpha / max(alpha.max(), np.finfo(alpha.dtype).tiny) for alpha in positive])
        order = np.argsort(-shares, kind="stable")
        chosen = order[(shares > 0)[order] & ~flat[order]][:count]
    else:
        shaped = np.flatnonzero(~flat)
        chosen = shaped[np.unique(np.arange(count) * len(shaped) // count)] if len(shaped) else shaped
    kept = np.zeros(len(flat), bool)
    kept[chosen] = True
    return np.split(kept, np.cumsum([len(block) for block in maps])[:-1])
