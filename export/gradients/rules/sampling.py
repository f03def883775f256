"""Rules of sampling at computed positions: grids, and convolutions whose taps are moved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from sise_rt.errors import UnsupportedOperator

from ...ir.builder import Builder
from .table import Gradients, computed, reshape_sizes, rule

Position = tuple[str, str]  # where an axis is sampled, and the slope of that by the input that says so
Corner = tuple[str, str, list[str]]  # flat index, weight, and the weight's slope along each axis


@rule("AffineGrid")
def affine_grid(op: Builder, g: str, y: str, theta: str, size: str, *, align_corners: int = 0) -> Gradients:
    """The product of the gradient and the positions before they were moved.

    With `align_corners` an axis of one pixel is refused: ONNX Runtime and torch put it elsewhere.
    """
    shape = op.shape(y)
    extents = [op.size(y, axis) for axis in range(1, len(shape) - 1)]
    axes = [_normalised(n, bool(align_corners)) for n in extents]
    places = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(extents)], axis=-1)
    constant = op.constant(places.reshape(-1, len(extents) + 1).astype(op.dtype))
    flat = op.Reshape(g, op.constant([*reshape_sizes(shape[:1]), int(np.prod(extents)), len(extents)]))
    return op.MatMul(op.Transpose(flat, perm=[0, 2, 1]), constant), None


def _normalised(n: int, align: bool) -> np.ndarray:
    """The centres of `n` pixels, or with `align` from edge to edge, in [-1, 1]."""
    if align and n == 1:
        raise UnsupportedOperator("AffineGrid has no rule for one pixel along an axis with align_corners")
    return np.linspace(-1, 1, n) if align else (2 * np.arange(n) + 1) / n - 1


@rule("GridSample")
def grid_sample(
    op: Builder,
    g: str,
    y: str,
    x: str,
    grid: str,
    *,
    mode: str = "linear",
    padding_mode: str = "zeros",
    align_corners: int = 0,
) -> Gradients:
    """Each sample is added to its neighbours by their weights; the grid gets the slopes of these weights.

    Linear and nearest; cubic is refused. The grid of nearest gets nothing. At the border positions get
    nothing, as in torch.
    """
    modes = {"linear": 2, "bilinear": 2, "nearest": 1}
    if mode not in modes:
        raise UnsupportedOperator(f"GridSample has a rule for modes linear and nearest, not for {mode!r}")
    sizes = [op.size(x, axis) for axis in range(2, len(op.shape(x)))]
    rank = len(sizes)
    count = int(np.prod([op.size(grid, 1 + i) for i in range(rank)]))
    (lead,) = reshape_sizes([op.shape(y)[0]])
    flat_grid = op.Reshape(grid, op.constant([lead, count, rank]))
    positions = [
        _in_pixels(
            op, op.Gather(flat_grid, op.constant(rank - 1 - i), axis=2), n, padding_mode, align_corners
        )
        for i, n in enumerate(sizes)
    ]
    places = [at for at, _ in positions]
    corners = _corners(op, places, sizes, modes[mode] == 1, padding_mode == "zeros")
    flat_g = op.Reshape(g, op.constant([lead, op.size(x, 1), count]))
    flat_x = op.Reshape(x, op.constant([lead, op.size(x, 1), int(np.prod(sizes))]))
    gx = op.reshape_like(_added(op, flat_g, flat_x, corners), x)
    if modes[mode] == 1:
        return gx, op.Mul(grid, op.constant(0.0))
    slopes = _slopes(op, flat_g, flat_x, corners)
    along = [op.Mul(slope, by) for slope, (_, by) in zip(slopes, positions, strict=True)]
    stacked = op.Concat(*(op.Unsqueeze(a, op.constant([2])) for a in reversed(along)), axis=2)
    return gx, op.reshape_like(stacked, grid)


@rule("DeformConv")
def deform_conv(
    op: Builder,
    g: str,
    y: str,
    x: str,
    w: str,
    offset: str,
    b: str | None = None,
    mask: str | None = None,
    *,
    kernel_shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    group: int = 1,
    offset_group: int = 1,
) -> Gradients:
    """Products of the gradient and the weights, added to the pixels that each tap sampled.

    The offsets get the slopes of the samples, the mask the samples, computed weights the products with them.
    """
    sizes = [op.size(x, axis) for axis in range(2, len(op.shape(x)))]
    outs = [op.size(y, axis) for axis in range(2, len(op.shape(y)))]
    kernel = [op.size(w, axis) for axis in range(2, len(op.shape(w)))]
    rank, taps, spots = len(sizes), int(np.prod(kernel)), int(np.prod(outs))
    channels, outputs = op.size(x, 1), op.size(y, 1)
    (batch,) = reshape_sizes(op.shape(y)[:1])
    lead = batch * offset_group if batch > 0 else -1  # each image as often as there are groups of offsets
    windows = (strides or [1] * rank, pads or [0] * 2 * rank, dilations or [1] * rank)
    moved = op.Reshape(offset, op.constant([lead, taps, rank, spots]))
    places = []
    for i, still in enumerate(_tap_positions(kernel, outs, windows)):
        at = op.Add(op.Gather(moved, op.constant(i), axis=2), op.constant(still.astype(op.dtype)))
        places.append(op.Reshape(at, op.constant([lead, taps * spots])))
    corners = _corners(op, places, sizes, nearest=False, zeros_outside=True)
    pixels = op.Reshape(x, op.constant([lead, channels // offset_group, int(np.prod(sizes))]))

    per_group = op.Reshape(g, op.constant([batch, group, outputs // group, spots]))
    matrix = op.Reshape(w, op.constant([group, outputs // group, channels // group * taps]))
    columns = op.MatMul(op.Transpose(matrix, perm=[0, 2, 1]), per_group)
    columns = op.Reshape(columns, op.constant([lead, channels // offset_group, taps * spots]))
    weight = op.Reshape(mask, op.constant([lead, 1, taps * spots])) if mask else op.constant(1.0)
    reaching = op.Mul(columns, weight)
    gx = op.reshape_like(_added(op, reaching, pixels, corners), x)
    slopes = [
        op.Reshape(slope, op.constant([lead, taps, 1, spots]))
        for slope in _slopes(op, reaching, pixels, corners)
    ]
    samples = _sampled(op, pixels, columns, corners)
    gw = gm = None
    if computed(op, w):
        taken = op.Reshape(
            op.Mul(samples, weight), op.constant([batch, group, channels // group * taps, spots])
        )
        products = op.MatMul(per_group, op.Transpose(taken, perm=[0, 1, 3, 2]))
        gw = op.reshape_like(op.ReduceSum(products, op.constant([0]), keepdims=0), w)
    if mask:
        gm = op.reshape_like(op.ReduceSum(op.Mul(columns, samples), op.constant([1]), keepdims=0), mask)
    others = [axis for axis in range(2 + rank) if axis != 1]
    gb = op.ReduceSum(g, op.constant(others), keepdims=0) if b else None
    return gx, gw, op.reshape_like(op.Concat(*slopes, axis=2), offset), gb, gm


def _tap_positions(
    kernel: Sequence[int], outs: Sequence[int], windows: tuple[Sequence[int], Sequence[int], Sequence[int]]
) -> list[np.ndarray]:
    """Where each tap lies for each output if it is not moved: of each axis, (taps, outputs)."""
    strides, pads, dilations = windows
    taps, spots = np.indices(kernel), np.indices(outs)
    return [
        (spots[i].ravel() * strides[i] - pads[i]) + taps[i].reshape(-1, 1) * dilations[i]
        for i in range(len(kernel))
    ]


def _in_pixels(op: Builder, at: str, n: int, padding: str, align: int) -> Position:
    """Positions in [-1, 1] as pixels of an axis of `n`, with the border's rule applied, and their slope."""
    if padding not in ("zeros", "border", "reflection"):
        raise UnsupportedOperator(f"GridSample has no rule for padding_mode {padding!r}")
    scale = (n - 1) / 2 if align else n / 2
    low, high = (0.0, n - 1.0) if align else (-0.5, n - 0.5)
    number, zero, one = op.constant, op.constant(0.0), op.constant(1.0)
    at = op.Add(op.Mul(op.Add(at, one), number(scale)), number(low))
    slope = number(scale)
    if padding == "zeros":
        return at, slope
    if padding == "reflection" and high > low:  # a triangular wave between the borders
        span, past = number(high - low), op.Sub(at, number(low))
        far = op.Abs(past)
        turns = op.Floor(op.Div(far, span))
        odd = op.Sub(turns, op.Mul(number(2.0), op.Floor(op.Div(turns, number(2.0)))))
        rest = op.Sub(far, op.Mul(turns, span))
        way = op.Sub(one, op.Mul(number(2.0), odd))  # 1 forwards, -1 backwards
        at = op.Add(op.Add(op.Mul(rest, way), op.Mul(odd, span)), number(low))
        slope = op.Mul(op.Mul(slope, way), op.Where(op.Less(past, zero), number(-1.0), one))
    inside = op.And(op.Greater(at, zero), op.Less(at, number(n - 1.0)))
    return op.Clip(at, zero, number(n - 1.0)), op.Where(inside, slope, zero)


