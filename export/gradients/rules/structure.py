"""Rules of what moves elements to other places and leaves their values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sise_rt.errors import ModelError, UnsupportedOperator

from ...ir.builder import Builder
from ...ir.types import Dim, Shape
from .table import Gradients, computed, elementwise, put_back, reshape_sizes, rule, zeros


@rule("Concat")
def concat(op: Builder, g: str, y: str, *inputs: str, axis: int) -> Gradients:
    """Each input gets its own slice."""
    grads, start = [], 0
    for x in inputs:
        stop = start + op.size(x, axis)
        grads.append(op.Slice(g, op.constant([start]), op.constant([stop]), op.constant([axis])))
        start = stop
    return grads


@rule("DepthToSpace")
def depth_to_space(op: Builder, g: str, y: str, x: str, *, blocksize: int, mode: str = "DCR") -> Gradients:
    """Space to depth, in the same order."""
    return (_blocks_to_depth(op, g, op.shape(y), blocksize, mode, x),)


def _blocks_to_depth(op: Builder, g: str, shape: Shape, block: int, mode: str, x: str) -> str:
    """Move blocks of `g` into channels: block position first (DCR) or channel first (CRD)."""
    batch, channels, height, width = reshape_sizes(shape)
    g = op.Reshape(g, op.constant([batch, channels, height // block, block, width // block, block]))
    return op.reshape_like(
        op.Transpose(g, perm=[0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4]), x
    )


@rule("Dropout")
def dropout(
    op: Builder,
    g: str,
    y: str,
    x: str,
    ratio: str | None = None,
    training_mode: str | None = None,
    *,
    seed: int | None = None,
) -> Gradients:
    """Does nothing in inference.

    Training mode is refused.
    """
    if training_mode and op.value(training_mode):
        raise ModelError("Dropout is in training mode: export the model in evaluation mode")
    return g, None, None


@rule("Flatten")
def flatten(op: Builder, g: str, y: str, x: str, *, axis: int = 1) -> Gradients:
    """The gradient in the input's shape."""
    return (op.reshape_like(g, x),)


@rule("Gather")
def gather(op: Builder, g: str, y: str, x: str, indices: str, *, axis: int = 0) -> Gradients:
    """Each slice is added where it was taken from."""
    shape = op.shape(x)
    rank, axis = len(shape), axis % len(shape)
    if computed(op, indices):
        return _gather_computed(op, g, x, indices, axis), None
    taken, extent = op.value(indices), op.size(x, axis)
    if taken.ndim != 1:
        g = op.Reshape(g, op.constant(reshape_sizes([*shape[:axis], taken.size, *shape[axis + 1 :]])))
    return put_back(op, g, taken.ravel() % extent, extent, axis, rank), None


def _gather_computed(op: Builder, g: str, x: str, indices: str, axis: int) -> str:
    """Scatter slices at indices that the network computes, with their axis moved to the front."""
    rank, count = len(op.shape(x)), len(op.shape(indices))
    front = [axis, *(i for i in range(rank) if i != axis)]
    slices = [*range(axis, axis + count), *range(axis), *range(axis + count, rank - 1 + count)]
    start = zeros(op, op.Transpose(x, perm=front))
    where = op.Unsqueeze(indices, op.constant([-1]))
    g = op.Transpose(g, perm=slices) if slices else g
    total = op.ScatterND(start, where, g, reduction="add")
    return op.Transpose(total, perm=[front.index(i) for i in range(rank)])


@rule("GatherElements")
def gather_elements(op: Builder, g: str, y: str, x: str, indices: str, *, axis: int = 0) -> Gradients:
    """Each element is added where it was taken from."""
    return op.ScatterElements(zeros(op, x), indices, g, axis=axis, reduction="add"), None


@rule("GatherND")
def gather_nd(op: Builder, g: str, y: str, x: str, indices: str, *, batch_dims: int = 0) -> Gradients:
    """Each slice is added where it was taken from.

    `batch_dims` other than 0 is refused.
    """
    if batch_dims:
        raise UnsupportedOperator(f"GatherND has a rule for batch_dims 0 only, not for {batch_dims}")
    return op.ScatterND(zeros(op, x), indices, g, reduction="add"), None


@rule("Identity")
def identity(op: Builder, g: str, y: str, x: str) -> Gradients:
    """The gradient as it is."""
    return (g,)


@rule("Reshape")
def reshape(op: Builder, g: str, y: str, x: str, shape: str, *, allowzero: int = 0) -> Gradients:
    """The gradient in the input's shape."""
    return op.reshape_like(g, x), None


