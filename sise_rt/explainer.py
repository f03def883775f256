"""The explainer: one picture and its targets through a method, and through all phases of SISE by default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import Manifest, read_bundle
from .errors import BundleError, MethodError, ModelError, NoEvidence
from .explanation import Explanation, Prediction
from .methods import (
    GRAPHS,
    METHODS,
    USE_FEATURES,
    WITH_BLOCKS,
    Clock,
    Finding,
    Preview,
    Progress,
    Query,
    parse_method,
    settings_of,
)
from .phases.features import confidences, extract, extract_best
from .phases.fusion import normalise
from .phases.scoring import MaskedScoring
from .pictures.placement import Placement, preprocess
from .pictures.reading import MAX_PIXELS, load_image
from .running.batches import Batches
from .running.engine import Engine
from .targets import resolve_target


class Explainer:
    """Explains single predictions of one bundle. Thread-safe: calls share the sessions and the batch sizes.

    Args:
        bundle: folder made by `sise-rt export`.
        provider: `auto`, `cpu`, `cuda` or `tensorrt`.
        threads: CPU threads; None takes the cores that the process may use.
        memory: bytes that the images of a pass may take, besides the model.
        tf32: let CUDA round to TensorFloat-32 in convolutions and matrix products, which is faster.
    """

    def __init__(
        self,
        bundle: str | Path,
        provider: str = "auto",
        threads: int | None = None,
        memory: int | None = None,
        tf32: bool = False,
    ):
        self.manifest: Manifest = read_bundle(bundle)
        self.engine = Engine(bundle, self.manifest, provider, threads, memory, tf32)

    def confidences(self, image: Any) -> np.ndarray:
        """The model's confidence in every class, (classes,) float64.

        Raises:
            ImageError: the picture cannot be used.
            ModelError: the model's numbers are not finite for this picture.
        """
        spec = self.manifest.preprocess
        tensor, _ = preprocess(load_image(image, channels=spec.input_size[0]), spec)
        return confidences(self._logits(tensor, phase_1=True), self.manifest.activation)

    def check_methods(self, methods: Sequence[str]) -> None:
        """Find out whether the bundle has what some methods need.

        Raises:
            MethodError: there is no such method or option.
            BundleError: the bundle has no gradients, or was made by an older sise-rt.
        """
        for text in methods:
            name, given = parse_method(text)
            if name in GRAPHS:
                self.engine.require(GRAPHS[name])
            elif not self.manifest.has_gradients and (name == "ada-sise" or given.get("mu")):
                raise BundleError(f"{self.manifest.name} has no gradient scores for {text} to select by")

    def explain(self, image: Any, target: int | str | None = None, **options: Any) -> Explanation:
        """Explain one target; the class with the highest confidence if none is given.

        Args and errors as in `explain_targets`.

        Raises:
            NoEvidence: the method finds nothing that speaks for the target.
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
        method: str = "sise",
        top_k: int = 1,
        batch_size: int | None = None,
        progress: Progress | None = None,
        preview: Preview | None = None,
        max_pixels: int = MAX_PIXELS,
        **options: Any,
    ) -> list[Explanation | NoEvidence]:
        """Explain several targets of one picture; what they share is computed once.

        Args:
            image: path, bytes, PIL image, or uint8 array (H, W, 3) in RGB.
            targets: class indices or labels; None explains the classes with the highest confidence.
            method: one of `sise_rt.methods.METHODS`, with options as in `sise:mu=0.3`.
            top_k: how many classes, where no targets are given.
            batch_size: images per forward pass; None finds the fastest while it works.
            progress: called with (images run, images to run); an exception it raises ends the call, but that
                of `sise_rt.Stop`, in SISE and Ada-SISE, gives what was found so far.
            preview: called with the running map of each target, (H, W) float32 in [0, 1] or None, after every
                step of SISE and Ada-SISE, which then score the most telling masks first (others have no
                such map, and are refused); may raise as `progress` may.
            max_pixels: larger pictures are refused.
            options: of the method, as `mu` and `fusion` of `sise`; see `sise_rt.methods`.

        Returns:
            One explanation a target, in the order given or by falling confidence; where nothing speaks for a
            target, the `NoEvidence` that says so.

        Raises:
            ImageError: the picture cannot be used.
            TargetError: a target is no class.
            ModelError: the model cannot be run, or its numbers are not finite for this picture.
            BundleError: the bundle has not what the method needs, as gradients.
            MethodError: there is no such method or option, or an option is out of its range.
            ValueError: an argument is out of its range.
        """
        name, given = parse_method(method)
        methods = {method: (name, settings_of(name, given | options))}
        return self._explain(image, targets, methods, top_k, batch_size, progress, max_pixels, preview)[
            method
        ]

    def explain_methods(
        self,
        image: Any,
        targets: Sequence[int | str] | None = None,
        methods: Sequence[str] = tuple(METHODS),
        *,
        top_k: int = 1,
        batch_size: int | None = None,
        progress: Progress | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> dict[str, list[Explanation | NoEvidence]]:
        """Explain the same targets by several methods, which share preprocessing and features.

        The other arguments, and the errors, are those of `explain_targets`. A method of `methods` is a name,
        with options as in `sise:mu=0.3` (`sise_rt.methods.parse_method`).

        Returns:
            What `explain_targets` gives, for each of `methods`.
        """
        if isinstance(methods, str) or not methods or len(set(methods)) < len(methods):
            raise MethodError(f"methods must be different names in a list, not {methods!r}")
        parsed = {}
        for text in methods:
            name, given = parse_method(text)
            parsed[text] = (name, settings_of(name, given))
        return self._explain(image, targets, parsed, top_k, batch_size, progress, max_pixels)

    def _explain(
        self,
        image: Any,
        targets: Sequence[int | str] | None,
        methods: dict[str, tuple[str, dict[str, Any]]],
        top_k: int,
        batch_size: int | None,
        progress: Progress | None,
        max_pixels: int,
        preview: Preview | None = None,
    ) -> dict[str, list[Explanation | NoEvidence]]:
        if (batch_size is not None and batch_size < 1) or top_k < 1:
            raise ValueError("batch_size and top_k must be at least 1")
        if targets is not None and len(targets) == 0:
            raise ValueError("targets is empty; None explains the classes with the highest confidence")
        if preview is not None and not any(name in WITH_BLOCKS for name, _ in methods.values()):
            raise MethodError(f"preview: {', '.join(methods)} has no map to show before its end")
        clock = Clock()
        with clock("preprocess"):
            spec = self.manifest.preprocess
            picture = load_image(image, channels=spec.input_size[0], max_pixels=max_pixels)
            tensor, placement = preprocess(picture, spec)
        with_features = {name in USE_FEATURES for name, _ in methods.values()}
        prediction, logits, phase_1 = clock.copy(), np.empty(0), None
        if False in with_features:
            with prediction("prediction"):
                logits = self._logits(tensor, phase_1=False)
        named = () if targets is None else targets
        order = np.array([resolve_target(target, self.manifest) for target in named], np.int64)
        if True in with_features:
            with clock("features"):
                if targets is None:
                    order, phase_1 = extract_best(self.engine, tensor, top_k)
                else:
                    phase_1 = extract(self.engine, tensor, order)
            logits = phase_1.logits
        elif targets is None:
            order = np.argsort(-logits, kind="stable")[:top_k]
        shown = _Shown(self, logits, picture, placement, _name(image))
        explained, shared = {}, dict[str, MaskedScoring]()
        splits, noted = dict[str, Batches](), dict[str, int]()
        for label, (name, settings) in methods.items():
            # Whatever its neighbours are, its cost is what it would be alone: features tell the confidence.
            own = (clock if name in USE_FEATURES else prediction).copy()
            predicted = int(name not in USE_FEATURES)
            if name in GRAPHS:
                with own("loading"):
                    self.engine.require(GRAPHS[name])
            query = Query(
                engine=self.engine,
                image=tensor,
                targets=order,
                name=shown.name,
                batch_size=batch_size,
                progress=progress,
                preview=preview,
                clock=own,
                phase_1=phase_1,
                shared=shared,
                splits=splits,
                noted=noted,
            )
            results: list[Explanation | NoEvidence] = []
            try:
                answers = METHODS[name](query, **settings)
            except MethodError as error:
                raise MethodError(f"{label}: {error}") from error
            for target, found in zip(order, answers, strict=True):
                if isinstance(found, NoEvidence):
                    results.append(found)
                else:
                    found = replace(found, warnings=(*query.notes(), *found.warnings))
                    results.append(shown.explanation(int(target), name, settings, found, predicted))
            explained[label] = results
        return explained

    def _logits(self, tensor: np.ndarray, phase_1: bool) -> np.ndarray:
        """(classes,); by the features graph where that is open anyway, or an older bundle has no other."""
        if phase_1 or not self.manifest.graphs["forward"]:
            return extract(self.engine, tensor, np.zeros(1, np.int64)).logits
        logits = self.engine.forward(tensor)[0]
        if not np.isfinite(logits).all():
            raise ModelError("the model's logits are not finite for this image")
        return logits


class _Shown:
    """One picture that was explained: makes explanations of what methods find in it."""

    def __init__(
        self,
        explainer: Explainer,
        logits: np.ndarray,
        picture: np.ndarray,
        placement: Placement,
        name: str,
    ):
        self.manifest, self.engine = explainer.manifest, explainer.engine
        self.trust = confidences(logits, self.manifest.activation)
        self.best = int(logits.argmax())  # where confidences are all but 1, logits still differ
        self.picture, self.placement, self.name = picture, placement, name

    def explanation(
        self, target: int, method: str, settings: dict[str, Any], found: Finding, predicted: int
    ) -> Explanation:
        """The explanation of one target; `predicted` counts the passes before the method."""
        warnings = [*self.engine.warnings, *found.warnings]
        final = normalise(found.raw)
        if final is None:
            warnings.append("the map is constant: the explanation is all zero")
            final = np.zeros_like(found.raw)
        return Explanation(
            map=final.astype(np.float32),
            raw=found.raw,
            blocks=found.blocks,
            target=target,
            label=self.manifest.label(target),
            confidence=float(self.trust[target]),
            predicted=Prediction(self.best, self.manifest.label(self.best), float(self.trust[self.best])),
            method=method,
            settings=settings,
            masks=found.masks,
            passes=predicted + found.passes,
            seconds=dict(found.seconds),
            provider=self.engine.provider,
            tf32=self.engine.tf32,
            batch=found.batch,
            warnings=tuple(warnings),
            partial=found.partial,
            guessed=found.guessed,
            name=self.name,
            model=self.manifest.name,
            picture=self.picture,
            placement=self.placement,
        )


def load(
    bundle: str | Path,
    provider: str = "auto",
    threads: int | None = None,
    memory: int | None = None,
    tf32: bool = False,
) -> Explainer:
    """Load a bundle, see `Explainer`.

    Raises:
        BundleError: the bundle is incomplete, altered, unsafe or of another schema.
        ProviderError: ONNX Runtime, or the provider that was asked for, is not there.
    """
    return Explainer(bundle, provider, threads, memory, tf32)


def _name(image: Any) -> str:
    if isinstance(image, (str, os.PathLike)):
        return os.fsdecode(image)
    return str(getattr(image, "filename", "") or "image")