def _corners(
    op: Builder, places: Sequence[str], sizes: Sequence[int], nearest: bool, zeros_outside: bool
) -> list[Corner]:
    """The pixels around each position; flat indices count through the spatial axes."""
    one = op.constant(1.0)
    everywhere = op.Expand(one, op.Shape(places[0]))
    # of each axis: (position, weight, slope of the weight) of its neighbours
    if nearest:
        axes = [[(op.Round(at), one, op.constant(0.0))] for at in places]
    else:
        axes = []
        for at in places:
            before = op.Floor(at)
            part = op.Sub(at, before)
            axes.append(
                [
                    (before, op.Sub(one, part), op.constant(-1.0)),
                    (op.Add(before, one), part, one),
                ]
            )
    corners = []
    for chosen in product(*axes):
        index, inside = "", ""
        for (at, _, _), n in zip(chosen, sizes, strict=True):
            last = op.constant(n - 1.0)
            kept = op.Clip(at, op.constant(0.0), last)
            here = op.Equal(kept, at)
            inside = op.And(inside, here) if inside else here
            place = op.Cast(kept, to=7)
            index = op.Add(op.Mul(index, op.constant(n)), place) if index else place
        mask = op.Where(inside, one, op.constant(0.0)) if zeros_outside else everywhere
        weight, slopes = mask, [mask] * len(sizes)
        for i, (_, share, slope) in enumerate(chosen):
            weight = op.Mul(weight, share)
            slopes = [op.Mul(s, slope if i == axis else share) for axis, s in enumerate(slopes)]
        corners.append((index, weight, slopes))
    return corners


