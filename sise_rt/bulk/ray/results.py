"""Rows that go out: columns whose types are the same in every batch, whatever became of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sise_rt.bulk.table import table_of

from .cluster import import_ray
from .given import BYTES, ID, TARGET, TRUTH

if TYPE_CHECKING:
    import pyarrow

    from .stage import Found

OVERLAY = "overlay"  # PNG


def as_table(batch: Any) -> pyarrow.Table:
    """A batch as Ray gives it, a table of Arrow already or a dict of arrays, as a table."""
    import pyarrow

    if isinstance(batch, pyarrow.Table):
        return batch
    import_ray()
    from ray.data.block import BlockAccessor

    return BlockAccessor.batch_to_arrow_block(batch)


def results(found: Sequence[Sequence[Found]], given: pyarrow.Table | None = None) -> pyarrow.Table:
    """What was found as a table: the columns of a table of results, map and overlay, and those that came in.

    Args:
        found: of each item at least one.
        given: the rows of the items, whose further columns are kept; one that is called as one of the
            results' is `column_NAME`.
    """
    import pyarrow

    flat = [one for of_item in found for one in of_item]
    table = table_of([one.line for one in flat], [one.map for one in flat])
    overlays = [one.overlay for one in flat]
    table = table.append_column(OVERLAY, pyarrow.array(overlays, pyarrow.binary()))
    if given is None:
        return table
    further = [name for name in given.column_names if name not in (BYTES, ID, TARGET, TRUTH)]
    places = [row for row, of_item in enumerate(found) for _ in of_item]
    rows = given.select(further).take(pyarrow.array(places, pyarrow.int64()))
    for name in further:
        free = name
        while free in table.column_names:
            free = f"column_{free}"
        table = table.append_column(given.schema.field(name).with_name(free), rows[name])
    return table
