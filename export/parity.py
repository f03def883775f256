"""Parity at export: the bundle's numbers against the source's, before the bundle is given out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from sise_rt.bundle import PROBE, Block
from sise_rt.engine import Engine
from sise_rt.errors import ModelError, ParityError
from sise_rt.features import confidences
from sise_rt.verify import TOLERANCES, chain_error, differences_error, failures, probe_tensor, relative_error

from .messages import first_line
from .network import Network
from .sources import Source

PROBES, CLEAN = 8, 1e-4  # pictures tried at most, and the error of alpha that ends the search
EXPORT_TOLERANCES = TOLERANCES | {"alpha": 1e-3}  # on this machine, against the source itself


def probe_picture(channels: int, height: int, width: int, seed: int) -> np.ndarray:
    """A picture with structure at every scale, (C, H, W) uint8."""
    rng = np.random.default_rng(seed)
    total = np.zeros((channels, height, width))
    cell = 1
    while cell <= max(height, width):
        coarse = rng.standard_normal((channels, height // cell + 1, width // cell + 1))
        total += coarse.repeat(cell, axis=1).repeat(cell, axis=2)[:, :height, :width]
        cell *= 2
    low, high = total.min(), total.max()
    return np.round(255 * (total - low) / (high - low)).astype(np.uint8)


@dataclass(frozen=True)
class _Comparison:
    """One probe picture's errors, what is stored of it, and the number of blocks compared by kind."""

    errors: dict[str, float]
    stored: dict[str, np.ndarray]
    compared: dict[str, int]


def measure(
    engine: Engine, source: Source, network: Network, blocks: Sequence[Block]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare a freshly written bundle with its source.

    Logits and feature maps are compared with torch on the exported program where torch is the source, with
    the original ONNX model otherwise; gradient scores with torch autograd in float64, or with central
    differences. Blocks whose tensor goes by another name in the source are left out of `compared`.

    A unit whose input rounds to the other side of its kink (of a ReLU, say) changes the gradient, in torch's
    own float32 as much as here. A wrong gradient differs on every picture, such a unit on few; so the best of
    several pictures counts.

    Returns:
        The manifest's parity entry, and the arrays to store for `sise_rt.verify`.

    Raises:
        ParityError: an error is above its tolerance.
    """
    best = None
    for probe in range(PROBES if source.program is not None else 1):
        found = _compare(engine, source, network, blocks, probe)
        if best is None or found.errors.get("alpha", 0.0) < best.errors["alpha"]:
            best = found
        if found.errors.get("alpha", 0.0) <= CLEAN:
            break
    assert best is not None
    if source.program is None:
        reference = "the original ONNX model"
    elif best.compared["alpha"]:
        reference = "torch autograd, float64"
    else:
        reference = "torch's exported program, float64; central differences for alpha"
    if failed := failures(best.errors, EXPORT_TOLERANCES):
        raise ParityError(f"the bundle's numbers differ from the source's ({reference}): {'; '.join(failed)}")
    errors = {name: float(f"{value:.3g}") for name, value in best.errors.items()}
    return {
        "reference": reference,
        "pictures": probe + 1,
        "compared": best.compared,
        "errors": errors,
    }, best.stored


def _compare(
    engine: Engine, source: Source, network: Network, blocks: Sequence[Block], probe: int
) -> _Comparison:
    spec = engine.manifest.preprocess
    picture = probe_picture(*spec.input_size, seed=probe)
    image = probe_tensor(picture, spec)
    target = int(np.argmax(engine.features(image, np.zeros(1, np.int64))[2][0]))
    targets = np.array([target])
    maps, alphas, logits = engine.features(image, targets)
    tensors = [block.tensor for block in blocks]
    source_alphas: dict[str, np.ndarray] = {}
    if source.program is not None:
        from .autograd import autograd_reference

        output, source_maps, source_alphas = autograd_reference(
            source.program, image, target, network.activation, network.removed, tensors
        )
    else:
        output, source_maps = _original(source, network, image, tensors)
    output = output.reshape(-1)
    if network.removed:
        kind, found = "confidences", confidences(logits[0], network.activation)
        output = np.exp(output) if network.removed == "LogSoftmax" else output
        output = np.array([1 - output[0], output[0]]) if output.size == 1 else output
    else:
        kind, found = "logits", logits[0]
        output = np.array([-output[0], output[0]]) if output.size == 1 else output
    stored = {"image": picture, "target": np.array(target), kind: output}
    errors = {"logits": relative_error(found, output)}
    for name, measured, references in (("maps", maps, source_maps), ("alpha", alphas, source_alphas)):
        pairs = [(m, references[t]) for t, m in zip(tensors, measured, strict=False) if t in references]
        if pairs:
            errors[name] = max(relative_error(m, reference) for m, reference in pairs)
    for i, (tensor, block_maps) in enumerate(zip(tensors, maps, strict=True), 1):
        stored[f"maps_{i}"] = source_maps.get(tensor, block_maps)[0].mean(axis=(1, 2))
    for i, (tensor, alpha) in enumerate(zip(tensors, alphas, strict=False), 1):
        stored[f"alpha_{i}"] = source_alphas.get(tensor, alpha)[0]
    errors["chain"] = chain_error(engine, image, targets, maps, alphas, logits)
    if alphas:
        errors["differences"] = differences_error(engine, targets, maps, alphas)
    compared = {"maps": len(source_maps), "alpha": len(source_alphas) if alphas else 0}
    return _Comparison(errors, stored, compared)


def save_probe(folder: Path, stored: dict[str, np.ndarray]) -> None:
    """Store the source's numbers on the probe picture beside the graphs."""
    arrays: dict[str, Any] = {name: _compact(value) for name, value in stored.items()}
    np.savez_compressed(folder / PROBE, **arrays)


def _compact(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype.kind == "f" else value


def _original(
    source: Source, network: Network, image: np.ndarray, tensors: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The source's own output, and those of its tensors that still go by a block's name."""
    model = onnx.load(source.path)
    known = {name for node in model.graph.node for name in node.output}
    found = [tensor for tensor in tensors if tensor in known]
    outputs = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in found if name not in outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        if network.layout == "NHWC":
            image = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
        image = np.repeat(image, source.ends.dims[0] or 1, axis=0)  # the original may have a fixed batch
        output, *values = session.run([source.ends.output, *found], {source.ends.image: image})
    except Exception as error:
        raise ModelError(f"the original model does not run: {first_line(error)}") from error
    # Only tensors of the same layout can be compared: NHWC maps went through a transposition on the way.
    same = {t: v[:1] for t, v in zip(found, values, strict=True) if v.shape[1:] == network.types[t].shape[1:]}
    return output[:1], same