@rule("Slice")
def slice_(
    op: Builder,
    g: str,
    y: str,
    x: str,
    starts: str,
    ends: str,
    axes: str | None = None,
    steps: str | None = None,
) -> Gradients:
    """Back to its place among zeros."""
    shape = op.shape(x)
    rank, firsts = len(shape), op.value(starts).tolist()
    sliced = [int(axis) % rank for axis in op.value(axes)] if axes else list(range(len(firsts)))
    strides = op.value(steps).tolist() if steps else [1] * len(sliced)
    before, behind, kept = [0] * rank, [0] * rank, list(op.shape(y))
    for axis, start, stop, step in zip(sliced, firsts, op.value(ends).tolist(), strides, strict=True):
        if shape[axis] is None and (start, step) == (0, 1) and stop >= np.iinfo(np.int32).max:
            continue  # the whole batch
        extent, count = op.size(x, axis), op.size(y, axis)
        first = range(extent)[slice(start, stop, step)].start
        if step < 0:
            g = _turned_round(op, g, axis)
            first, step = first + (count - 1) * step, -step
        if step > 1:
            g = _spaced(op, g, kept, axis, step)
            kept[axis] = count * step
        before[axis] = first
        behind[axis] = extent - first - count * step
    return op.Pad(g, op.constant([*before, *behind])), None, None, None


def _turned_round(op: Builder, g: str, axis: int) -> str:
    """`g` from the other end of an axis."""
    last, before_first = op.constant([-1]), op.constant([np.iinfo(np.int64).min])
    return op.Slice(g, last, before_first, op.constant([axis]), op.constant([-1]))


def _spaced(op: Builder, g: str, shape: Sequence[Dim], axis: int, step: int) -> str:
    """`g` of this shape with `step` - 1 zeros behind each position of an axis (put in as an axis)."""
    sizes, rank = reshape_sizes(shape), len(shape)
    g = op.Reshape(g, op.constant([*sizes[: axis + 1], 1, *sizes[axis + 1 :]]))
    g = op.Pad(g, op.constant([0] * (rank + 1 + axis + 1) + [step - 1] + [0] * (rank - axis - 1)))
    sizes[axis] *= step
    return op.Reshape(g, op.constant(sizes))


@rule("SpaceToDepth")
def space_to_depth(op: Builder, g: str, y: str, x: str, *, blocksize: int, mode: str = "DCR") -> Gradients:
    """Depth to space, in the same order."""
    return (op.DepthToSpace(g, blocksize=blocksize, mode=mode),)


@rule("Split")
def split(
    op: Builder,
    g: Sequence[str | None],
    y: Sequence[str],
    x: str,
    lengths: str | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
) -> Gradients:
    """The parts' gradients in a row."""
    parts = [
        gradient or op.Expand(op.constant(0.0), op.Shape(part))
        for gradient, part in zip(g, y, strict=True)
        if part
    ]
    return op.Concat(*parts, axis=axis), None


@rule("Squeeze", "Unsqueeze")
def squeeze(op: Builder, g: str, y: str, x: str, axes: str | None = None) -> Gradients:
    """The gradient in the input's shape."""
    return (op.reshape_like(g, x), None)


@rule("TopK")
def top_k(
    op: Builder,
    g: Sequence[str | None],
    y: Sequence[str],
    x: str,
    k: str,
    *,
    axis: int = -1,
    largest: int = 1,
    sorted: int = 1,
) -> Gradients:
    """Each value is added where it was taken from; the indices have no gradient."""
    values, _ = g
    return op.ScatterElements(zeros(op, x), y[1], values, axis=axis, reduction="add"), None


@rule("Transpose")
def transpose(op: Builder, g: str, y: str, x: str, *, perm: Sequence[int] | None = None) -> Gradients:
    """The gradient transposed back."""
    perm = list(perm or reversed(range(len(op.shape(x)))))
    return (op.Transpose(g, perm=[perm.index(axis) for axis in range(len(perm))]),)


@rule("Trilu")
def trilu(op: Builder, g: str, y: str, x: str, k: str | None = None, *, upper: int = 1) -> Gradients:
    """The same triangle."""
    return op.Trilu(g, k, upper=upper), None


@elementwise("Where")
def where(op: Builder, g: str, y: str, condition: str, a: str, b: str) -> Gradients:
    """Each branch gets the gradient where it was chosen."""
    zero = op.constant(0.0)
    return None, op.Where(condition, g, zero), op.Where(condition, zero, g)
