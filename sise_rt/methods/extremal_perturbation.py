"""Extremal perturbations (Fong, Patrick and Vedaldi, ICCV 2019): the region of given area that a class needs.

Written from the paper's equations: the area constraint by ranking, and the smooth max-convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sise_rt.errors import MethodError
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.finite import require_finite

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import unseen

Slope = Callable[[np.ndarray], np.ndarray]

CELLS = 32  # parameters along the shorter side of the input
REACH = 4  # a point of a mask depends on 2 * REACH parameters along each axis
TEMPERATURE = 1 / 20  # of the smooth maximum; towards 0 it is the maximum
# What the weight of the area penalty grows towards, against a score of about 1; an int, so that no number of
# steps is too large to divide by.
PRESSURE = 60
START, RATE, MOMENTUM = 0.8, 0.003, 0.9


def extremal_perturbation(
    query: Query, call: Call, clock: Clock, *, areas: tuple[float, ...], steps: int
) -> list[Answer]:
    """The mean over areas of the mask m of that area for which z(m * x) is largest, z the target's logit.

    As in the paper's benchmarks the masks of several areas are added up, so that what serves the class most
    is in all of them; the blur of the sum there, which breaks ties, is left out. What a mask hides is zero in
    the model's input space, as for the other methods here, so that their maps answer the same question; the
    paper blurs it.

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        areas: shares of the picture, each between 0 and 1.
        steps: of gradient ascent, each a pass forward and backward for every area.

    Raises:
        BundleError: the bundle has no gradient with respect to the image.
        ModelError: the model's numbers are not finite for masked copies of the picture.
        MethodError: an area is smaller than a pixel.
    """
    if any(round(area * query.size[0] * query.size[1]) == 0 for area in areas):
        raise MethodError(f"areas {areas}: one is smaller than a pixel")
    # Not the fastest, as elsewhere: rounding differs with the batch, and an ascent would carry it on.
    batch = call.most_at_once(len(areas))
    passes = steps * len(areas)
    tick = call.ticker(passes * len(query.targets))

    def explain_one(_: int, target: int, clock: Clock) -> Finding | Nothing:
        with clock("scoring"):
            slope = logit_slope(query, target, tick)
            parts = [areas[start : start + batch] for start in range(0, len(areas), batch)]
            masks = [ascend(slope, query.size, part, steps) for part in parts]
        moved = [mask for mask in masks if mask is not None]
        if not moved:
            return unseen(query, target, "no pixel speaks")
        raw = np.concatenate(moved).mean(axis=0)
        return Finding(raw=raw, passes=passes, masks=passes, batch=batch, graph="image_gradient")

    return each_target(query, clock, explain_one)


def logit_slope(query: Query, target: int, tick: Callable[[int], None]) -> Slope:
    """From masks (A, H, W) to the gradient at each (A, H, W) of the target's logit for the image under it."""

    def slope(masks: np.ndarray) -> np.ndarray:
        images = query.image * masks[:, None].astype(np.float32)
        gradient, logits = query.engine.image_gradient(images, query.one_hot(target, len(masks)))
        require_finite("logits or gradients", "for masked copies of this image", gradient, logits)
        tick(len(masks))
        return np.einsum("achw,chw->ahw", gradient, query.image[0], dtype=np.float64)

    return slope


def ascend(slope: Slope, size: tuple[int, int], areas: Sequence[float], steps: int) -> np.ndarray | None:
    """Gradient ascent with momentum on score / scale - pressure * area penalty, one mask an area.

    The parameters stay in [0, 1] and start below 1, so that they can rise. A logit has no scale of its own:
    the scale is the sum of the magnitudes of its derivatives at the start. The pressure grows evenly from
    zero, so that the score decides the ranks that the penalty then drives apart.

    Args:
        slope: from masks (A, H, W) to the score's gradients at them (A, H, W).
        size: (H, W) of the masks.
        areas: (A,) shares of the pixels.
        steps: of the ascent.

    Returns:
        Masks (A, H, W) in [0, 1]; None if the score depends on no parameter at the start.
    """
    lattice = make_lattice(size)
    parameters = np.full((len(areas), *lattice.shape), START)
    velocity = np.zeros_like(parameters)
    masks, back = smooth(parameters, lattice)
    scale = 0.0
    for step in range(steps):
        gradients = slope(masks)
        if not step:
            scale = float(np.abs(back(gradients)).sum() / len(areas))
            if not scale:
                return None
        uphill = objective_gradient(masks, gradients / scale, areas, PRESSURE * step / steps)
        # The rate is per parameter, so that it does not depend on how many there are.
        velocity = MOMENTUM * velocity + RATE * parameters[0].size * back(uphill)
        parameters = np.clip(parameters + velocity, 0, 1)
        masks, back = smooth(parameters, lattice)
    return masks