def _added(op: Builder, g: str, x: str, corners: Sequence[Corner]) -> str:
    """Samples `g` (N, C, P), added to their pixels in a tensor as `x` (N, C, pixels)."""
    indices = op.Unsqueeze(op.Concat(*(index for index, _, _ in corners), axis=1), op.constant([1]))
    shares = [op.Mul(g, op.Unsqueeze(weight, op.constant([1]))) for _, weight, _ in corners]
    parts = op.Concat(*shares, axis=2)
    start = op.Expand(op.constant(0.0), op.Shape(x))
    return op.ScatterElements(start, op.Expand(indices, op.Shape(parts)), parts, axis=2, reduction="add")


def _taken(op: Builder, x: str, index: str, like: str) -> str:
    """The pixels of `x` (N, C, pixels) at an index (N, P), as (N, C, P)."""
    there = op.Expand(op.Unsqueeze(index, op.constant([1])), op.Shape(like))
    return op.GatherElements(x, there, axis=2)


def _sampled(op: Builder, x: str, like: str, corners: Sequence[Corner]) -> str:
    """The samples (N, C, P) themselves."""
    return op.Sum(
        *(
            op.Mul(_taken(op, x, index, like), op.Unsqueeze(weight, op.constant([1])))
            for index, weight, _ in corners
        )
    )


def _slopes(op: Builder, g: str, x: str, corners: Sequence[Corner]) -> list[str]:
    """Of each axis, what moving the positions (N, P) does to sum(g * samples)."""
    totals: list[list[str]] = [[] for _ in corners[0][2]]
    for index, _, slopes in corners:
        product_ = op.ReduceSum(op.Mul(g, _taken(op, x, index, g)), op.constant([1]), keepdims=0)
        for total, slope in zip(totals, slopes, strict=True):
            total.append(op.Mul(product_, slope))
    return [op.Sum(*parts) for parts in totals]
