"""The probe: a picture and the source's numbers on it, which a bundle keeps to be measured again."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import PROBE, Preprocess
from sise_rt.errors import BundleError

from .sessions import Sessions

CELLS = 16  # of the image's gradient, along each axis, at most


@dataclass(frozen=True)
class Probe:
    """A picture and what the source gives for it, for one class and B blocks of K_b maps.

    Attributes:
        image: (C, H, W) uint8, as preprocessing's first step takes it.
        target: the class whose gradients these are.
        output: (classes,) logits; confidences where the source ends in an activation.
        of_confidences: whether `output` is.
        map_means: the mean of each feature map, (K_b,) of each block.
        alphas: gradient scores (K_b,) of each block; empty where the bundle has no gradients.
        image_gradient: of the target's log-odds, summed over at most 16 x 16 cells, (C, rows, columns); None
            where the bundle does not give it.
    """

    image: np.ndarray
    target: int
    output: np.ndarray
    of_confidences: bool
    map_means: tuple[np.ndarray, ...]
    alphas: tuple[np.ndarray, ...]
    image_gradient: np.ndarray | None

    def save(self, folder: Path) -> None:
        """Store it beside a bundle's graphs, in float32."""
        arrays: dict[str, Any] = {
            "image": self.image,
            "target": np.array(self.target),
            "confidences" if self.of_confidences else "logits": self.output,
        }
        if self.image_gradient is not None:
            arrays["image_gradient"] = self.image_gradient
        arrays |= {f"maps_{i}": means for i, means in enumerate(self.map_means, 1)}
        arrays |= {f"alpha_{i}": alpha for i, alpha in enumerate(self.alphas, 1)}
        compact = {k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in arrays.items()}
        np.savez_compressed(folder / PROBE, **compact)


def read_probe(sessions: Sessions) -> Probe:
    """Read the probe of the bundle that sessions are of.

    Raises:
        BundleError: it cannot be read, or does not fit the manifest.
    """
    manifest, path = sessions.manifest, sessions.folder / PROBE
    try:
        with np.load(io.BytesIO(sessions.read(PROBE)), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # the readers of archives may meet anything in a broken file
        raise BundleError(f"{path} cannot be used: {error}") from error
    output = "logits" if "logits" in arrays else "confidences"
    blocks = range(1, len(manifest.blocks) + 1)
    scored = blocks if manifest.has_gradients else ()
    shapes: dict[str, tuple[int, ...]] = {"image": manifest.preprocess.input_size, "target": ()}
    shapes[output] = (manifest.classes,)
    for index, block in enumerate(manifest.blocks, 1):
        shapes |= {f"maps_{index}": (block.channels,)}
        shapes |= {f"alpha_{index}": (block.channels,)} if index in scored else {}
    if "image_gradient" in arrays:
        channels, *sides = manifest.preprocess.input_size
        shapes["image_gradient"] = (channels, *(min(CELLS, side) for side in sides))
    kinds = {"image": np.uint8, "target": np.int64}
    for name, shape in shapes.items():
        kind = kinds.get(name, np.float32)
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != kind:
            raise BundleError(f"{path} cannot be used: it needs {name} {shape} as {kind.__name__}")
    if not 0 <= arrays["target"] < manifest.classes:
        raise BundleError(f"{path} cannot be used: target {arrays['target']} is no class")
    return Probe(
        image=arrays["image"],
        target=int(arrays["target"]),
        output=arrays[output],
        of_confidences=output == "confidences",
        map_means=tuple(arrays[f"maps_{index}"] for index in blocks),
        alphas=tuple(arrays[f"alpha_{index}"] for index in scored),
        image_gradient=arrays.get("image_gradient"),
    )


def probe_tensor(probe: np.ndarray, spec: Preprocess) -> np.ndarray:
    """The probe picture (C, H, W) uint8, on the model's scale, as its input (1, C, H, W) float32."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    pixels = probe.astype(np.float32) * np.float32((2**spec.bit_depth - 1) / 255)
    return ((pixels / np.float32(spec.scale) - mean) / std)[None]


def cell_sums(gradient: np.ndarray) -> np.ndarray:
    """Sums of a gradient (1, C, H, W) over at most 16 x 16 cells, (C, rows, columns): little to store."""
    summed = gradient[0].astype(np.float64)
    for axis in (1, 2):
        extent = summed.shape[axis]
        starts = np.linspace(0, extent, min(CELLS, extent), endpoint=False).astype(int)
        summed = np.add.reduceat(summed, starts, axis=axis)
    return summed
