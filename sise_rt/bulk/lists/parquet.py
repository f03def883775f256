"""The rows of a list in Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

from sise_rt.errors import SiseError
from sise_rt.wording import installing, short

from .columns import PATH, Values, heading_of, refusal

BATCH = 10_000  # rows that are taken at once


def read_parquet(stream: BinaryIO, name: str, notes: list[str]) -> Iterator[tuple[int, Values]]:
    """The rows of a list in Parquet, by their numbers from 1; columns of bytes are left out, and noted.

    Raises:
        ArgumentError: it cannot be read.
        SiseError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise SiseError(
            f"{name} is Parquet, which pyarrow reads: {installing('parquet')}, or save it as CSV"
        ) from error
    try:
        file = parquet.ParquetFile(stream)
        schema = file.schema_arrow
        heading = heading_of(schema.names, name)
        left_out = [column for column, field in zip(heading, schema, strict=True) if _has_bytes(field.type)]
        if PATH in left_out:
            raise refusal(f"{name}: the column 'path' holds bytes: save it as text")
        if left_out:
            notes.append(f"{name}: left out columns of bytes ({', '.join(left_out)})")
        pairs = zip(heading, schema.names, strict=True)
        kept = {column: stored for column, stored in pairs if column not in left_out}
        number = 0
        for batch in file.iter_batches(BATCH, columns=list(kept.values())):  # pictures may be in the others
            columns = [_plain_column(batch.column(stored)) for stored in kept.values()]
            for cells in zip(*columns, strict=True):
                number += 1
                yield number, dict(zip(kept, cells, strict=True))
    except (pyarrow.ArrowException, ValueError) as error:
        if isinstance(error, SiseError):
            raise
        raise refusal(f"{name} is no Parquet that can be read: {short(str(error))}") from error


def _has_bytes(kind: Any) -> bool:
    """Whether a column's values are bytes or hold some."""
    from pyarrow import types

    inner = [kind.field(place).type for place in range(kind.num_fields)]
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    return binary or any(map(_has_bytes, inner))


def _plain_column(column: Any) -> list[Any]:
    """Values of a column of Parquet as JSON has them; dates and the like as text, NaN as nothing."""
    from pyarrow import types

    if types.is_temporal(column.type) or types.is_decimal(column.type):
        column = column.cast("string")
    return list(map(_plain, column.to_pylist()))


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): _plain(entry) for key, entry in value.items()}
        case list() | tuple():
            return list(map(_plain, value))
    return str(value)
