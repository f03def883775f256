"""Rows that go out: columns whose types are the same in every batch, whatever became of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from sise_rt.errors import ArgumentError

from .cluster import import_ray
from .given import BYTES, ID, TARGET, TRUTH

if TYPE_CHECKING:
    import pyarrow

    from .stage import Found

MAP, SHAPE, OVERLAY = "map_float16", "map_shape", "overlay_png"


def as_table(batch: Any) -> pyarrow.Table:
    """A batch as Ray gives it, a table of Arrow already or a dict of arrays, as a table."""
    import pyarrow

    if isinstance(batch, pyarrow.Table):
        return batch
    import_ray()
    from ray.data.block import BlockAccessor

    return BlockAccessor.batch_to_arrow_block(batch)


def results(given: pyarrow.Table | None, found: Sequence[Found]) -> pyarrow.Table:
    """What was found as a table: the columns of a table of results, then map and overlay.

    Args:
        given: the rows that it was found of, whose further columns are kept.
        found: any number for each of them.

    Raises:
        ArgumentError: a further column is called like one of the results.
    """
    import pyarrow

    table = table_of([one.line for one in found])
    maps = {
        MAP: pyarrow.array(
            [None if one.map is None else one.map.tobytes() for one in found], pyarrow.binary()
        ),
        SHAPE: pyarrow.array(
            [None if one.map is None else list(one.map.shape) for one in found],
            pyarrow.list_(pyarrow.int32()),
        ),
        OVERLAY: pyarrow.array([one.overlay for one in found], pyarrow.binary()),
    }
    for name, column in maps.items():
        table = table.append_column(name, column)
    if given is None:
        return table
    further = [name for name in given.column_names if name not in (BYTES, ID, TARGET, TRUTH)]
    if clash := [name for name in further if name in table.column_names]:
        raise ArgumentError(f"column {clash[0]!r} is one of the results': rename it")
    rows = given.select(further).take([one.row for one in found])
    for name in further:
        table = table.append_column(given.schema.field(name), rows[name])
    return table


def small_map(values: np.ndarray, size: int | None) -> np.ndarray:
    """A map (H, W) as it is kept: float16, and its longer side of at most `size` pixels, by area."""
    height, width = values.shape
    if size is not None and size < max(height, width):
        scale = size / max(height, width)
        shape = max(1, round(width * scale)), max(1, round(height * scale))
        values = cv2.resize(values, shape, interpolation=cv2.INTER_AREA)
    return np.clip(values, 0, 1).astype(np.float16)


def table_of(lines: Sequence[dict[str, Any]]) -> pyarrow.Table:
    """Lines of results as a table."""
    import pyarrow

    text, number = pyarrow.string(), pyarrow.float64()
    columns = {
        "id": ([line["id"] for line in lines], text),
        "status": ([line["status"] for line in lines], text),
        "error": ([(line["error"] or {}).get("message") for line in lines], text),
        "confidence": ([line["confidence"] for line in lines], number),
    }
    return pyarrow.table({name: pyarrow.array(values, kind) for name, (values, kind) in columns.items()})
