"""The explainer: one picture and its targets through all phases of SISE."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import Manifest, read_bundle
from .engine import Engine
from .errors import NoEvidence, OutputError
from .features import Features, confidences, extract
from .files import write_whole
from .fusion import REGIONS, fuse, normalise
from .masks import constant_maps, select
from .preprocess import MAX_PIXELS, Placement, load_image, preprocess, to_original
from .render import overlay, save_png, strip
from .scoring import Scores, score, visualization_map
from .targets import resolve_target

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BlockEvidence:
    """What one block contributes to an explanation.

    Attributes:
        name: of the block.
        maps: how many feature maps it has.
        kept: how many were selected by their gradient score.
        constant: how many of those are flat and were dropped.
        visualization: U_b (H, W) float32 in [0, 1], V_b min-max normalised; None if no map was usable.
    """

    name: str
    maps: int
    kept: int
    constant: int
    visualization: np.ndarray | None


@dataclass(frozen=True)
class Explanation:
    """Why the model gave a picture its confidence in one target.

    Attributes:
        map: (H, W) float32 in [0, 1], in the model's input coordinates: the fused map, min-max normalised.
        raw: (H, W) float64 in [0, number of usable blocks]: the fused map as Fig. 5 gives it.
        blocks: the evidence of each block, in the order of the data.
        target: class index.
        label: of the target.
        confidence: of the model in the target, for the whole picture.
        mu: selection threshold.
        fusion: `otsu` or `otsu-soft`.
        masks: how many masked copies were scored; shared by the targets of one call.
        seconds: per phase; `features` and `scoring` are shared by the targets of one call.
        provider: what ran the model.
        batch: masks per forward pass.
        warnings: what the user should know.
        name: of the picture.
        model: name of the bundle.
        picture: (H0, W0, 3) uint8, the original.
        placement: where the model's input lies in the original.
    """

    map: np.ndarray
    raw: np.ndarray
    blocks: tuple[BlockEvidence, ...]
    target: int
    label: str
    confidence: float
    mu: float
    fusion: str
    masks: int
    seconds: dict[str, float]
    provider: str
    batch: int
    warnings: tuple[str, ...]
    name: str
    model: str
    picture: np.ndarray = field(repr=False)
    placement: Placement = field(repr=False)

    def record(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON."""
        return {
            "image": self.name,
            "model": self.model,
            "target": {"index": self.target, "label": self.label},
            "confidence": self.confidence,
            "mu": self.mu,
            "fusion": self.fusion,
            "blocks": [
                {
                    "name": b.name,
                    "maps": b.maps,
                    "kept": b.kept,
                    "constant": b.constant,
                    "used": b.visualization is not None,
                }
                for b in self.blocks
            ],
            "masks": self.masks,
            "seconds": {phase: round(seconds, 4) for phase, seconds in self.seconds.items()},
            "provider": self.provider,
            "batch": self.batch,
            "warnings": list(self.warnings),
        }

    def overlay(self) -> np.ndarray:
        """The map over the original picture, (H0, W0, 3) uint8 RGB."""
        return overlay(self.picture, *to_original(self.map, self.placement))

    def strip(self) -> np.ndarray:
        """The picture, each block's visualization map, and the explanation, side by side: uint8 RGB."""
        maps = [(block.name, block.visualization) for block in self.blocks] + [("explanation", self.map)]
        placed = [(name, None if m is None else to_original(m, self.placement)[0]) for name, m in maps]
        seen = to_original(self.map, self.placement)[1]
        return strip(self.picture, placed, seen=seen, heading=f"{self.label}  {self.confidence:.3f}")

    def save(self, folder: str | Path, stem: str | None = None, *, blocks: bool = False) -> list[Path]:
        """Write `<stem>.<target>.png` (overlay), `.npy` (the map) and `.json` (the record).

        Args:
            folder: is made if missing.
            stem: of the file names; the picture's own if None.
            blocks: also write `<stem>.<target>.blocks.png`, the strip.

        Returns:
            The files.

        Raises:
            OutputError: a file cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"folder {str(folder)!r} cannot be made: {error}") from error
        base = f"{Path(self.name).stem if stem is None else stem}.{self.target}"
        array = io.BytesIO()
        np.save(array, self.map, allow_pickle=False)
        files = [folder / f"{base}{suffix}" for suffix in (".png", ".npy", ".json")]
        save_png(files[0], self.overlay())
        write_whole(files[1], array.getvalue())
        write_whole(files[2], (json.dumps(self.record(), indent=2, ensure_ascii=False) + "\n").encode())
        if blocks:
            files.append(folder / f"{base}.blocks.png")
            save_png(files[3], self.strip())
        return files


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
        """The model's confidence in every class, (classes,) float64."""
        spec = self.manifest.preprocess
        tensor, _ = preprocess(load_image(image, channels=spec.input_size[0]), spec)
        return self._confidences(tensor)

    def _confidences(self, tensor: np.ndarray) -> np.ndarray:
        *_, logits = self.engine.features(tensor, np.zeros(1, np.int64))
        return confidences(logits[0], self.manifest.activation)

    def explain(self, image: Any, target: int | str | None = None, **options: Any) -> Explanation:
        """Explain one target; the class with the highest confidence if none is given.

        Args and errors as in `explain_targets`.
        """
        targets = None if target is None else [target]
        return self.explain_targets(image, targets, **options)[0]

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
    ) -> list[Explanation]:
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
            One explanation a target, in the order given or by falling confidence.

        Raises:
            ImageError: the picture cannot be used.
            TargetError: a target is no class.
            NoEvidence: no block has a usable map for a target.
            ModelError: the model's numbers are not finite for this picture.
        """
        if not 0 <= mu < 1:
            raise ValueError(f"mu is {mu}, where 0 <= mu < 1 is needed")
        if fusion not in REGIONS:
            raise ValueError(f"fusion is {fusion!r}; known are {', '.join(REGIONS)}")
        if (batch_size is not None and batch_size < 1) or top_k < 1:
            raise ValueError("batch_size and top_k must be at least 1")
        clock = _Clock()
        with clock("preprocess"):
            spec = self.manifest.preprocess
            picture = load_image(image, channels=spec.input_size[0], max_pixels=max_pixels)
            tensor, placement = preprocess(picture, spec)
        with clock("features"):
            if targets is None:
                order = np.argsort(-self._confidences(tensor), kind="stable")[:top_k]
            else:
                order = np.array([resolve_target(target, self.manifest) for target in targets])
            features = extract(self.engine, tensor, order.astype(np.int64))
        with clock("masks"):
            kept = [np.array([select(alpha, mu) for alpha in alphas]) for alphas in features.alphas]
            flat = [constant_maps(maps) for maps in features.maps]
        batch = batch_size or self._best_batch(clock)
        with clock("scoring"):
            scorer = self.engine.scorer(tensor, order.astype(np.int64), batch)
            to_score = [
                np.flatnonzero(keep.any(axis=0) & ~constant)
                for keep, constant in zip(kept, flat, strict=True)
            ]
            tick = _ticker(sum(map(len, to_score)), progress)
            scores = [
                score(scorer, maps, index, tick) if len(index) else None
                for maps, index in zip(features.maps, to_score, strict=True)
            ]
        return [
            self._fused(
                position,
                int(target),
                features,
                [k[position] for k in kept],
                flat,
                scores,
                clock,
                dict(
                    mu=mu,
                    fusion=fusion,
                    batch=batch,
                    picture=picture,
                    placement=placement,
                    name=_name(image),
                ),
            )
            for position, target in enumerate(order)
        ]

    def _best_batch(self, clock: _Clock) -> int:
        with clock("calibration"):
            return self.engine.best_batch()

    def _fused(
        self,
        position: int,
        target: int,
        features: Features,
        kept: list[np.ndarray],
        flat: list[np.ndarray],
        scores: list[Scores | None],
        clock: _Clock,
        common: dict[str, Any],
    ) -> Explanation:
        """Phases 3 (the maps) and 4 for one target."""
        clock = clock.copy()
        label = self.manifest.label(target)
        warnings, blocks, usable = list(self.engine.warnings), [], []
        _, height, width = self.manifest.preprocess.input_size
        with clock("fusion"):
            for block, maps, alpha, keep, constant, scored in zip(
                self.manifest.blocks, features.maps, features.alphas, kept, flat, scores, strict=True
            ):
                v = (
                    None
                    if scored is None
                    else visualization_map(maps, scored, position, keep, (height, width))
                )
                u = None if v is None else normalise(v)
                dropped = int((keep & constant).sum())
                if u is None:
                    warnings.append(
                        f"{block.name} is skipped: {_why_skipped(alpha[position], keep, dropped, v)}"
                    )
                else:
                    usable.append(u)
                visual = None if u is None else u.astype(np.float32)
                blocks.append(BlockEvidence(block.name, block.channels, int(keep.sum()), dropped, visual))
            if not usable:
                raise NoEvidence(
                    f"{common['name']}: no feature map speaks for target {target} ({label}): {'; '.join(warnings)}. "
                    "The picture may be blank, or the class may not be in it"
                )
            raw = fuse(usable, REGIONS[common["fusion"]])
            final = normalise(raw)
        if final is None:
            warnings.append("the fused map is constant: the explanation is all zero")
            final = np.zeros_like(raw)
        confidence = confidences(features.logits, self.manifest.activation)[target]
        return Explanation(
            map=final.astype(np.float32),
            raw=raw,
            blocks=tuple(blocks),
            target=target,
            label=label,
            confidence=float(confidence),
            masks=sum(len(s.index) for s in scores if s),
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


def _why_skipped(alpha: np.ndarray, keep: np.ndarray, dropped: int, v: np.ndarray | None) -> str:
    if not keep.any():
        return f"none of its {len(alpha)} maps has a positive gradient score"
    if v is None:
        return f"the {int(keep.sum())} maps with a positive gradient score are flat"
    return f"its visualization map is flat ({dropped} of {int(keep.sum())} kept maps are flat themselves)"


def _ticker(total: int, progress: Progress | None) -> Callable[[int], None]:
    scored = 0

    def tick(count: int) -> None:
        nonlocal scored
        scored += count
        if progress is not None:
            progress(scored, total)

    return tick


def _name(image: Any) -> str:
    return str(image) if isinstance(image, (str, Path)) else getattr(image, "filename", "") or "image"


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
