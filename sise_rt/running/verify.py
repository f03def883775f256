"""Measuring again, on this machine and without the source, what the export measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sise_rt.bundle import PROBE, Manifest, Preprocess
from sise_rt.errors import BundleError
from sise_rt.pictures.flatness import is_constant
from sise_rt.pictures.resizing import resize_map

from .engine import Engine
from .logits import confidences, log_odds, log_odds_gradient
from .sessions import Sessions, run

# Relative to the largest reference value. On another machine's rounding some units fall on the other side of
# their kinks (ReLU, max pooling), which changes gradients by a few thousandths; central differences in
# float32 cross kinks as well.
TOLERANCES = {
    "logits": 1e-3,
    "maps": 1e-3,
    "alpha": 2e-2,
    "chain": 1e-4,
    "differences": 5e-2,
    "image_gradient": 5e-2,
    "score": 1e-2,
}
# A quantised network's tensors are whole steps, of about a hundredth of their largest value. Another order of
# the same sums moves some by a step, and there is no slope that differences could measure.
QUANTISED_TOLERANCES = {"logits": 5e-2, "maps": 5e-2, "alpha": 2e-1, "chain": 5e-2, "score": 3e-1}
HALF_SCORE_TOLERANCE = 3e-1  # of a small confidence: the error of its logit
LEAST_CONFIDENCE = 1e-3  # below it the rounding of large logits is a large share
CHANNELS = 4  # probed by central differences in each block
ROUNDING = 100  # units in the last place of a logit: differences of log-odds below it are no slope
# Of the central differences, relative to the root mean square of the block's maps. A long step crosses more
# kinks, a short one loses more digits, and a wrong gradient is wrong at every one: the best counts.
STEPS = (1e-3, 3e-4, 3e-3)
AGREED = 1e-2  # an error at which no other step is tried


def tolerances(manifest: Manifest) -> dict[str, float]:
    """What the errors of a bundle may be, by their names.

    Central differences are left out where every block's alpha was compared with autograd in float64, which
    no kink disturbs.
    """
    if manifest.parity.get("quantised"):
        return QUANTISED_TOLERANCES
    compared = manifest.parity.get("compared")
    covered = isinstance(compared, dict) and compared.get("alpha") == len(manifest.blocks)
    known = TOLERANCES | ({"score": HALF_SCORE_TOLERANCE} if manifest.precision == "fp16" else {})
    return {name: value for name, value in known.items() if not (covered and name == "differences")}


def relative_error(found: np.ndarray, reference: np.ndarray) -> float:
    """The largest absolute difference, relative to the largest absolute reference value."""
    scale = float(np.abs(reference).max(initial=0.0))
    difference = float(np.abs(found.astype(np.float64) - reference).max(initial=0.0))
    return difference / scale if scale else difference


def probe_tensor(probe: np.ndarray, spec: Preprocess) -> np.ndarray:
    """The probe picture (C, H, W) uint8 as the model's input (1, C, H, W) float32."""
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (spec.mean, spec.std))
    return ((probe.astype(np.float32) / np.float32(spec.scale) - mean) / std)[None]


def verify(engine: Engine) -> dict[str, float]:
    """Compare a bundle with the numbers of its source that were stored at export, and with itself.

    Args:
        engine: of a bundle whose hashes were checked.

    Returns:
        Relative errors: `logits` (of confidences where the source ended in an activation), `maps` (the mean
        of each feature map) and `alpha` against the source; `chain`, the per-block files against the linked
        graph; `differences`, alpha against central differences through the per-block files;
        `image_gradient`, the sums of the input's gradient over cells of it, against the source; `score`, the
        confidences of masked copies against the forward graph's, with masks made without a graph. What the
        bundle has no graphs for is left out.

    Raises:
        BundleError: the stored numbers cannot be read.
    """
    manifest = engine.manifest
    probe = _read_probe(engine)
    image, targets = probe_tensor(probe["image"], manifest.preprocess), probe["target"].reshape(1)
    maps, alphas, logits = engine.features(image, targets)
    output = logits[0] if "logits" in probe else confidences(logits[0], manifest.activation)
    errors = {
        "logits": relative_error(output, probe["logits"] if "logits" in probe else probe["confidences"]),
        "maps": max(_means_error(a[0], probe[f"maps_{i}"]) for i, a in enumerate(maps, 1)),
    }
    if alphas:
        errors["alpha"] = max(relative_error(a[0], probe[f"alpha_{i}"]) for i, a in enumerate(alphas, 1))
    errors["chain"] = chain_error(engine, image, targets, maps, alphas, logits)
    if alphas and "differences" in tolerances(manifest):
        errors["differences"] = differences_error(engine, targets, maps, alphas)
    if manifest.graphs["image_gradient"] and "image_gradient" in probe:
        found = cell_sums(image_gradient(engine, image, targets))
        errors["image_gradient"] = relative_error(found, probe["image_gradient"])
    if manifest.graphs["forward"]:
        errors["score"] = score_error(engine, image, targets, maps)
    return errors


