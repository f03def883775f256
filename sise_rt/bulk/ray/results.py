"""Rows that go out: columns whose types are the same in every batch, whatever became of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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


def results(found: Sequence[Sequence[Found]], given: pyarrow.Table | None = None) -> pyarrow.Table:
    """What was found as a table: the columns of a table of results, then map and overlay.

    Args:
        found: of each item at least one.
        given: the rows of the items, whose further columns are kept.

    Raises:
        ArgumentError: a further column is called like one of the results.
    """
    import pyarrow

    flat = [one for of_item in found for one in of_item]
    maps = [one.map for one in flat]
    table = table_of([one.line for one in flat])
    for name, values, kind in (
        (MAP, [None if map_ is None else map_.tobytes() for map_ in maps], pyarrow.binary()),
        (SHAPE, [None if map_ is None else map_.shape for map_ in maps], pyarrow.list_(pyarrow.int32())),
        (OVERLAY, [one.overlay for one in flat], pyarrow.binary()),
    ):
        table = table.append_column(name, pyarrow.array(values, kind))
    if given is None:
        return table
    further = [name for name in given.column_names if name not in (BYTES, ID, TARGET, TRUTH)]
    if clash := [name for name in further if name in table.column_names]:
        raise ArgumentError(f"column {clash[0]!r} is one of the results': rename it")
    rows = given.select(further).take([row for row, of_item in enumerate(found) for _ in of_item])
    for name in further:
        table = table.append_column(given.schema.field(name), rows[name])
    return table


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
