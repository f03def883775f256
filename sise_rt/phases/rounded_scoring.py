"""Masked scoring in bfloat16, whose eight bits are for the network alone; and what it is judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sise_rt.errors import ParityError
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.engine import Engine, Scorer
from sise_rt.running.gate_record import GateRecord, write_record
from sise_rt.running.provider import BF16
from sise_rt.wording import counted

from .gate import Agreement, Difference, Rounding, agreement, difference
from .masked_picture import MASKS, mask_picture

ROUNDING = Rounding("bfloat16 scores", "score in fp32", "images")


class RoundedScorer(Scorer):
    """Scores masked copies of one image in bfloat16.

    A map whose values are far from zero would lose its shape in bfloat16. A mask is the same whatever the
    map's scale and offset, so every map spans [0, 1] before it enters the graph, and what is told of the mask
    besides the confidences is worked out here, in float32.
    """

    rounding = 1e-2

    def __call__(
        self, maps: np.ndarray, most: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Score a batch of feature maps (M, h, w); arguments, result and errors are those of `Scorer`."""
        low = maps.min(axis=(1, 2), keepdims=True)
        span = np.maximum(np.ptp(maps, axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
        confidences, *_ = super().__call__((maps - low) / span, most)
        return (confidences, *_shapes(maps, *self.size))


def _shapes(maps: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Minimum, maximum and area of maps (M, h, w), each (M,) float32."""
    low, high, area = np.empty((3, len(maps)), np.float32)
    for k, map_ in enumerate(maps):
        resized = resize_map(map_, (height, width))
        low[k], high[k] = resized.min(), resized.max()
        span = max(high[k] - low[k], np.finfo(np.float32).tiny)
        area[k] = (resized.sum(dtype=np.float64) - np.float64(low[k]) * resized.size) / np.float64(span)
    return low, high, area


def make_scorer(engine: Engine, image: np.ndarray, targets: np.ndarray) -> Scorer:
    """Masked scoring in the engine's precision; the arguments are those of either."""
    return (RoundedScorer if engine.sessions.precision == BF16 else Scorer)(engine, image, targets)


def judge(
    exact: Engine,
    rounded: Engine,
    pictures: Sequence[Path],
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Explain pictures by both precisions, each with the same masks, compare, and keep the figures.

    They are kept beside the bundle, where `Engine` finds them, whether they are good enough or not.

    Args:
        exact: an engine of the bundle in float32.
        rounded: one that scores in bfloat16.
        pictures: of the kind that the model is for, at least one.
        progress: called with (pictures done, pictures).

    Raises:
        ParityError: explanations differ; says by how much.
        ImageError: a picture cannot be read.
        ModelError: the model cannot be run, or its numbers are not finite, for a picture.
        OutputError: the figures cannot be written.
    """
    differences: list[tuple[str, Difference]] = []
    for done, path in enumerate(pictures):
        if progress is not None:
            progress(done, len(pictures))
        picture = mask_picture(exact.sessions, exact.features_graph, path)
        image, targets = picture.inputs["image"], picture.inputs["targets"]
        one, other = (picture.scored_by(make_scorer(e, image, targets)) for e in (exact, rounded))
        between = difference(picture, one, other, ROUNDING)
        if between is not None:
            differences.append((str(path), between))
    if progress is not None:
        progress(len(pictures), len(pictures))
    result = agreement(differences, len(pictures), ROUNDING)
    failed = result.failures()
    record = GateRecord.of(
        rounded.sessions,
        images=len(result.pictures),
        left_out=result.left_out,
        masks=MASKS,
        passed=not failed,
        **result.figures(),
    )
    write_record(rounded.sessions, record)
    if failed:
        raise ParityError(
            f"{ROUNDING.scores} are refused: on {counted(len(result.pictures), 'picture')}, "
            f"{'; '.join(failed)}; confidences differ by up to {result.confidence:.2g}: {ROUNDING.instead}",
            settings=("precision",),
        )
    return result