def _means_error(maps: np.ndarray, means: np.ndarray) -> float:
    """The largest difference of the maps' means, relative to the values; normalised maps have a mean of 0."""
    scale = max(float(np.abs(means).max()), float(np.sqrt(np.square(maps, dtype=np.float64).mean())))
    difference = float(np.abs(maps.mean(axis=(1, 2), dtype=np.float64) - means).max())
    return difference / scale if scale else difference


def _read_probe(engine: Engine) -> dict[str, np.ndarray]:
    manifest, path = engine.manifest, engine.folder / PROBE
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            probe = {name: stored[name] for name in stored.files}
    except Exception as error:  # the readers of archives may meet anything in a broken file
        raise BundleError(f"{path} cannot be used: {error}") from error
    shapes = {"image": manifest.preprocess.input_size, "target": ()}
    shapes["logits" if "logits" in probe else "confidences"] = (manifest.classes,)
    for i, block in enumerate(manifest.blocks, 1):
        shapes[f"maps_{i}"] = (block.channels,)
        if manifest.has_gradients:
            shapes[f"alpha_{i}"] = (block.channels,)
    if "image_gradient" in probe:
        channels, *sides = manifest.preprocess.input_size
        shapes["image_gradient"] = (channels, *(min(16, side) for side in sides))
    kinds = {"image": np.uint8, "target": np.int64}
    for name, shape in shapes.items():
        kind = kinds.get(name, np.float32)
        if name not in probe or probe[name].shape != shape or probe[name].dtype != kind:
            raise BundleError(f"{path} cannot be used: it needs {name} {shape} as {kind.__name__}")
    if not 0 <= probe["target"] < manifest.classes:
        raise BundleError(f"{path} cannot be used: target {probe['target']} is no class")
    return probe


def failures(errors: Mapping[str, float], tolerances: Mapping[str, float] = TOLERANCES) -> list[str]:
    """A line for each error that is above its tolerance or not a number."""
    return [
        f"{name} {error:.1e} is above {tolerances[name]:.0e}"
        for name, error in errors.items()
        if not error <= tolerances[name]
    ]


def chain_error(
    engine: Sessions,
    image: np.ndarray,
    targets: np.ndarray,
    maps: Sequence[np.ndarray],
    alphas: Sequence[np.ndarray],
    logits: np.ndarray,
) -> float:
    """The other graphs' results against those of the features graph.

    The per-block files run one after the other, forward and back; then the forward graph, and the last
    block's gradient.
    """
    graphs = engine.manifest.graphs
    value, errors = image, []
    for graph, expected in zip([*graphs["blocks"], graphs["classifier"]], [*maps, logits], strict=True):
        (value,) = _run(engine, graph, [value], [expected.shape])
        errors.append(relative_error(value, expected))
    gradient = targets
    backward = list(zip(graphs["heads"], maps, alphas, strict=True)) if alphas else []
    for graph, block_maps, expected in reversed(backward):
        shapes = [block_maps.shape, expected.shape]
        gradient, alpha = _run(engine, graph, [block_maps, gradient], shapes)
        errors.append(relative_error(alpha, expected))
    if graph := graphs["forward"]:
        (found,) = _run(engine, graph, [image], [logits.shape])
        errors.append(relative_error(found, logits))
    if (graph := graphs["last_block_gradient"]) and alphas:
        cotangents = log_odds_gradient(logits, int(targets[0]), engine.manifest.activation)
        shapes = [maps[-1].shape, maps[-1].shape, logits.shape]
        _, gradient, _ = _run(engine, graph, [image, cotangents], shapes)
        errors.append(relative_error(gradient.mean(axis=(2, 3), dtype=np.float64), alphas[-1]))
    return max(errors)


def differences_error(
    engine: Sessions, targets: np.ndarray, maps: Sequence[np.ndarray], alphas: Sequence[np.ndarray]
) -> float:
    """Alpha of the strongest channels of each block against central differences of the log-odds.

    Raising a whole map by t changes the log-odds by t * h * w * alpha, to first order.
    """
    graphs, worst = engine.manifest.graphs, 0.0
    sessions = [engine.session(graph) for graph in [*graphs["blocks"][1:], graphs["classifier"]]]
    for b, (block_maps, alpha) in enumerate(zip(maps, alphas, strict=True)):
        unit = float(np.sqrt(np.mean(np.square(block_maps, dtype=np.float64))) or 1.0)
        chosen = np.argsort(-np.abs(alpha[0]), kind="stable")[:CHANNELS]
        exact = alpha[0, chosen].astype(np.float64)
        positions = block_maps.shape[2] * block_maps.shape[3]
        best = np.full(len(chosen), np.inf)
        for step in STEPS:
            moved = np.repeat(block_maps, 2 * len(chosen), axis=0)
            for i, k in enumerate(chosen):
                moved[2 * i, k] += step * unit
                moved[2 * i + 1, k] -= step * unit
            logits = _classified(engine, sessions[b:], moved)
            odds = log_odds(logits, int(targets[0]), engine.manifest.activation)
            length = 2 * step * unit * positions
            # Where a map's level does not matter (before an instance normalisation), only rounding is left.
            least = ROUNDING * np.finfo(np.float32).eps * float(np.abs(logits).max()) / length
            off = np.abs((odds[0::2] - odds[1::2]) / length - exact) / max(np.abs(exact).max(), least)
            best = np.minimum(best, off)  # NaN stays
            if best.max() <= AGREED:
                break
        worst = float(np.maximum(worst, best.max()))
    return worst


