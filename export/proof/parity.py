"""Parity at export: the bundle's numbers against the source's, before the bundle is given out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from sise_rt.errors import ModelError, ParityError
from sise_rt.manifest import Block, Compared, Parity, SourcePrecision
from sise_rt.running import consistency
from sise_rt.running.consistency import HeadPass, relative_error
from sise_rt.running.gradient_scores import only_rounding, score_error
from sise_rt.running.logits import confidences
from sise_rt.running.passes import FeaturePass, run_features
from sise_rt.running.probe import Probe, cell_sums, probe_tensor
from sise_rt.running.sessions import Sessions
from sise_rt.running.verify import HALF_SCORE_TOLERANCE, QUANTISED_TOLERANCES, TOLERANCES, failures

from ..intake.source import Source
from ..ir.cpu_sessions import give_back_memory
from ..ir.network import STRAIGHT_THROUGH, Network, image_dependent
from .original import Reference, by_file
from .slopes import judge_gradients

CLEAN = 1e-4  # an error of alpha that no unit on the other side of its kink explains
IMAGE_CLEAN = 1e-2  # likewise of the image's gradient, in which every unit counts by itself
# On this machine, against the source itself; the slopes of an operator at a time cross no kinks.
IMAGE_BY_SLOPES = 5e-3  # of the image's gradient, where it is held against slopes
EXPORT_TOLERANCES = TOLERANCES | {"alpha": 1e-3, "tangents": 1e-3}
HALF_TOLERANCE = 5e-2  # of results in half precision, whose every step rounds to three digits


def allowed_errors(quantised: bool, precision: str) -> dict[str, float]:
    """What the errors of an export may be."""
    allowed = QUANTISED_TOLERANCES if quantised else EXPORT_TOLERANCES
    return allowed | ({"score": HALF_SCORE_TOLERANCE} if precision == "fp16" else {})


def is_quantised(network: Network) -> bool:
    """Whether tensors that depend on the image are rounded to whole steps that gradients pass."""
    dependent = image_dependent(network.graph.nodes, ["images"])
    return any(
        (node.op_type == "QuantizeLinear" and node.input[0] in dependent)
        or node.name.startswith(STRAIGHT_THROUGH)
        for node in network.graph.nodes
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
class _ProbeRun:
    """The bundle's own numbers for the probe picture and the class that it predicts.

    Attributes:
        sessions: of the bundle.
        picture: (C, H, W) uint8.
        image: (1, C, H, W) float32, the model's input.
        targets: (1,) int64.
        linked: what the features graph gives.
        heads: what the heads give at its values.
        image_gradient: (1, C, H, W), None where there is none to compare.
    """

    sessions: Sessions
    picture: np.ndarray
    image: np.ndarray
    targets: np.ndarray
    linked: FeaturePass
    heads: HeadPass
    image_gradient: np.ndarray | None

    @property
    def tensors(self) -> list[str]:
        """The blocks' outputs."""
        return [block.tensor for block in self.sessions.manifest.blocks]

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """The features graph's gradient scores (1, K) by block tensor."""
        return dict(zip(self.tensors, self.linked.alphas, strict=True)) if self.linked.alphas else {}

    @property
    def by_chance(self) -> tuple[Block, ...]:
        """The blocks whose gradient scores are nothing but rounding."""
        blocks = self.sessions.manifest.blocks
        scores = zip(blocks, self.linked.alphas, self.heads.rounding, strict=False)
        return tuple(block for block, alpha, rounded in scores if only_rounding(alpha, rounded))


