"""The explainer: one picture and its targets through all phases of SISE."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import Manifest, read_bundle
from .engine import Engine
from .errors import BundleError, ModelError, NoEvidence
from .explanation import BlockEvidence, Explanation, Prediction
from .features import Features, confidences, extract
from .fusion import REGIONS, fuse, normalise
from .masks import constant_maps, select, select_all
from .preprocess import MAX_PIXELS, load_image, preprocess
from .scoring import Scores, score, usable_maps, visualization_map
from .targets import resolve_target

Progress = Callable[[int, int], None]


class Explainer:
    """Explains single predictions of one bundle. Thread-safe: calls share nothing but the sessions.

    Args:
        bundle: folder made by `sise-rt export`.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        threads: CPU threads; None takes the cores that the process may use.
    """

    def __init__(self, bundle: str | Path, provider: str = "auto", threads: int | None = None):
        self.manifest: Manifest = read_bundle(bundle)
        self.engine = Engine(bundle, self.manifest, provider, threads)

    def confidences(self, image: Any) -> np.ndarray:
        """The model's confidence in every class, (classes,) float64.

        Raises:
            ImageError: the picture cannot be used.
            ModelError: the model's numbers are not finite for this picture.
        """
        spec = self.manifest.preprocess
        tensor, _ = preprocess(load_image(image, channels=spec.input_size[0]), spec)
        return self._confidences(tensor)

    def _confidences(self, tensor: np.ndarray) -> np.ndarray:
        features = extract(self.engine, tensor, np.zeros(1, np.int64))
        return confidences(features.logits, self.manifest.activation)

    def explain(self, image: Any, target: int | str | None = None, **options: Any) -> Explanation:
        """Explain one target; the class with the highest confidence if none is given.

        Args and errors as in `explain_targets`.

        Raises:
            NoEvidence: no block has a usable map for the target.
        """
        targets = None if target is None else [target]
        explanation = self.explain_targets(image, targets, **options)[0]
        if isinstance(explanation, NoEvidence):
            raise explanation
        return explanation

    def explain_targets(
        self,
        image: Any,
        targets: Sequence[int | str] | None = None,
        *,
        top_k: int = 1,
        mu: float = 0.0,
        fusion: str = "otsu",
        batch_size: int | None = None,
        progress: Progress | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> list[Explanation | NoEvidence]:
        """Explain several targets of one picture; masks that they share are scored once.

        Args:
            image: path, bytes, PIL image, or uint8 array (H, W, 3) in RGB.
            targets: class indices or labels; None explains the classes with the highest confidence.
            top_k: how many of these.
            mu: selection threshold (eq. 7), 0 <= mu < 1; higher scores fewer masks.
            fusion: `otsu` (the paper) or `otsu-soft` (the authors' code).
            batch_size: masks per forward pass; None measures the fastest once a process.
            progress: called with (masks scored, masks to score); an exception it raises ends the call.
            max_pixels: larger pictures are refused.

        Returns:
            One explanation a target, in the order given or by falling confidence; where no block has a usable
            map for a target, the `NoEvidence` that says so.

        Raises:
            ImageError: the picture cannot be used.
            TargetError: a target is no class.
            ModelError: the model cannot be run, or its numbers are not finite for this picture.
            BundleError: the bundle has no gradient scores for `mu` to select by.
            ValueError: an option is out of its range.
        """
        if not 0 <= mu < 1:
            raise ValueError(f"mu is {mu}, where 0 <= mu < 1 is needed")
        if fusion not in REGIONS:
            raise ValueError(f"fusion is {fusion!r}; known are {', '.join(REGIONS)}")
        if (batch_size is not None and batch_size < 1) or top_k < 1:
            raise ValueError("batch_size and top_k must be at least 1")
        if targets is not None and len(targets) == 0:
            raise ValueError("targets is empty; None explains the classes with the highest confidence")
        if mu and not self.manifest.has_gradients:
            raise BundleError(f"{self.manifest.name} has no gradient scores, so mu has nothing to select by")
        clock = _Clock()
        with clock("preprocess"):
            spec = self.manifest.preprocess
            picture = load_image(image, channels=spec.input_size[0], max_pixels=max_pixels)
            tensor, placement = preprocess(picture, spec)
        with clock("features"):
            if targets is None:
                order = np.argsort(-self._confidences(tensor), kind="stable")[:top_k]
            else:
                order = np.array([resolve_target(target, self.manifest) for target in targets], np.int64)
            features = extract(self.engine, tensor, order)
        with clock("masks"):
            if self.manifest.has_gradients:
                kept = [np.array([select(alpha, mu) for alpha in alphas]) for alphas in features.alphas]
            else:
                kept = [np.array([select_all(len(maps)) for _ in order]) for maps in features.maps]
            flat = [constant_maps(maps) for maps in features.maps]
            chosen = [
                np.flatnonzero(keep.any(axis=0) & ~constant)
                for keep, constant in zip(kept, flat, strict=True)
            ]
        with clock("calibration"):
            batch = batch_size or self.engine.best_batch()
        with clock("scoring"):
            scorer = self.engine.scorer(tensor, order, batch)
            batch = scorer.batch
            tick = _ticker(sum(map(len, chosen)), progress)
            scores = [
                score(scorer, maps, index, tick) if len(index) else None
                for maps, index in zip(features.maps, chosen, strict=True)
            ]
        if not all(scored is None or np.isfinite(scored.confidences).all() for scored in scores):
            raise ModelError("the model's confidences are not finite for masked copies of this image")
        common = dict(
            mu=mu,
            fusion=fusion,
            batch=batch,
            masks=sum(map(len, chosen)),
            picture=picture,
            placement=placement,
            name=_name(image),
        )
        explained: list[Explanation | NoEvidence] = []
        for i, target in enumerate(order):
            try:
                own = [keep[i] for keep in kept]
                explained.append(self._fused(i, int(target), features, own, scores, clock, common))
            except NoEvidence as error:  # the other targets' work is not lost
                explained.append(error)
        return explained

    def _fused(
        self,
        position: int,
        target: int,
        features: Features,
        kept: list[np.ndarray],
        scores: list[Scores | None],
        clock: _Clock,
        common: dict[str, Any],
    ) -> Explanation:
        """Phases 3 (the maps) and 4 for one target."""
        clock = clock.copy()
        label = self.manifest.label(target)
        warnings, blocks, usable = list(self.engine.warnings), [], []
        if not self.manifest.has_gradients:
            warnings.append("exported without gradients: no map is selected, all that are not flat are kept")
        size = self.manifest.preprocess.input_size[1:]
        with clock("fusion"):
            for block, maps, keep, scored in zip(
                self.manifest.blocks, features.maps, kept, scores, strict=True
            ):
                shaped = usable_maps(keep, scored)
                v = visualization_map(maps, scored, position, shaped, size) if scored else None
                u = None if v is None else normalise(v)
                count, flat = int(keep.sum()), int(keep.sum() - shaped.sum())
                if u is None:
                    warnings.append(f"{block.name} is skipped: {_why_skipped(len(keep), count, flat)}")
                else:
                    usable.append(u)
                visual = None if u is None else u.astype(np.float32)
                blocks.append(BlockEvidence(block.name, block.channels, count, flat, visual))
            if not usable:
                raise NoEvidence(
                    f"{common['name']}: no feature map speaks for target {target} ({label}): "
                    f"{'; '.join(warnings)}. The picture may be blank, or the class may not be in it"
                )
            raw = fuse(usable, REGIONS[common["fusion"]])
            final = normalise(raw)
        if final is None:
            warnings.append("the fused map is constant: the explanation is all zero")
            final = np.zeros_like(raw)
        trust = confidences(features.logits, self.manifest.activation)
        best = int(trust.argmax())
        return Explanation(
            map=final.astype(np.float32),
            raw=raw,
            blocks=tuple(blocks),
            target=target,
            label=label,
            confidence=float(trust[target]),
            predicted=Prediction(best, self.manifest.label(best), float(trust[best])),
            seconds=dict(clock.seconds),
            provider=self.engine.provider,
            warnings=tuple(warnings),
            model=self.manifest.name,
            **common,
        )


def load(bundle: str | Path, provider: str = "auto", threads: int | None = None) -> Explainer:
    """Load a bundle, see `Explainer`.

    Raises:
        BundleError: the bundle is incomplete, altered, unsafe or of another schema.
        ProviderError: ONNX Runtime, or the provider that was asked for, is not there.
    """
    return Explainer(bundle, provider, threads)


def _why_skipped(maps: int, kept: int, flat: int) -> str:
    if not kept:
        return f"none of its {maps} maps has a positive gradient score"
    if flat == kept:
        return f"all {kept} maps with a positive gradient score are flat"
    return "its visualization map is flat: the model gives no masked copy any confidence in the target"


def _ticker(total: int, progress: Progress | None) -> Callable[[int], None]:
    scored = 0

    def tick(count: int) -> None:
        nonlocal scored
        scored += count
        if progress is not None:
            progress(scored, total)

    return tick


def _name(image: Any) -> str:
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    return str(getattr(image, "filename", "") or "image")


class _Clock:
    """Seconds per phase."""

    def __init__(self, seconds: dict[str, float] | None = None):
        self.seconds = seconds or {}

    def copy(self) -> _Clock:
        return _Clock(dict(self.seconds))

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
