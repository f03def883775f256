"""How far a bundle's graphs are from each other, and their gradients from slopes that are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sise_rt.graphs import block_graph, head_graph
from sise_rt.pictures.flatness import is_constant
from sise_rt.pictures.resizing import resize_by_neighbours

from .gradient_scores import rounding, score_error
from .logits import confidences, log_odds, log_odds_gradient
from .passes import FeaturePass, OpenGraph, run_features
from .sessions import Sessions

LEAST_CONFIDENCE = 1e-3  # below it the rounding of large logits is a large share
CHANNELS = 4  # probed by central differences in each block
ROUNDING = 100  # units in the last place of a logit: differences of log-odds below it are no slope
# Of the central differences, relative to the root mean square of the block's maps. A long step crosses more
# kinks, a short one loses more digits, and a wrong gradient is wrong at every one: the best counts.
STEPS = (1e-3, 3e-4, 3e-3)
AGREED = 1e-2  # an error at which no other step is tried
TOLERANCE = 1e-4  # of graphs that compute the same on one machine


def relative_error(measured: np.ndarray, reference: np.ndarray) -> float:
    """The largest absolute difference, relative to the largest absolute reference value."""
    scale = float(np.abs(reference).max(initial=0.0))
    difference = float(np.abs(measured.astype(np.float64) - reference).max(initial=0.0))
    return difference / scale if scale else difference


class HeadPass(NamedTuple):
    """What the heads give one after the other.

    Attributes:
        alphas: alpha_b of each block, (1, K); empty where the bundle has no gradients.
        rounding: of each of them, as `gradient_scores.rounding` has it.
    """

    alphas: list[np.ndarray]
    rounding: list[float]


def run_heads(sessions: Sessions, targets: np.ndarray, linked: FeaturePass) -> HeadPass:
    """Run the heads at the values that the features graph gives, from the last block to the first.

    Args:
        sessions: of the bundle.
        targets: (1,) int64.
        linked: what the features graph gives for them.
    """
    alphas, rounded, gradient = [], [], targets
    for index in range(len(linked.alphas), 0, -1):
        gradient, alpha = _run(sessions, head_graph(index), linked.maps[index - 1], gradient)
        alphas.append(alpha)
        rounded.append(rounding(gradient))
    return HeadPass(alphas[::-1], rounded[::-1])


def chain_error(
    sessions: Sessions, image: np.ndarray, targets: np.ndarray, linked: FeaturePass, heads: HeadPass
) -> float:
    """The other graphs' results against those of the features graph.

    The per-block files run one after the other, forward and back; then the forward graph, and the last
    block's gradient.

    Args:
        sessions: of the bundle.
        image: (1, C, H, W) float32.
        targets: (1,) int64.
        linked: what the features graph gives for them.
        heads: what `run_heads` does.
    """
    maps, alphas, logits = linked
    value, errors = image, []
    names = [*(block_graph(index) for index in range(1, len(maps) + 1)), "classifier"]
    for name, expected in zip(names, [*maps, logits], strict=True):
        (value,) = _run(sessions, name, value)
        errors.append(relative_error(value, expected))
    errors += map(_score_error, heads.alphas, alphas, heads.rounding)
    if "forward" in sessions.specs:
        (again,) = _run(sessions, "forward", image)
        errors.append(relative_error(again, logits))
    if "last_block_gradient" in sessions.specs and alphas:
        cotangents = log_odds_gradient(logits, int(targets[0]), sessions.manifest.activation)
        _, gradient, _ = _run(sessions, "last_block_gradient", image, cotangents)
        means = gradient.mean(axis=(2, 3), dtype=np.float64)
        errors.append(_score_error(means, alphas[-1], heads.rounding[-1]))
    return float(np.max(errors))  # NaN stays


def shared_forward_error(
    sessions: Sessions, graph: OpenGraph, image: np.ndarray, targets: np.ndarray
) -> float:
    """Gradient scores of several targets in one run against those of each in a run of its own.

    Args:
        sessions: of a bundle that shares the forward pass.
        graph: its features graph.
        image: (1, C, H, W) float32.
        targets: (T,) int64, as the graph takes them.
    """
    manifest = sessions.manifest
    together, errors = run_features(graph, manifest, image, targets).alphas, []
    for place in range(len(targets)):
        target = targets[place : place + 1]
        alone = run_features(graph, manifest, image, target)
        pairs = [(a[place], b[0]) for a, b in zip(together, alone.alphas, strict=True)]
        if max(relative_error(a, b) for a, b in pairs) > TOLERANCE:  # the heads take their time
            rounded = run_heads(sessions, target, alone).rounding
            errors += [_score_error(a, b, r) for (a, b), r in zip(pairs, rounded, strict=True)]
        else:
            errors += [relative_error(a, b) for a, b in pairs]
    return float(np.max(errors))  # NaN stays


def _score_error(measured: np.ndarray, expected: np.ndarray, rounded: float) -> float:
    return score_error(measured, expected, rounded, TOLERANCE)


def differences_error(sessions: Sessions, targets: np.ndarray, linked: FeaturePass) -> float:
    """Alpha of the strongest channels of each block against central differences of the log-odds.

    Raising a whole map by t changes the log-odds by t * h * w * alpha, to first order.
    """
    count = len(linked.maps)
    behind = [sessions.open(name) for name in (*map(block_graph, range(2, count + 1)), "classifier")]
    worst = 0.0
    for b, (block_maps, alpha) in enumerate(zip(linked.maps, linked.alphas, strict=True)):
        error = _block_error(sessions, behind[b:], int(targets[0]), block_maps, alpha)
        worst = float(np.maximum(worst, error))  # NaN stays
    return worst


def _block_error(
    sessions: Sessions, behind: Sequence[OpenGraph], target: int, block_maps: np.ndarray, alpha: np.ndarray
) -> float:
    """One block's largest error; `behind` are the graphs from its output to the logits."""
    unit = float(np.sqrt(np.mean(np.square(block_maps, dtype=np.float64))) or 1.0)
    strongest = np.argsort(-np.abs(alpha[0]), kind="stable")[:CHANNELS]
    exact = alpha[0, strongest].astype(np.float64)
    positions = block_maps.shape[2] * block_maps.shape[3]
    best = np.full(len(strongest), np.inf)
    for step in STEPS:
        moved = np.repeat(block_maps, 2 * len(strongest), axis=0)
        for i, k in enumerate(strongest):
            moved[2 * i, k] += step * unit
            moved[2 * i + 1, k] -= step * unit
        logits = moved
        for session in behind:
            logits = _in_passes(sessions, session, logits)
        odds = log_odds(logits, target, sessions.manifest.activation)
        length = 2 * step * unit * positions
        # Where a map's level does not matter (before an instance normalisation), only rounding is left.
        least = ROUNDING * np.finfo(np.float32).eps * float(np.abs(logits).max()) / length
        # An output that is 0 whatever goes in has neither a slope nor rounding.
        scale = max(float(np.abs(exact).max()), least, float(np.finfo(np.float32).tiny))
        off = np.abs((odds[0::2] - odds[1::2]) / length - exact) / scale
        best = np.minimum(best, off)  # NaN stays
        if best.max() <= AGREED:
            break
    return float(best.max())


