"""SISE (Sattarzadeh et al., AAAI 2021): phases 2 to 4 on the features of every block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sise_rt.errors import BundleError, MethodError, ModelError
from sise_rt.fusion import REGIONS, fuse, normalise
from sise_rt.masks import constant_maps, select, select_all
from sise_rt.scoring import Scores, usable_maps, visualization_map

from .query import BlockEvidence, Finding, Found, Query

Selection = Callable[[np.ndarray], np.ndarray]


def sise(query: Query, *, mu: float = 0.0, fusion: str = "otsu") -> list[Found]:
    """Explain the targets; masks that they share are scored once.

    Args:
        query: the picture.
        mu: selection threshold (eq. 7), 0 <= mu < 1; higher scores fewer masks.
        fusion: `otsu` (the paper) or `otsu-soft` (the authors' code).

    Raises:
        BundleError: the bundle has no gradient scores for `mu` to select by.
        ModelError: the model's numbers are not finite for masked copies of the picture.
        MethodError: an option is out of its range.
    """
    if not 0 <= mu < 1:
        raise MethodError(f"mu is {mu}, where 0 <= mu < 1 is needed")
    manifest = query.engine.manifest
    if mu and not manifest.has_gradients:
        raise BundleError(f"{manifest.name} has no gradient scores, so mu has nothing to select by")
    return perturb_and_fuse(query, lambda alpha: select(alpha, mu), fusion)


def perturb_and_fuse(query: Query, selection: Selection, fusion: str) -> list[Found]:
    """Phases 2 to 4 with any selection of feature maps.

    Args:
        query: the picture.
        selection: from gradient scores alpha (K,) of a block to which maps are kept, bool (K,).
        fusion: as for `sise`.
    """
    if fusion not in REGIONS:
        raise MethodError(f"fusion is {fusion!r}; known are {', '.join(REGIONS)}")
    features, engine, clock = query.features, query.engine, query.clock
    with clock("masks"):
        if engine.manifest.has_gradients:
            kept = [np.array([selection(alpha) for alpha in alphas]) for alphas in features.alphas]
        else:
            kept = [np.array([select_all(len(maps)) for _ in query.targets]) for maps in features.maps]
        flat = [constant_maps(maps) for maps in features.maps]
        chosen = [
            np.flatnonzero(keep.any(axis=0) & ~constant) for keep, constant in zip(kept, flat, strict=True)
        ]
    scoring = query.scoring(query.batch())
    masks = sum(map(len, chosen))
    tick = query.ticker(masks)
    scores = [scoring.scores(b, index, tick) if len(index) else None for b, index in enumerate(chosen)]
    clock.add("scoring", scoring.seconds(masks))
    if not all(scored is None or np.isfinite(scored.confidences).all() for scored in scores):
        raise ModelError("the model's confidences are not finite for masked copies of this image")
    found: list[Found] = []
    for i, target in enumerate(query.targets):
        own = query.on_own_clock()
        with own.clock("fusion"):
            blocks, usable, warnings = _evidence(own, i, [keep[i] for keep in kept], scores)
        if not usable:  # the other targets' work is not lost
            found.append(query.no_evidence(target, why="; ".join(warnings)))
            continue
        with own.clock("fusion"):
            raw = fuse(usable, REGIONS[fusion])
        passes = masks + features.passes
        found.append(
            Finding(
                raw, passes, masks, scoring.scorer.batch, own.clock.seconds, tuple(blocks), tuple(warnings)
            )
        )
    return found


def _evidence(
    query: Query, position: int, kept: list[np.ndarray], scores: list[Scores | None]
) -> tuple[list[BlockEvidence], list[np.ndarray], list[str]]:
    """Each block's visualization map for one target, those that can be fused, and warnings."""
    manifest = query.engine.manifest
    blocks, usable, warnings = [], [], []
    if not manifest.has_gradients:
        warnings.append("exported without gradients: no map is selected, all that are not flat are kept")
    for block, maps, keep, scored in zip(manifest.blocks, query.features.maps, kept, scores, strict=True):
        shaped = usable_maps(keep, scored)
        v = visualization_map(maps, scored, position, shaped, query.size) if scored else None
        u = None if v is None else normalise(v)
        count, flat = int(keep.sum()), int(keep.sum() - shaped.sum())
        if u is None:
            warnings.append(f"{block.name} is skipped: {_why_skipped(len(keep), count, flat)}")
        else:
            usable.append(u)
        visual = None if u is None else u.astype(np.float32)
        blocks.append(BlockEvidence(block.name, block.channels, count, flat, visual))
    return blocks, usable, warnings


def _why_skipped(maps: int, kept: int, flat: int) -> str:
    if not kept:
        which = "its only map has no" if maps == 1 else f"none of its {maps} maps has a"
        return f"{which} positive gradient score"
    if flat == kept:
        which = "the only map" if kept == 1 else f"all {kept} maps"
        return f"{which} with a positive gradient score {'is' if kept == 1 else 'are'} flat"
    return "its visualization map is flat: the model gives no masked copy any confidence in the target"
