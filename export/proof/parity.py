"""Parity at export: the bundle's numbers against the source's, before the bundle is given out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from sise_rt.bundle import PROBE, Block
from sise_rt.errors import ModelError, ParityError
from sise_rt.running.logits import confidences
from sise_rt.running.sessions import Sessions, run_features
from sise_rt.running.verify import (
    HALF_SCORE_TOLERANCE,
    QUANTISED_TOLERANCES,
    TOLERANCES,
    cell_sums,
    chain_error,
    differences_error,
    failures,
    image_gradient,
    probe_tensor,
    relative_error,
    score_error,
    slope_error,
)

from ..intake.interface import Interface
from ..intake.sources import Source
from ..ir.cpu_sessions import Level, give_back_memory, open_session, quiet_options
from ..ir.messages import gist
from ..ir.network import Network, image_dependent

CLEAN = 1e-4  # an error of alpha that no unit on the other side of its kink explains
IMAGE_CLEAN = 1e-2  # likewise of the image's gradient, in which every unit counts by itself
EXPORT_TOLERANCES = TOLERANCES | {"alpha": 1e-3}  # on this machine, against the source itself
HALF_TOLERANCE = 5e-2  # of results in half precision, whose every step rounds to three digits
INPUTS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


def allowed_errors(quantised: bool, precision: str) -> dict[str, float]:
    """What the errors of an export may be."""
    allowed = QUANTISED_TOLERANCES if quantised else EXPORT_TOLERANCES
    return allowed | ({"score": HALF_SCORE_TOLERANCE} if precision == "fp16" else {})


def is_quantised(network: Network) -> bool:
    """Whether tensors that depend on the image are rounded to whole steps."""
    dependent = image_dependent(network.graph.nodes, ["images"])
    return any(
        node.op_type == "QuantizeLinear" and node.input[0] in dependent for node in network.graph.nodes
    )


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
    """The probe picture's errors, what is stored of it, and the number of blocks compared by kind.

    `own_kinks` is alpha's error with torch's units on their own sides, where `errors` has the other.
    """

    errors: dict[str, float]
    stored: dict[str, np.ndarray]
    compared: dict[str, int]
    own_kinks: float | None


def measure(
    sessions: Sessions, source: Source, network: Network, blocks: Sequence[Block]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Compare a freshly written bundle with its source.

    Logits and feature maps are compared with torch on the exported program where torch is the source, with
    the original ONNX model otherwise; gradient scores with torch autograd in float64, and where it does not
    reach every block with central differences. Blocks whose tensor goes by another name in the source are
    left out of `compared`.

    A unit whose input rounds to the other side of its kink (of a ReLU, say) changes the gradient, in torch's
    own float32 as much as here. Where gradient scores differ, they are compared once more with every tensor
    that enters such an operator at the value that the bundle has there: a wrong gradient stays wrong, and no
    unit is on another side.

    Returns:
        The manifest's parity entry, and the arrays to store for `sise_rt.verify`.

    Raises:
        ParityError: an error is above its tolerance.
    """
    found = _compare(sessions, source, network, blocks)
    if source.program is None:
        reference = "the original ONNX model" + (" in float32" if source.raw is not None else "")
    elif found.compared["alpha"]:
        reference = "torch autograd, float64"
        if found.own_kinks is not None:
            reference += ", each unit on the bundle's side of its kink"
    else:
        reference = "torch's exported program, float64; central differences for alpha"
    quantised = is_quantised(network)
    if failed := failures(found.errors, allowed_errors(quantised, sessions.manifest.precision)):
        raise ParityError(f"the bundle's numbers differ from the source's ({reference}): {'; '.join(failed)}")
    errors = {name: float(f"{value:.3g}") for name, value in found.errors.items()}
    entry: dict[str, Any] = {"reference": reference, "compared": found.compared, "errors": errors}
    if found.own_kinks is not None:
        entry["alpha_with_own_kinks"] = float(f"{found.own_kinks:.3g}")
    if quantised:
        entry["quantised"] = True
    if source.raw is not None:
        image = probe_tensor(found.stored["image"], sessions.manifest.preprocess)
        entry["precision"] = _precision(source, network, image)
    return entry, found.stored


