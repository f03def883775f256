"""The parameter-randomisation check (Adebayo et al., NeurIPS 2018): does a method's map depend on the model?

A map that stays much the same when the head's weights are shuffled does not show what the model decided by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sise_rt.errors import NoEvidence, SiseError
from sise_rt.explainer import Explainer
from sise_rt.explanation import Explanation

from .measure import Plan, read_picture
from .samples import Dataset
from .summary import bootstrap

WINDOW = 7  # pixels along a side of SSIM's, fewer in smaller maps
KEPT = 0.9  # of what tells a map from that of another picture: a method that keeps more hardly changes
ROUNDING = 1e-9  # of a correlation
FEWEST = 2  # pictures: a map is compared with that of another picture as well


def check_sanity(
    explainer: Explainer,
    shuffled: Explainer,
    dataset: Dataset,
    plan: Plan,
    count: int,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Compare the maps of a model with those of the same model with a shuffled head, method by method.

    The class is the one that the model predicts, for both. Spearman's rank correlation decides. Its scale is
    the method's own: 1 for a map that stays as it is, and for one that has nothing left of the picture's what
    maps of different pictures have in common (each with the one before). A method fails that keeps
    more than `KEPT` of the way between these. Only the head is shuffled, so that a map may well keep a part:
    where the features lie in the picture is as it was. A map that vanishes,
    as nothing speaks for the class any more, has a correlation of 0.

    Args:
        explainer: of the bundle.
        shuffled: of the bundle from `write_randomised`.
        dataset: whose first pictures are taken.
        plan: names the methods.
        count: pictures.
        progress: as for `run`.

    Returns:
        Ready for JSON: `pictures`, how many were compared, and for each method in `methods` the mean
        `spearman` and `ssim` with their intervals, `others` (the rank correlation of maps of different
        pictures), `limit`, `kept` (1 for no change), `vanished`, and whether it
        `passes`; None where there was nothing to compare.

    Raises:
        SiseError: a method cannot be run at all.
    """
    samples = dataset.samples[:count]
    figures: dict[str, list[dict[str, Any]]] = {name: [] for name in (asked.label for asked in plan.requests)}
    before: dict[str, np.ndarray] = {}
    done = 0
    for position, sample in enumerate(samples):
        if progress is not None:
            progress(position, len(samples), sample.image)
        try:
            picture = read_picture(explainer, dataset.folder, sample, plan)
        except SiseError:  # the evaluation has told of it
            continue
        target = int(explainer.confidences(picture).argmax())
        own, other = (
            each.explain_methods(picture, [target], plan.requests, batch_size=plan.batch_size)
            for each in (explainer, shuffled)
        )
        done += 1
        for name, entries in figures.items():
            first = own[name][0]
            if isinstance(first, NoEvidence):
                continue
            entries.append(_compared(first, other[name][0], before.get(name)) | {"image": sample.image})
            before[name] = first.map
    if progress is not None:
        progress(len(samples), len(samples), "")
    return {"pictures": done, "methods": {name: _judged(entries) for name, entries in figures.items()}}


def _compared(
    own: Explanation, other: Explanation | NoEvidence, before: np.ndarray | None
) -> dict[str, float]:
    """A map against that of the shuffled model, and against that of the picture before."""
    return {
        "spearman": 0.0 if isinstance(other, NoEvidence) else spearman(own.map, other.map),
        "ssim": np.nan if isinstance(other, NoEvidence) else ssim(own.map, other.map),
        "others": np.nan if before is None else spearman(own.map, before),
        "vanished": float(isinstance(other, NoEvidence)),
    }


def _judged(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one method."""
    columns = [{entry["image"]: [entry[key]] for entry in entries} for key in ("spearman", "ssim", "others")]
    (same, alike, others), intervals = bootstrap(columns)
    limit = kept = None
    if same is not None and others is not None:
        limit = others + KEPT * (1 - others)
        kept = (same - others) / (1 - others) if others < 1 - ROUNDING else 1.0
    return {
        "spearman": same,
        "spearman_interval": intervals[0],
        "ssim": alike,
        "ssim_interval": intervals[1],
        "others": others,
        "limit": limit,
        "kept": kept,
        "vanished": int(sum(entry["vanished"] for entry in entries)),
        "compared": len(entries),
        # Rounding must not pass what is one map for all pictures, where all three are 1.
        "passes": None if limit is None or same is None else same < limit - ROUNDING,
    }


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The rank correlation of two maps (H, W), equal values at their mean rank, in [-1, 1].

    A map of one value has no order: 0 with any other, and NaN where both are such maps.
    """
    ranks = [_ranks(map_) for map_ in (a, b)]
    spreads = [np.sqrt(rank @ rank) for rank in ranks]
    if not all(spreads):
        return 0.0 if any(spreads) else np.nan
    return float(np.clip(ranks[0] @ ranks[1] / (spreads[0] * spreads[1]), -1, 1))


def _ranks(map_: np.ndarray) -> np.ndarray:
    """The rank of each value (H * W,) less their mean."""
    _, place, counts = np.unique(map_, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place.reshape(-1)] - (map_.size + 1) / 2


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004) of two maps in [0, 1]; NaN below 3 pixels along a side."""
    from skimage.metrics import structural_similarity

    side = min(WINDOW, *a.shape)
    if side < 3:
        return np.nan
    window = side - 1 + side % 2  # an odd one
    return float(structural_similarity(a.astype(float), b.astype(float), win_size=window, data_range=1))