def objective_gradient(
    masks: np.ndarray, gradients: np.ndarray, areas: Sequence[float], pressure: float
) -> np.ndarray:
    """Of score - pressure * area penalty with respect to masks (A, H, W), given that of the score."""
    penalties = [area_penalty(mask, area)[1] for mask, area in zip(masks, areas, strict=True)]
    return gradients - pressure * np.array(penalties)


def area_penalty(mask: np.ndarray, area: float) -> tuple[float, np.ndarray]:
    """Mean square of sort(m) - r, r zeros and then ones for the area's share; and its gradient (H, W)."""
    wanted = np.zeros(mask.size)
    wanted[np.argsort(mask, axis=None, kind="stable")[mask.size - round(area * mask.size) :]] = 1
    short = mask - wanted.reshape(mask.shape)
    return float(np.mean(short**2)), 2 * short / mask.size


@dataclass(frozen=True)
class Lattice:
    """Where a mask is computed from which parameters: at two points a cell, and linearly between them.

    Attributes:
        shape: of the parameters, which reach beyond the picture on every side.
        near: indices of the parameters around each of L points, (L, n).
        kernel: k of their distance to it, (L, n).
        rows: (H, points along it), from points to pixels.
        columns: (W, points along it).
    """

    shape: tuple[int, int]
    near: np.ndarray
    kernel: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def make_lattice(size: tuple[int, int], cells: int = CELLS) -> Lattice:
    """The lattice of a picture (H, W), with k = exp(-max(0, d - 1)^2 / 4) at a distance of d cells."""
    cell = min(size) / cells
    points, near, shape = [], [], []
    for extent in size:
        count = int(np.ceil(2 * extent / cell))
        at = (np.arange(count) + 0.5) * extent / (count * cell)
        first = np.floor(at).astype(int)
        points.append(at + REACH - 1)  # the parameters begin that far outside
        near.append(first[:, None] + np.arange(2 * REACH))
        shape.append(int(near[-1].max()) + 1)
    away = [at[:, None] - index for at, index in zip(points, near, strict=True)]
    distance = np.hypot(away[0][:, None, :, None], away[1][None, :, None, :])
    index = near[0][:, None, :, None] * shape[1] + near[1][None, :, None, :]
    length = len(points[0]) * len(points[1])
    rows, columns = (
        np.array([resize_map(unit[:, None], (extent, 1))[:, 0] for unit in np.eye(len(at))]).T
        for at, extent in zip(points, size, strict=True)
    )
    kernel = np.exp(-(np.maximum(0, distance - 1) ** 2) / 4)
    return Lattice((shape[0], shape[1]), index.reshape(length, -1), kernel.reshape(length, -1), rows, columns)


def smooth(parameters: np.ndarray, lattice: Lattice) -> tuple[np.ndarray, Slope]:
    """The smooth max-convolution m(u) = smax_v k(u - v) p(v) of parameters (A, *lattice.shape).

    smax f = sum f exp(f / T) / sum exp(f / T), T the temperature.

    Returns:
        The masks (A, H, W), and the function from gradients at them to gradients at the parameters.
    """
    f = lattice.kernel * parameters.reshape(len(parameters), -1)[:, lattice.near]
    share = np.exp((f - f.max(axis=2, keepdims=True)) / TEMPERATURE)
    share /= share.sum(axis=2, keepdims=True)
    smax = (share * f).sum(axis=2, keepdims=True)
    slope = share * (1 + (f - smax) / TEMPERATURE) * lattice.kernel
    near, count = lattice.near.ravel(), parameters[0].size

    def back(gradients: np.ndarray) -> np.ndarray:
        at_points = (lattice.rows.T @ gradients @ lattice.columns).reshape(smax.shape)
        summed = [np.bincount(near, each.ravel(), count) for each in at_points * slope]
        return np.reshape(summed, parameters.shape)

    points = smax.reshape(-1, lattice.rows.shape[1], lattice.columns.shape[1])
    return lattice.rows @ points @ lattice.columns.T, back


METHOD = Method(
    name="extremal-perturbation",
    run=extremal_perturbation,
    help="Extremal perturbations (Fong et al., ICCV 2019): the region of given area that a class needs.",
    options=(
        Option(
            "areas",
            (0.025, 0.05, 0.1, 0.2),
            "Shares of the picture.",
            Range(0, 1, above=True, below=True),
        ),
        Option(
            "steps", 100, "Of gradient ascent, each a pass forward and back for every area.", Range(low=1)
        ),
    ),
    graph="image_gradient",
    gradients=True,
)
