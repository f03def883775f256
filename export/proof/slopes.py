"""The bundle's gradients against slopes of its own forward graphs, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from sise_rt.errors import ModelError
from sise_rt.graphs import alpha_name, block_graph, gradient_name, head_graph
from sise_rt.running.gradient_scores import rounding, score_error
from sise_rt.running.logits import log_odds_gradient
from sise_rt.running.passes import FeaturePass, run
from sise_rt.running.sessions import Sessions
from sise_rt.running.verify import TOLERANCES

from ..ir.cpu_sessions import Level, give_back_memory, open_session, quiet_options
from ..ir.network import Network
from .tangents import Way, carry

AGREED = 1e-3  # an error at which no other way of measuring is tried; rounding alone gives a hundredth of it
# Further ways: another step, and both sides of the kinks that units lie on.
WAYS = (Way(step=1e-9), Way(side="least"), Way(side="most"))
ROUNDING = 100  # units in the last place: where a gradient vanishes, only rounding is left


@dataclass(frozen=True)
class _Piece:
    """A part of the network, what its tensors are for the probe picture, and the gradients at its two ends.

    Attributes:
        nodes: from `start` to `end`, in topological order.
        values: of every tensor, weights included.
        start: the tensor that the piece begins with.
        end: that it leads to.
        at_start: the gradient of the log-odds there.
        at_end: likewise.
    """

    nodes: Sequence[onnx.NodeProto]
    values: Mapping[str, np.ndarray]
    start: str
    end: str
    at_start: np.ndarray
    at_end: np.ndarray


@dataclass(frozen=True)
class _Direction:
    """A direction, and what <gradient, direction> may be.

    Attributes:
        values: (1, K, h, w).
        spread: of <gradient, direction> over all that may be drawn.
        rounding: how far that may be off by the rounding of the gradient alone, where it is known.
    """

    values: np.ndarray
    spread: float
    rounding: float = 0.0


@dataclass(frozen=True)
class Judged:
    """The errors of gradients, relative to each; None where no slope can be measured, or there is no graph.

    Attributes:
        alpha: the worst of the gradients at the blocks, and of their means.
        image: of the image's gradient.
    """

    alpha: float | None
    image: float | None


def judge_gradients(
    sessions: Sessions, network: Network, image: np.ndarray, targets: np.ndarray, linked: FeaturePass
) -> Judged:
    """Hold the gradients of the log-odds against slopes, from each block to the next.

    <gradient at the end of a piece, J v> has to be <gradient at its start, v>, for a direction v that is
    random at every position, and one that raises whole maps, as gradient scores see it. J v is measured
    operator by operator; at the logits the gradient is that of the definition.

    Args:
        sessions: of the bundle, which has gradients.
        network: that the bundle was made of.
        image: (1, C, H, W) float32.
        targets: (1,) int64.
        linked: what the features graph gives for them.
    """
    worst: float | None = 0.0
    names = [block.tensor for block in sessions.manifest.blocks]
    activation = sessions.manifest.activation
    gradient = targets
    for index in range(len(names), 0, -1):
        last, start = index == len(names), names[index - 1]
        ahead = "classifier" if last else block_graph(index + 1)
        end = "logits" if last else names[index]
        given = {start: linked.maps[index - 1], "targets" if last else gradient_name(index + 1): gradient}
        nodes, values = _run_beside(sessions, ahead, head_graph(index), given)
        at_end = log_odds_gradient(values["logits"], int(targets[0]), activation) if last else gradient
        gradient, alpha = values[gradient_name(index)], values[alpha_name(index)]
        means, rounded = gradient.mean(axis=(2, 3), dtype=np.float64), rounding(gradient)
        piece = _Piece(nodes, network.weights | values, start, end, gradient, at_end)
        worst = _worst(
            worst,
            score_error(alpha, means, rounded, AGREED),
            _beyond_kinks(score_error(linked.alphas[index - 1], alpha, rounded, AGREED)),
            *(_error(piece, network, v) for v in _directions(gradient, index, _apart(values[start]))),
        )
        del values, piece
        give_back_memory()
    if "image_gradient" not in sessions.specs:
        return Judged(worst, None)
    cotangents = log_odds_gradient(linked.logits, int(targets[0]), activation)
    given = {"images": image, "cotangents": cotangents}
    nodes, values = _run_beside(sessions, block_graph(1), "image_gradient", given)
    of_image = values["image_gradient"]
    piece = _Piece(nodes, network.weights | values, "images", names[0], of_image, gradient)
    return Judged(worst, _worst(*(_error(piece, network, v) for v in _directions(of_image, 0, np.ones(())))))


def _run_beside(
    sessions: Sessions, forward: str, backward: str, given: Mapping[str, np.ndarray]
) -> tuple[Sequence[onnx.NodeProto], dict[str, np.ndarray]]:
    """The nodes of a forward graph, and the values of all its tensors in the run that gives the gradients.

    In one run every unit is on one side of its kink, for the gradient as for the slope.
    """
    ahead, model = (
        onnx.load(sessions.folder / sessions.specs[name].path, load_external_data=False)
        for name in (forward, backward)
    )
    produced = {name for node in ahead.graph.node for name in node.output if name}
    nodes = [*ahead.graph.node, *(n for n in model.graph.node if not produced.intersection(n.output))]
    weights = {w.name for w in model.graph.initializer}
    model.graph.initializer.extend(w for w in ahead.graph.initializer if w.name not in weights)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for opset in ahead.opset_import:
        if opset.domain not in {o.domain for o in model.opset_import}:
            model.opset_import.append(opset)
    outputs = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in sorted(produced - outputs))
    session = open_session(model.SerializeToString(), quiet_options(Level.ORT_ENABLE_ALL), sessions.folder)
    results = run(session, {value.name: given[value.name] for value in session.get_inputs()})
    values = {o.name: v.copy() for o, v in zip(session.get_outputs(), results, strict=True)}
    return ahead.graph.node, dict(given) | values


def _apart(maps: np.ndarray) -> np.ndarray:
    """Where a value is alone in its map (1, K, h, w), bool.

    Which of several equal values a max pool takes is no question of slopes: behind a ReLU, which zero.
    """
    flat = maps.reshape(-1, maps.shape[2] * maps.shape[3])
    alone = np.empty(flat.shape, bool)
    for row, values in zip(alone, flat, strict=True):
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        row[:] = counts[place] == 1
    return alone.reshape(maps.shape)


def _directions(gradient: np.ndarray, seed: int, where: np.ndarray) -> list[_Direction]:
    """Random ones, the same at every export: at every position in `where`, and for whole maps."""
    rng = np.random.default_rng(seed)
    exact = gradient.astype(np.float64)
    apart = rng.standard_normal(gradient.shape) * where
    maps = np.broadcast_to(rng.standard_normal(gradient.shape[:2])[..., None, None], gradient.shape)
    positions = gradient.shape[2] * gradient.shape[3]
    rounded = rounding(gradient) * positions * float(np.linalg.norm(maps[..., 0, 0]))
    return [
        _Direction(apart, float(np.linalg.norm(exact * where))),
        _Direction(maps, float(np.linalg.norm(exact.sum(axis=(2, 3)))), rounded),
    ]


def _error(piece: _Piece, network: Network, direction: _Direction) -> float | None:
    """How far <gradient, v> is from the slope along v, relative to what it usually is.

    None where slopes of other steps do not agree, so that nothing is measured.
    """
    expected = float(np.vdot(piece.at_start.astype(np.float64), direction.values))

    def measured(way: Way) -> tuple[float, float]:
        """The slope, and below what a gradient is rounding."""
        along = {piece.start: direction.values}
        moved = carry(piece.nodes, network.opsets, piece.values, along, piece.end, way)
        ends = float(np.linalg.norm(piece.at_end)) * float(np.linalg.norm(moved))
        starts = float(np.linalg.norm(piece.at_start)) * float(np.linalg.norm(direction.values))
        least = ROUNDING * float(np.finfo(np.float32).eps) * max(ends, starts)
        return float(np.vdot(piece.at_end.astype(np.float64), moved)), least

    try:
        slope, least = measured(Way())
        scale = max(direction.spread, abs(slope), least, direction.rounding / AGREED) or 1.0
        error = abs(slope - expected) / scale
        if error <= AGREED:
            return error
        again, *sides = (measured(way)[0] for way in WAYS)
    except ModelError:
        return None
    if not abs(slope - again) <= AGREED * scale:
        return None
    # Where units lie on their kinks, what is between the slopes to either side is a gradient too.
    low, high = min(slope, *sides), max(slope, *sides)
    return max(low - expected, expected - high, 0.0) / scale if np.isfinite([low, high]).all() else error


def _beyond_kinks(error: float) -> float:
    """The error of the features graph's own scores, if further than units at their kinks explain."""
    return 0.0 if error <= TOLERANCES["alpha"] else error


def _worst(*errors: float | None) -> float | None:
    """The largest error, where all are measured; NaN stays."""
    measured = [error for error in errors if error is not None]
    largest = float(np.max(measured, initial=0.0))
    return largest if len(measured) == len(errors) or not largest <= AGREED else None
