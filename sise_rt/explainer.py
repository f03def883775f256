"""The explainer: one picture and its targets through a method, and through all phases of SISE by default."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .answering import Explained, explain_picture, predict
from .bundle import Manifest, load_bundle
from .errors import NoEvidence
from .explanation import Explanation
from .methods import METHODS, Preview, Progress, Request, parse_all, request
from .pictures.picture import Picture, prepare
from .pictures.reading import MAX_PIXELS
from .running.engine import Engine
from .running.logits import confidences
from .running.provider import FP32
from .running.sessions import Sessions


class Explainer:
    """Explains single predictions of one bundle. Thread-safe: calls share the sessions and the batch sizes.

    The bundle is read into memory: what later becomes of its folder changes no answer. Methods with graphs of
    their own read the weights again when they are first used, and refuse those that have changed since.

    Args:
        bundle: folder made by `sise-rt export`.
        provider: `auto` (CUDA where ONNX Runtime was built with it, else the CPU), `cpu`, `cuda`,
            `tensorrt`, `openvino`, or `plugin:` and the name of another plug-in.
        threads: CPU threads; None takes the cores that the process may use, and more are cut to these.
        memory: bytes that the images of a pass may take, besides the model.
        tf32: let CUDA round to TensorFloat-32 in convolutions and matrix products, which is faster.
        precision: that masked copies are scored in: `fp32`, `bf16` where the CPU has it, or `verified`, which
            is bf16 where `sise-rt verify` found that good enough for the bundle on such a machine, else fp32;
            features and gradients are in float32 in any case.
        oversubscribe: start as many threads as were asked for, on however few cores.
    """

    def __init__(
        self,
        bundle: str | Path,
        provider: str = "auto",
        threads: int | None = None,
        memory: int | None = None,
        tf32: bool = False,
        *,
        precision: str = FP32,
        oversubscribe: bool = False,
    ):
        with load_bundle(bundle) as (manifest, files):
            sessions = Sessions(
                bundle,
                manifest,
                provider,
                threads,
                tf32,
                precision=precision,
                oversubscribe=oversubscribe,
                files=files,
            )
            self.engine = Engine(sessions, memory)
        self.manifest: Manifest = manifest

    def __repr__(self) -> str:
        """The model, its input, and what runs it."""
        manifest, (channels, height, width) = self.manifest, self.manifest.preprocess.input_size
        return (
            f"<Explainer of {manifest.name!r}: {channels} x {height} x {width}, {manifest.classes} classes "
            f"({manifest.activation}), {len(manifest.blocks)} blocks, on {self.engine.provider}>"
        )

    def prepare(
        self,
        image: Any,
        *,
        bit_depth: int | None = None,
        max_pixels: int = MAX_PIXELS,
        name: str | None = None,
    ) -> Picture:
        """Read and preprocess a picture once, for everything that takes one.

        Args:
            image: path, bytes, PIL image, or array (H, W, 3) in RGB, uint8 or uint16.
            bit_depth: of a picture that is stored in 16 bits, as 12 of most microscopes; None takes what the
                file says, else the model's if that is more than 8, else 16.
            max_pixels: larger pictures are refused.
            name: of the picture in messages, records and files; by default its path.

        Raises:
            ImageError: the picture cannot be used.
            ArgumentError: there is no such bit depth.
        """
        spec = self.manifest.preprocess
        return prepare(image, spec, bit_depth=bit_depth, max_pixels=max_pixels, name=name)

    def confidences(self, image: Any) -> np.ndarray:
        """The model's confidence in every class, (classes,) float64.

        Args:
            image: a `Picture`, or what `prepare` takes.

        Raises:
            ImageError: the picture cannot be used.
            ModelError: the model's numbers are not finite for this picture.
        """
        return confidences(predict(self.engine, self.prepare(image).tensor), self.manifest.activation)

    def require(self, methods: Sequence[str | Request]) -> list[Request]:
        """Find out whether the bundle has what some methods need, and open it.

        Raises:
            MethodError: there is no such method or option.
            BundleError: the bundle has no gradients, or was made by an older sise-rt.
        """
        requests = parse_all(methods)
        for asked in requests:
            asked.check(self.manifest)
            if asked.method.graph:
                self.engine.require(asked.method.graph)
        return requests

    def explain(
        self,
        image: Any,
        target: int | str | None = None,
        *,
        method: str | Request = "sise",
        preset: str | None = None,
        mu: float | None = None,
        fusion: str | None = None,
        budget: float | None = None,
        max_passes: int | None = None,
        max_seconds: float | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
        preview: Preview | None = None,
        max_pixels: int = MAX_PIXELS,
        **options: Any,
    ) -> Explanation:
        """Explain one target; the class with the highest confidence if none is given.

        Args:
            image: a `Picture`, path, bytes, PIL image, or array (H, W, 3) in RGB, uint8 or uint16.
            target: class index or label.
            method: a name of `sise_rt.methods.METHODS`, with options as in `rise:masks=1000`, or a `Request`.
            preset: of SISE: `exact`, or `fast`, which scores a tenth of the masks.
            mu: of SISE: selection threshold, 0 <= mu < 1; higher scores fewer masks.
            fusion: of SISE and Ada-SISE: `otsu` (the paper) or `otsu-soft` (the authors' code).
            budget: of SISE: the share of the masks to score, 0 < budget <= 1; the others are predicted.
            max_passes: of SISE: forward passes at most.
            max_seconds: of SISE: scores for so long at most.
            batch_size: images per forward pass; None finds the fastest while it works.
            progress: called with (images run, images to run); an exception it raises ends the call, but that
                of `sise_rt.Stop`, in SISE and Ada-SISE, gives what was found so far.
            preview: called with the running map of each target, (H, W) float32 in [0, 1] or None, after every
                step of SISE and Ada-SISE, which then score the most telling masks first (others have no
                such map, and are refused); may raise as `progress` may.
            max_pixels: larger pictures are refused.
            options: of other methods, as `masks` of `rise`.

        Raises:
            NoEvidence: the method finds nothing that speaks for the target.
            ImageError: the picture cannot be used.
            TargetError: a target is no class.
            ModelError: the model cannot be run, or its numbers are not finite for this picture.
            BundleError: the bundle has not what the method needs, as gradients.
            MethodError: there is no such method, preset or option, or an option is out of its range.
            ArgumentError: another argument is out of its range.
        """
        (explanation,) = self.explain_targets(
            image,
            None if target is None else [target],
            method=method,
            preset=preset,
            mu=mu,
            fusion=fusion,
            budget=budget,
            max_passes=max_passes,
            max_seconds=max_seconds,
            batch_size=batch_size,
            progress=progress,
            preview=preview,
            max_pixels=max_pixels,
            **options,
        )
        if isinstance(explanation, NoEvidence):
            raise explanation
        return explanation

    def explain_targets(
        self,
        image: Any,
        targets: Sequence[int | str] | None = None,
        *,
        method: str | Request = "sise",
        preset: str | None = None,
        mu: float | None = None,
        fusion: str | None = None,
        budget: float | None = None,
        max_passes: int | None = None,
        max_seconds: float | None = None,
        top_k: int = 1,
        batch_size: int | None = None,
        progress: Progress | None = None,
        preview: Preview | None = None,
        max_pixels: int = MAX_PIXELS,
        **options: Any,
    ) -> list[Explanation | NoEvidence]:
        """Explain several targets of one picture; what they share is computed once.

        `targets` are class indices or labels; without any, the `top_k` classes with the highest confidence
        are explained. The other arguments, and the errors, are those of `explain`.

        Returns:
            One explanation a target, in the order given or by falling confidence; where nothing speaks for a
            target, the `NoEvidence` that says so.
        """
        asked = request(
            method,
            preset,
            mu=mu,
            fusion=fusion,
            budget=budget,
            max_passes=max_passes,
            max_seconds=max_seconds,
            **options,
        )
        explained = explain_picture(
            self.engine,
            partial(self.prepare, image, max_pixels=max_pixels),
            targets,
            [asked],
            top_k=top_k,
            batch_size=batch_size,
            progress=progress,
            preview=preview,
        )
        return explained[asked.label]

    def explain_methods(
        self,
        image: Any,
        targets: Sequence[int | str] | None = None,
        methods: Sequence[str | Request] = tuple(METHODS),
        *,
        top_k: int = 1,
        batch_size: int | None = None,
        progress: Progress | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> Explained:
        """Explain the same targets by several methods, which share preprocessing and features.

        `methods` are names, with options as in `sise:mu=0.3`, or requests; their labels differ. The other
        arguments, and the errors, are those of `explain_targets`.

        Returns:
            What `explain_targets` gives, by the label of each method.
        """
        return explain_picture(
            self.engine,
            partial(self.prepare, image, max_pixels=max_pixels),
            targets,
            parse_all(methods),
            top_k=top_k,
            batch_size=batch_size,
            progress=progress,
        )


def load(
    bundle: str | Path,
    provider: str = "auto",
    threads: int | None = None,
    memory: int | None = None,
    tf32: bool = False,
    *,
    precision: str = FP32,
    oversubscribe: bool = False,
) -> Explainer:
    """Load a bundle, see `Explainer`.

    Raises:
        BundleError: the bundle is incomplete, altered, unsafe or of another schema.
        ProviderError: ONNX Runtime, or the provider that was asked for, is not there, or does not compute in
            the precision.
        ArgumentError: `threads` or `memory` is below 1, or there is no such precision.
    """
    return Explainer(
        bundle, provider, threads, memory, tf32, precision=precision, oversubscribe=oversubscribe
    )
