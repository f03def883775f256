"""Which pictures `sise-rt explain` takes where it takes many, and what it does with those that it had."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from sise_rt.bulk.items import Item
from sise_rt.bulk.ledger import has_run, root_of_run
from sise_rt.bulk.listing import STANDARD_INPUT, Listing, from_arguments, from_list, is_run
from sise_rt.bulk.order import chosen

from .help_pages import option
from .method_options import finite
from .shared_options import grouped

MANY = "Many pictures"
SHARD = re.compile("([0-9]{1,6})/([0-9]{1,6})")

Shard = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Many:
    """Which items are explained.

    Attributes:
        listing: a list of them; `-` is standard input.
        limit: how many at most.
        shuffle: the seed of their order; None leaves it.
        shard: which part of them, from 1, and of how many; None takes all.
        only_wrong: whether only those where the model errs are explained.
        below_confidence: only those where it is less sure.
        skip_existing: whether what is there already is left as it is.
        retry_failed: whether what failed before is tried again.
    """

    listing: Path | None
    limit: int | None
    shuffle: int | None
    shard: Shard | None
    only_wrong: bool
    below_confidence: float | None
    skip_existing: bool
    retry_failed: bool

    def is_run(self, images: Sequence[str], out: Path) -> bool:
        """Whether these are many pictures, or one of a run that is there already."""
        return self.listing is not None or is_run(images) or has_run(out)

    def named(self, images: Sequence[str], out: Path) -> Listing:
        """The items that are named.

        Raises:
            click.UsageError: nothing is named, or pictures and a list.
            ArgumentError: as `from_arguments` and `from_list` do.
        """
        if self.listing is None and not images:
            raise click.UsageError(
                "Missing argument 'IMAGE...': name pictures or folders, or a list (--from)"
            )
        if self.listing is None:
            root = root_of_run(out)
            return from_arguments(images, out=out, standard_input=_standard_input(), root=root)
        if images:
            raise click.UsageError("pictures are named, and a list of them (--from): give one of them")
        return from_list(_standard_input() if str(self.listing) == STANDARD_INPUT else self.listing)

    def chosen(self, items: Sequence[Item]) -> list[Item]:
        """Those of them that are this command's, in their order.

        Raises:
            click.UsageError: only wrong ones are wanted, and nobody says what is right.
        """
        if self.only_wrong and not any(item.truth is not None for item in items):
            raise click.UsageError(
                "--only-wrong needs the class of each picture: name a list (--from) with a column truth"
            )
        return chosen(items, shuffle=self.shuffle, limit=self.limit, shard=self.shard or (1, 1))


def _standard_input() -> BinaryIO:
    """Its bytes; none where it is closed."""
    return io.BytesIO() if sys.stdin is None else sys.stdin.buffer


class OneOf(click.ParamType):
    """Which part of how many."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shard | None:
        """Parse `3/8`."""
        if value is None or isinstance(value, tuple):
            return value
        parts = SHARD.fullmatch(str(value))
        if parts is None or not 1 <= int(parts[1]) <= int(parts[2]):
            self.fail(f"{value!r} is no part of a whole: give 1/8 to 8/8, say", param, ctx)
        return int(parts[1]), int(parts[2])


MANY_OPTIONS = grouped(
    "many",
    Many,
    option(
        "--from",
        "listing",
        heading=MANY,
        metavar="LIST",
        type=click.Path(path_type=Path, allow_dash=True),
        help="Take the pictures of a list, .csv, .jsonl or .parquet, with the columns path and, where they "
        "are there, id, target and truth; - is standard input.",
    ),
    option("--limit", heading=MANY, type=click.IntRange(1), help="Only the first N."),
    option(
        "--shuffle",
        heading=MANY,
        metavar="SEED",
        type=click.IntRange(0),
        help="Take them in an order that looks random, and is the same for the same SEED.",
    ),
    option(
        "--shard",
        heading=MANY,
        type=OneOf(),
        metavar="I/N",
        help="Only every N-th, beginning with the I-th; the N commands may share the output folder.",
    ),
    option(
        "--only-wrong",
        heading=MANY,
        is_flag=True,
        help="Explain those only where the model predicts another class than the list's truth.",
    ),
    option(
        "--below-confidence",
        heading=MANY,
        type=click.FloatRange(0, 1, min_open=True),
        callback=finite,
        help="Explain those only where the model is less sure of its prediction.",
    ),
    option(
        "--skip-existing/--no-skip-existing",
        heading=MANY,
        default=True,
        show_default=True,
        help="Leave out what the output folder has already.",
    ),
    option("--retry-failed", heading=MANY, is_flag=True, help="Try again what failed before."),
)