def image_gradient(engine: Sessions, image: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The gradient of the target's log-odds with respect to the image (1, C, H, W), float64."""
    manifest = engine.manifest
    logits = _at_once(engine, engine.session(manifest.graphs["forward"]), image)
    cotangents = log_odds_gradient(logits, int(targets[0]), manifest.activation)
    shapes = [image.shape, logits.shape]
    gradient, _ = _run(engine, manifest.graphs["image_gradient"], [image, cotangents], shapes)
    return gradient.astype(np.float64)


def cell_sums(gradient: np.ndarray) -> np.ndarray:
    """Sums of a gradient (1, C, H, W) over at most 16 x 16 cells, (C, rows, columns): little to store."""
    summed = gradient[0].astype(np.float64)
    for axis in (1, 2):
        extent = summed.shape[axis]
        starts = np.linspace(0, extent, min(16, extent), endpoint=False).astype(int)
        summed = np.add.reduceat(summed, starts, axis=axis)
    return summed


def score_error(
    engine: Sessions, image: np.ndarray, targets: np.ndarray, maps: Sequence[np.ndarray]
) -> float:
    """Confidences of masked copies by the score graph against the forward graph, each block's widest map."""
    size, masks, small = image.shape[2:], [], []
    for block_maps in maps:
        widest = block_maps[0, np.ptp(block_maps[0], axis=(1, 2)).argmax()]
        mask = resize_map(widest, size).astype(np.float64)
        if not is_constant(mask.min(), mask.max()):
            small.append(widest)
            masks.append((mask - mask.min()) / (mask.max() - mask.min()))
    session = engine.open_score()  # one of the two sessions at a time, as each holds the weights
    found = [run(session, {"image": image, "targets": targets, "maps": a[None, None]})[0][0] for a in small]
    found = [confidence.copy() for confidence in found]
    del session
    forward = engine.session(engine.manifest.graphs["forward"])
    copies = [(image * mask).astype(np.float32) for mask in masks]
    activation = engine.manifest.activation
    expected = [confidences(_at_once(engine, forward, copy), activation)[0, targets] for copy in copies]
    off = np.abs(np.array(found, np.float64) - np.array(expected))
    return float(off.max(initial=0.0)) / max(float(np.max(expected, initial=0.0)), LEAST_CONFIDENCE)


def slope_error(engine: Sessions, image: np.ndarray, targets: np.ndarray, gradient: np.ndarray) -> float:
    """The length of the image's gradient of the log-odds, against central differences along it."""
    manifest, target = engine.manifest, int(targets[0])
    forward = engine.session(manifest.graphs["forward"])
    length = float(np.linalg.norm(gradient))
    if not length > 0:
        return 0.0 if length == 0 else float("nan")
    unit, best = float(np.linalg.norm(image) or 1.0), np.inf
    for step in STEPS:
        along = (step * unit / length * gradient).astype(np.float32)
        moved = _at_once(engine, forward, np.concatenate([image + along, image - along]))
        odds = log_odds(moved, target, manifest.activation)
        slope = (odds[0] - odds[1]) / (2 * step * unit)
        least = ROUNDING * np.finfo(np.float32).eps * float(np.abs(moved).max()) / (2 * step * unit)
        best = np.minimum(best, abs(slope - length) / max(length, least))  # NaN stays
        if best <= AGREED:
            break
    return float(best)


def _classified(engine: Sessions, sessions: Sequence[Any], maps: np.ndarray) -> np.ndarray:
    """The logits (N, classes) of changed feature maps (N, K, h, w), by the graphs behind them."""
    for session in sessions:
        maps = _at_once(engine, session, maps)
    return maps


def _at_once(engine: Sessions, session: Any, values: np.ndarray) -> np.ndarray:
    """The only output of a graph of one input, which may take one image at a time."""
    count = engine.manifest.input.get("batch") or len(values)
    name = session.get_inputs()[0].name
    parts = [values[start : start + count] for start in range(0, len(values), count)]
    return np.concatenate([run(session, {name: part})[0] for part in parts])


def _run(
    engine: Sessions, graph: str, values: Sequence[np.ndarray], shapes: Sequence[tuple]
) -> list[np.ndarray]:
    """Run one of a bundle's files, whose results have to be of these shapes."""
    session = engine.session(graph)
    slots = session.get_inputs()
    if len(slots) != len(values) or len(session.get_outputs()) != len(shapes):
        raise BundleError(f"{engine.folder / graph} does not fit the other graphs: export the bundle again")
    # ONNX Runtime's own arrays would keep the session's memory.
    found = [v.copy() for v in run(session, {s.name: v for s, v in zip(slots, values, strict=True)})]
    if [value.shape for value in found] != list(shapes):
        raise BundleError(f"{engine.folder / graph} does not fit the other graphs: export the bundle again")
    return found
