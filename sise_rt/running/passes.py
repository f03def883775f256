"""Running graphs that are open: what fails, and what a run gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sise_rt.cautions import Caution
from sise_rt.errors import BundleError, ModelError, OutOfMemory
from sise_rt.graphs import GraphSpec
from sise_rt.manifest import Manifest

# How ONNX Runtime, CUDA, cuBLAS and cuDNN say that memory is full.
FULL = re.compile("bad_?alloc|bad allocation|allocate memory|out of memory|alloc_failed", re.IGNORECASE)


def run(session: Any, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Run a session.

    Raises:
        OutOfMemory: the device's memory is full.
        ModelError: ONNX Runtime cannot, as for an input that does not fit.
    """
    try:
        return session.run(None, inputs)
    except Exception as error:
        raise cannot_run(error) from error


def cannot_run(error: Exception) -> ModelError:
    """What is raised for an error of ONNX Runtime, which has one kind for all of them."""
    kind = OutOfMemory if FULL.search(str(error)) else ModelError
    return kind(f"the model cannot be run: {first_line(error)}")


@dataclass(frozen=True)
class OpenGraph:
    """A graph of a bundle, open on a provider; what it gives is held against what the manifest says.

    Attributes:
        session: ONNX Runtime's.
        spec: what the graph takes and gives.
        file: for people.
        notes: what the user should know: what the provider has left to another.
    """

    session: Any
    spec: GraphSpec
    file: Path
    notes: tuple[Caution, ...] = ()

    def run(self, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs, in the order of the spec.

        Raises:
            OutOfMemory: the device's memory is full.
            ModelError: ONNX Runtime cannot run it, as for an input that does not fit.
            BundleError: an output has another type or shape than the manifest says.
        """
        outputs = run(self.session, inputs)
        self.require_fit(inputs, outputs)
        return outputs

    def require_fit(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[Any]) -> None:
        """Refuse outputs that are not those of the spec: a file only declares what it gives.

        Raises:
            BundleError: says which output, what it is, and what it should be.
        """
        if misfit := self.spec.misfit(inputs, outputs):
            raise BundleError(f"{self.file} does not fit the manifest: {misfit}: export the bundle again")


class FeaturePass(NamedTuple):
    """What a run of the features graph gives for an image and T targets.

    Attributes:
        maps: A_b of each block, (1, K, h, w).
        alphas: alpha_b of each block, (T, K); empty where the bundle has no gradients.
        logits: (1, classes).
    """

    maps: list[np.ndarray]
    alphas: list[np.ndarray]
    logits: np.ndarray


def run_features(
    graph: OpenGraph, manifest: Manifest, images: np.ndarray, targets: np.ndarray
) -> FeaturePass:
    """Run the features graph.

    Args:
        graph: as it is opened.
        manifest: of the bundle.
        images: (1, C, H, W) float32.
        targets: (T,) int64; one where the bundle does not share the forward pass.

    Raises:
        ModelError: as `OpenGraph.run`.
        BundleError: likewise.
    """
    inputs = {"images": images} | ({"targets": targets} if manifest.has_gradients else {})
    *blocks, logits = graph.run(inputs)
    count = len(manifest.blocks)
    return FeaturePass(blocks[:count], blocks[count:], logits)


def first_line(error: Exception) -> str:
    """What ONNX Runtime says first; the rest is where it was."""
    return next(iter(str(error).splitlines()), type(error).__name__)