def measure(sessions: Sessions, source: Source, network: Network) -> tuple[Parity, Probe, tuple[Block, ...]]:
    """Compare a freshly written bundle with its source.

    Logits and feature maps are compared with torch on the exported program where torch is the source, with
    the original ONNX model otherwise; gradient scores with torch autograd in float64, and where it does not
    reach every block with `tangents`: derivatives that are measured operator by operator. Blocks whose tensor
    goes by another name in the source are left out of `compared`.

    Two measures do not refuse. Central differences of the whole network cross kinks, and may leave the domain
    of an operator: where they are off, they are left out of what `verify` measures again. And SISE does not
    need the image's gradient: where it is not shown to be right, the bundle does without. Both are said in
    the parity's `unproven`.

    A unit whose input rounds to the other side of its kink (of a ReLU, say) changes the gradient, in torch's
    own float32 as much as here. Where gradient scores differ, they are compared once more with every tensor
    that enters such an operator at the value that the bundle has there: a wrong gradient stays wrong, and no
    unit is on another side.

    Returns:
        The manifest's parity, what is stored for `sise_rt.running.verify`, and the blocks whose gradient
        scores for the probe picture are nothing but rounding.

    Raises:
        ParityError: an error is above its tolerance.
        ModelError: the bundle or the source cannot be run, or the source's numbers are not finite.
    """
    quantised = is_quantised(network)
    run = _run_probe(sessions, quantised)
    reference = _reference(run, source, network)
    own, output = _in_the_same_terms(run.linked.logits[0], reference.output.reshape(-1), network)
    errors = {"logits": relative_error(own, output)} | _errors_of_gradients(run, reference)
    own_kinks = None
    off = max(errors.get("alpha", 0.0), errors.get("image_gradient", 0.0) / IMAGE_CLEAN * CLEAN)
    if reference.alphas and off > CLEAN:
        own_kinks = errors["alpha"]
        on_same_side, errors_there = _on_same_side(run, source, network)
        errors |= errors_there
        reference = replace(on_same_side, output=reference.output, maps=reference.maps)
    errors |= _errors_within(run)
    unproven = []
    if run.linked.alphas and not quantised and len(reference.alphas) < len(run.tensors):
        unproven += _hold_against_slopes(run, network, errors)
    against = _described(source, reference, own_kinks)
    allowed = allowed_errors(quantised, sessions.manifest.precision)
    if (
        run.image_gradient is not None
        and not errors.get("image_gradient", np.inf) <= allowed["image_gradient"]
    ):
        errors.pop("image_gradient", None)
        unproven.append("image_gradient")
        run = replace(run, image_gradient=None)
    if failed := failures(errors, allowed):
        raise ParityError(f"the bundle's numbers differ from the source's ({against}): {'; '.join(failed)}")
    parity = Parity(
        reference=against,
        compared=Compared(len(reference.maps), len(reference.alphas) if run.linked.alphas else 0),
        errors={name: _short(error) for name, error in errors.items()},
        alpha_with_own_kinks=None if own_kinks is None else _short(own_kinks),
        quantised=quantised,
        unproven=tuple(unproven),
        precision=None if source.raw is None else _precision(source, network, run.image),
    )
    stored = _stored(run, reference, output, of_confidences=bool(network.removed))
    return parity, stored, run.by_chance


def _run_probe(sessions: Sessions, quantised: bool) -> _ProbeRun:
    """Run the bundle on the probe picture; no session stays open."""
    manifest = sessions.manifest
    picture = probe_picture(*manifest.preprocess.input_size, seed=0)
    image = probe_tensor(picture, manifest.preprocess)
    session = sessions.open("features")
    targets = run_features(session, manifest, image, np.zeros(1, np.int64)).logits.argmax(axis=1)
    maps, alphas, logits = run_features(session, manifest, image, targets)
    # ONNX Runtime's own arrays would keep the session's memory, weights included.
    linked = FeaturePass([a.copy() for a in maps], [a.copy() for a in alphas], logits.copy())
    del session, maps, alphas, logits
    give_back_memory()
    heads, gradient = consistency.run_heads(sessions, targets, linked), None
    if "image_gradient" in sessions.specs and not quantised:
        gradient = consistency.image_gradient(sessions, image, targets)
    return _ProbeRun(sessions, picture, image, targets, linked, heads, gradient)


def _reference(run: _ProbeRun, source: Source, network: Network) -> Reference:
    """What the source gives for the probe picture.

    Raises:
        ModelError: its numbers are not finite.
    """
    if source.program is None:
        reference = by_file(source.path, source.ends, network, run.image, run.tensors)
    else:
        from .kinks import by_autograd

        reference = by_autograd(source, network, run.image, int(run.targets[0]), run.tensors)
    if not np.isfinite(reference.output).all():
        raise ModelError(
            "the source itself gives numbers that are not finite for the probe picture, so there is nothing "
            "to compare with: check its weights, and the preprocessing that was assumed"
        )
    return reference


def _in_the_same_terms(
    logits: np.ndarray, output: np.ndarray, network: Network
) -> tuple[np.ndarray, np.ndarray]:
    """The bundle's logits and the source's output, both (classes,), as what the source gives.

    A source of one output stands for two classes.
    """
    if not network.removed:
        return logits, np.array([-output[0], output[0]]) if network.two_sided else output
    output = np.exp(output) if network.removed == "LogSoftmax" else output
    output = np.array([1 - output[0], output[0]]) if output.size == 1 else output
    return confidences(logits, network.activation), output


def _errors_of_gradients(run: _ProbeRun, reference: Reference) -> dict[str, float]:
    """Errors of maps, gradient scores and the image's gradient, where there is something to compare."""
    errors, maps = {}, dict(zip(run.tensors, run.linked.maps, strict=True))
    if reference.maps:
        off = [relative_error(maps[t], expected) for t, expected in reference.maps.items()]
        errors["maps"] = float(np.max(off))  # NaN stays
    if reference.alphas and run.linked.alphas:
        errors["alpha"] = _alpha_error(run.scores, reference, EXPORT_TOLERANCES["alpha"])
    if run.image_gradient is not None and reference.image_gradient is not None:
        errors["image_gradient"] = _distance(run.image_gradient, reference.image_gradient)
    return errors


