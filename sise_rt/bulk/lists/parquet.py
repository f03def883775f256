"""The rows of a list in Parquet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, BinaryIO

from sise_rt.errors import SiseError
from sise_rt.wording import short

from .columns import Values, heading_of, refusal

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
            f"{name} is Parquet, which pyarrow reads: pip install 'sise-rt[parquet]', or save it as CSV"
        ) from error
    try:
        file = parquet.ParquetFile(stream)
        schema = file.schema_arrow
        heading = heading_of(schema.names, name)
        left_out = [field.name for field in schema if _is_binary(field.type)]
        if left_out:
            notes.append(f"{name}: left out columns of bytes ({', '.join(left_out)})")
        kept = [place for place, column in enumerate(schema.names) if column not in left_out]
        number = 0
        for batch in file.iter_batches(BATCH):
            columns = [_plain_column(batch.column(place)) for place in kept]
            for cells in zip(*columns, strict=True):
                number += 1
                yield number, {heading[place]: cell for place, cell in zip(kept, cells, strict=True)}
    except (pyarrow.ArrowException, ValueError) as error:
        if isinstance(error, SiseError):
            raise
        raise refusal(f"{name} is no Parquet that can be read: {short(str(error))}") from error


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


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