def _compare(sessions: Sessions, source: Source, network: Network, blocks: Sequence[Block]) -> _Comparison:
    spec = sessions.manifest.preprocess
    picture = probe_picture(*spec.input_size, seed=0)
    image = probe_tensor(picture, spec)
    target, maps, alphas, logits = _features(sessions, image)
    give_back_memory()
    targets = np.array([target])
    tensors = [block.tensor for block in blocks]
    source_alphas: dict[str, np.ndarray] = {}
    source_gradient = None
    if source.program is not None:
        from .kinks import by_autograd, on_same_side

        output, source_maps, source_alphas, source_gradient = by_autograd(
            source, network, image, target, tensors
        )
    else:
        output, source_maps = _original(source.path, source.ends, network, image, tensors)
    if not np.isfinite(output).all():
        raise ModelError(
            "the source itself gives numbers that are not finite for the probe picture, so there is nothing "
            "to compare with: check its weights, and the preprocessing that was assumed"
        )
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
    differentiable = sessions.manifest.graphs["image_gradient"] and not is_quantised(network)
    if differentiable:
        own_gradient = image_gradient(sessions, image, targets)
        errors["image_gradient"] = (
            slope_error(sessions, image, targets, own_gradient)
            if source_gradient is None
            else _distance(own_gradient, source_gradient)
        )
    own_kinks = None
    off = max(errors.get("alpha", 0.0), errors.get("image_gradient", 0.0) / IMAGE_CLEAN * CLEAN)
    if source_alphas and off > CLEAN:
        own_kinks = errors["alpha"]
        inputs = {"images": image, "targets": targets}
        found_alphas, source_alphas, source_gradient = on_same_side(
            sessions, source, network, inputs, tensors
        )
        errors["alpha"] = _alpha_error(found_alphas, source_alphas)
        # What `verify` compares later: more outputs may move a unit in the graph that was run for the values.
        shipped = _alpha_error(dict(zip(tensors, alphas, strict=True)), source_alphas)
        if shipped > TOLERANCES["alpha"]:
            errors["alpha"] = shipped
        if differentiable and source_gradient is not None:
            errors["image_gradient"] = _distance(own_gradient, source_gradient)
    if differentiable:
        stored["image_gradient"] = cell_sums(own_gradient if source_gradient is None else source_gradient)
    for i, (tensor, block_maps) in enumerate(zip(tensors, maps, strict=True), 1):
        stored[f"maps_{i}"] = source_maps.get(tensor, block_maps)[0].mean(axis=(1, 2))
    for i, (tensor, alpha) in enumerate(zip(tensors, alphas, strict=False), 1):
        stored[f"alpha_{i}"] = source_alphas.get(tensor, alpha)[0]
    errors["chain"] = chain_error(sessions, image, targets, maps, alphas, logits)
    errors["score"] = score_error(sessions, image, targets, maps)
    if alphas and len(source_alphas) < len(blocks) and not is_quantised(network):
        errors["differences"] = differences_error(sessions, targets, maps, alphas)
    compared = {"maps": len(source_maps), "alpha": len(source_alphas) if alphas else 0}
    return _Comparison(errors, stored, compared, own_kinks)


def _distance(found: np.ndarray, reference: np.ndarray) -> float:
    """Of two vectors, relative to the reference's length."""
    scale = float(np.linalg.norm(reference))
    return float(np.linalg.norm(found - reference)) / (scale or 1.0)


def _alpha_error(found: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]) -> float:
    return max(relative_error(found[tensor], reference) for tensor, reference in references.items())


def _features(
    sessions: Sessions, image: np.ndarray
) -> tuple[int, list[np.ndarray], list[np.ndarray], np.ndarray]:
    """The predicted class, and what the features graph gives for it; the session is closed again."""
    session = sessions.open_features()
    logits = run_features(session, sessions.manifest, image, np.zeros(1, np.int64))[2]
    target = int(np.argmax(logits[0]))
    maps, alphas, logits = run_features(session, sessions.manifest, image, np.array([target]))
    # ONNX Runtime's own arrays would keep the session's memory, weights included.
    return target, [a.copy() for a in maps], [a.copy() for a in alphas], logits.copy()


def save_probe(folder: Path, stored: dict[str, np.ndarray]) -> None:
    """Store the source's numbers on the probe picture beside the graphs."""
    arrays: dict[str, Any] = {name: _compact(value) for name, value in stored.items()}
    np.savez_compressed(folder / PROBE, **arrays)


def _compact(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32) if value.dtype.kind == "f" else value


def _original(
    path: Path, ends: Interface, network: Network, image: np.ndarray, tensors: Sequence[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The source's own output, and those of its tensors that still go by a block's name."""
    model = onnx.load(path, load_external_data=False)
    known = {name for node in model.graph.node for name in node.output}
    found = [tensor for tensor in tensors if tensor in known]
    outputs = {value.name for value in model.graph.output}
    wanted = dict.fromkeys((ends.output, *found))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in outputs)
    try:
        session = open_session(model.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), path.parent)
        if network.layout == "NHWC":
            image = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
        image = np.repeat(image, ends.dims[0] or 1, axis=0)  # the original may have a fixed batch
        image = image.astype(INPUTS[session.get_inputs()[0].type])
        output, *values = session.run([ends.output, *found], {ends.image: image})
    except Exception as error:
        raise ModelError(f"the original model does not run: {gist(error)}") from error
    # Only tensors of the same layout can be compared: NHWC maps went through a transposition on the way.
    same = {t: v[:1] for t, v in zip(found, values, strict=True) if v.shape[1:] == network.types[t].shape[1:]}
    return output.reshape(ends.dims[0] or 1, -1)[:1], same


def _precision(source: Source, network: Network, image: np.ndarray) -> dict[str, Any]:
    """How far the source in its own precision is from itself in float32, for the manifest.

    Raises:
        ParityError: further than its precision explains.
    """
    assert source.raw is not None
    kinds = " and ".join(source.precision)
    # Whole pixels are whole in the probe picture too, unless the user asks for another preprocessing.
    image = np.round(image) if "uint8" in source.precision else image
    reference, _ = _original(source.path, source.ends, network, image, [])
    try:
        output, _ = _original(source.raw, source.ends, network, image, [])
    except ModelError:  # it has no kernels for doubles and bfloat16 on every machine
        return {"source": kinds, "error": None}
    error = relative_error(output.astype(np.float32), reference)
    tolerance = HALF_TOLERANCE if "16" in kinds else EXPORT_TOLERANCES["logits"]
    if not error <= tolerance:
        raise ParityError(
            f"the source's results in {kinds} differ from those in float32 by {error:.1e}, which is above "
            f"{tolerance:.0e}"
            + (": it takes whole pixels, so leave mean, std and scale to it" if "uint8" in kinds else "")
        )
    return {"source": kinds, "error": float(f"{error:.3g}")}
