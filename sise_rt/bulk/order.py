"""Which items are explained, and in what order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from sise_rt.errors import ArgumentError

from .items import Item


def chosen(
    items: Sequence[Item],
    *,
    shuffle: int | None = None,
    limit: int | None = None,
    shard: tuple[int, int] = (1, 1),
) -> list[Item]:
    """The items of a run: all are shuffled, then so many are taken, then these are dealt to the shards.

    So the shards of a run together are the run, whatever its order and its limit.

    Args:
        items: all of them, in the same order for every shard.
        shuffle: a seed; None leaves the order.
        limit: of the whole run.
        shard: which one, from 1, and of how many.

    Raises:
        ArgumentError: the limit is below 1, or there is no such shard.
    """
    if limit is not None and limit < 1:
        raise ArgumentError(f"a limit of {limit}, where at least 1 is needed", settings=("limit",))
    number, count = shard
    if not 1 <= number <= count:
        raise ArgumentError(
            f"shard {number} of {count}: the first one is 1, and the last one {max(count, 1)}",
            settings=("shard",),
        )
    ordered = items if shuffle is None else shuffled(items, shuffle)
    return list(ordered[:limit][number - 1 :: count])


def shuffled(items: Sequence[Item], seed: int) -> list[Item]:
    """Items in the order of the SHA-256 of `seed:id` in UTF-8: the same on every machine, for ever.

    It depends on the ids alone, so items keep their order among themselves where others come or go.
    """

    def key(item: Item) -> bytes:
        return hashlib.sha256(f"{seed}:{item.id}".encode("utf-8", "surrogatepass")).digest()

    return sorted(items, key=key)