def _on_same_side(run: _ProbeRun, source: Source, network: Network) -> tuple[Reference, dict[str, float]]:
    """Torch's numbers with every unit on the bundle's side of its kink, and the errors against them."""
    from .kinks import on_same_side

    inputs = {"images": run.image, "targets": run.targets}
    own, reference = on_same_side(run.sessions, source, network, inputs, run.tensors)
    errors = {"alpha": _alpha_error(own, reference, EXPORT_TOLERANCES["alpha"])}
    # What `verify` compares later: more outputs may move a unit in the graph that was run for the values.
    shipped = _alpha_error(run.scores, reference, TOLERANCES["alpha"])
    if shipped > TOLERANCES["alpha"]:
        errors["alpha"] = shipped
    if run.image_gradient is not None and reference.image_gradient is not None:
        errors["image_gradient"] = _distance(run.image_gradient, reference.image_gradient)
    return reference, errors


def _errors_within(run: _ProbeRun) -> dict[str, float]:
    """How far the bundle's graphs are from each other."""
    sessions, image, targets, linked = run.sessions, run.image, run.targets, run.linked
    chain = consistency.chain_error(sessions, image, targets, linked, run.heads)
    return {"chain": chain} | consistency.score_errors(sessions, image, targets, linked.maps)


def _hold_against_slopes(run: _ProbeRun, network: Network, errors: dict[str, float]) -> list[str]:
    """Add the errors of the gradients against slopes; names of those that measure nothing are returned."""
    sessions, targets, linked = run.sessions, run.targets, run.linked
    judged = judge_gradients(sessions, network, run.image, targets, linked)
    unproven = []
    if judged.alpha is None:
        unproven.append("tangents")
    else:
        errors["tangents"] = judged.alpha
    if judged.image is not None and judged.image <= IMAGE_BY_SLOPES:
        errors.setdefault("image_gradient", judged.image)
    differences = consistency.differences_error(sessions, targets, linked)
    if differences <= TOLERANCES["differences"]:
        errors["differences"] = differences
    else:
        unproven.append("differences")
    return unproven


def _described(source: Source, reference: Reference, own_kinks: float | None) -> str:
    """What the bundle was compared with, for people to read."""
    if source.program is None:
        return "the original ONNX model" + (" in float32" if source.raw is not None else "")
    if not reference.alphas:
        return "torch's exported program, float64; slopes of its operators for alpha"
    side = ", each unit on the bundle's side of its kink" if own_kinks is not None else ""
    return f"torch autograd, float64{side}"


def _stored(run: _ProbeRun, reference: Reference, output: np.ndarray, of_confidences: bool) -> Probe:
    """What the bundle keeps: the source's numbers, and its own where the source has none."""
    gradient = run.image_gradient
    if gradient is not None and reference.image_gradient is not None:
        gradient = reference.image_gradient
    maps = [reference.maps.get(tensor, a) for tensor, a in zip(run.tensors, run.linked.maps, strict=True)]
    return Probe(
        image=run.picture,
        target=int(run.targets[0]),
        output=output,
        of_confidences=of_confidences,
        map_means=tuple(a[0].mean(axis=(1, 2)) for a in maps),
        alphas=tuple(reference.alphas.get(tensor, alpha)[0] for tensor, alpha in run.scores.items()),
        image_gradient=None if gradient is None else cell_sums(gradient),
    )


def _short(error: float) -> float:
    return float(f"{error:.3g}")


def _distance(measured: np.ndarray, reference: np.ndarray) -> float:
    """Of two vectors, relative to the reference's length."""
    scale = float(np.linalg.norm(reference))
    return float(np.linalg.norm(measured - reference)) / (scale or 1.0)


def _alpha_error(own: Mapping[str, np.ndarray], reference: Reference, tolerance: float) -> float:
    """The worst of the reference's blocks, by what the error is held against."""
    off = [
        score_error(own[tensor], expected, reference.rounding[tensor], tolerance)
        for tensor, expected in reference.alphas.items()
    ]
    return float(np.max(off))  # NaN stays


def _precision(source: Source, network: Network, image: np.ndarray) -> SourcePrecision:
    """How far the source in its own precision is from itself in float32, for the manifest.

    Raises:
        ParityError: further than its precision explains.
    """
    assert source.raw is not None
    kinds = " and ".join(source.precision)
    # Whole pixels are whole in the probe picture too, unless the user asks for another preprocessing.
    image = np.round(image) if "uint8" in source.precision else image
    reference = by_file(source.path, source.ends, network, image, []).output
    try:
        output = by_file(source.raw, source.ends, network, image, []).output
    except ModelError:  # it has no kernels for doubles and bfloat16 on every machine
        return SourcePrecision(kinds, None)
    error = relative_error(output.astype(np.float32), reference)
    tolerance = HALF_TOLERANCE if "16" in kinds else EXPORT_TOLERANCES["logits"]
    if not error <= tolerance:
        raise ParityError(
            f"the source's results in {kinds} differ from those in float32 by {error:.1e}, which is above "
            f"{tolerance:.0e}"
            + (": it takes whole pixels, so leave mean, std and scale to it" if "uint8" in kinds else "")
        )
    return SourcePrecision(kinds, _short(error))