def image_gradient(sessions: Sessions, image: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The gradient of the target's log-odds with respect to the image (1, C, H, W), float64."""
    logits = _in_passes(sessions, sessions.open("forward"), image)
    cotangents = log_odds_gradient(logits, int(targets[0]), sessions.manifest.activation)
    gradient, _ = _run(sessions, "image_gradient", image, cotangents)
    return gradient.astype(np.float64)


def score_errors(
    sessions: Sessions, image: np.ndarray, targets: np.ndarray, maps: Sequence[np.ndarray]
) -> dict[str, float]:
    """What the score graph gives for each block's widest map, against masks that are made without a graph.

    Returns:
        `score`, the confidences against the forward graph's, and `masks`, extremes and areas.
    """
    size, large, small = image.shape[2:], [], []
    for block_maps in maps:
        widest = block_maps[0, np.ptp(block_maps[0], axis=(1, 2)).argmax()]
        # The mask is the same, and no extreme is zero, as the minima behind a ReLU are: zero hides its sign.
        widest = widest - (widest.min() + np.ptp(widest) / 4)
        resized = resize_by_neighbours(widest, size).astype(np.float64)
        if not is_constant(resized.min(), resized.max()):
            small.append(widest)
            large.append(resized)
    graph = sessions.open("score")  # one of the two sessions at a time, as each holds the weights
    inputs = {"image": image, "targets": targets}
    scored = [[value.copy() for value in graph.run(inputs | {"maps": a[None, None]})] for a in small]
    del graph
    masks = [(a - a.min()) / np.ptp(a) for a in large]
    forward = sessions.open("forward")
    copies = [(image * mask).astype(np.float32) for mask in masks]
    activation = sessions.manifest.activation
    truth = [confidences(_in_passes(sessions, forward, copy), activation)[0, targets] for copy in copies]
    off = np.abs(np.array([values[0][0] for values in scored], np.float64) - np.array(truth))
    shapes = [_mask_error(a, mask, *values[1:]) for a, mask, values in zip(large, masks, scored, strict=True)]
    return {
        "score": float(off.max(initial=0.0))
        / max(float(np.max(np.abs(truth), initial=0.0)), LEAST_CONFIDENCE),
        "masks": float(np.max(shapes, initial=0.0)),
    }


def _mask_error(
    resized: np.ndarray, mask: np.ndarray, minimum: np.ndarray, maximum: np.ndarray, area: np.ndarray
) -> float:
    """How far a mask's extremes, relative to its map's largest value, and its area (each (1,)) are off."""
    extremes = np.array([resized.min(), resized.max()])
    errors = (
        relative_error(np.concatenate([minimum, maximum]), extremes),
        relative_error(area, np.array([mask.sum()])),
    )
    return float(np.max(errors))  # NaN stays


def slope_error(sessions: Sessions, image: np.ndarray, targets: np.ndarray, gradient: np.ndarray) -> float:
    """The length of the image's gradient of the log-odds, against central differences along it."""
    forward = sessions.open("forward")
    length = float(np.linalg.norm(gradient))
    if not length > 0:
        return 0.0 if length == 0 else float("nan")
    unit, best = float(np.linalg.norm(image) or 1.0), np.inf
    for step in STEPS:
        along = (step * unit / length * gradient).astype(np.float32)
        moved = _in_passes(sessions, forward, np.concatenate([image + along, image - along]))
        odds = log_odds(moved, int(targets[0]), sessions.manifest.activation)
        slope = (odds[0] - odds[1]) / (2 * step * unit)
        least = ROUNDING * np.finfo(np.float32).eps * float(np.abs(moved).max()) / (2 * step * unit)
        best = np.minimum(best, abs(slope - length) / max(length, least))  # NaN stays
        if best <= AGREED:
            break
    return float(best)


def _in_passes(sessions: Sessions, graph: OpenGraph, values: np.ndarray) -> np.ndarray:
    """The only output of a graph of one input, which may take one image at a time."""
    count, name = sessions.at_once(len(values)), graph.spec.inputs[0].name
    parts = [values[start : start + count] for start in range(0, len(values), count)]
    return np.concatenate([graph.run({name: part})[0] for part in parts])


def _run(sessions: Sessions, name: str, *values: np.ndarray) -> list[np.ndarray]:
    """The outputs of one of the bundle's graphs for N images; its session is closed again."""
    graph = sessions.open(name)
    inputs = {tensor.name: value for tensor, value in zip(graph.spec.inputs, values, strict=True)}
    # ONNX Runtime's own arrays would keep the session's memory.
    return [value.copy() for value in graph.run(inputs)]
