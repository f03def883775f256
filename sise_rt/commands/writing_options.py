"""What `sise-rt explain` writes and prints, and where."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click

from sise_rt.bulk.forecast import Maps
from sise_rt.errors import ArgumentError
from sise_rt.saving import NONE, OUTPUTS, USUAL, outputs_of

from .help_pages import WHERE_TO, option
from .shared_options import QUIET, grouped

NAMES = [name for name in OUTPUTS if name in USUAL]


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What is written and printed of an explanation.

    Attributes:
        out: folder of the files.
        outputs: some of `OUTPUTS`.
        maps: whether maps go into files, shards or the table.
        map_size: pixels of a map's short side, at most.
        table: a file for the results as a table.
        check: whether the model is asked about the map.
        overview: whether a run gets pages that show all of it.
        as_json: whether records are printed, and nothing else.
        quiet: whether nothing is printed.
    """

    out: Path
    outputs: frozenset[str]
    maps: Maps
    map_size: int | None
    table: Path | None
    check: bool
    overview: bool
    as_json: bool
    quiet: bool

    @property
    def silent(self) -> bool:
        """Whether nothing is said but results and errors."""
        return self.as_json or self.quiet

    @property
    def check_option(self) -> str:
        """The option that asks the model about maps, where one does."""
        return "--check" if self.check else "--report"

    @property
    def report(self) -> bool:
        """Whether there is a page for each explanation."""
        return "report" in self.outputs

    @property
    def blocks(self) -> bool:
        """Whether there is a strip of the blocks."""
        return "blocks" in self.outputs

    @property
    def only_of_many(self) -> bool:
        """Whether something is wanted that only runs have."""
        return self.maps != "files" or self.table is not None

    @property
    def in_files(self) -> frozenset[str]:
        """The outputs that are files of their own."""
        return self.outputs if self.maps == "files" else self.outputs - {"map"}


def _writing(*, blocks: bool, report: bool, outputs: frozenset[str], **rest: Any) -> Writing:
    also = [name for name, is_set in (("blocks", blocks), ("report", report)) if is_set]
    writing = Writing(outputs=outputs.union(also), **rest)
    if writing.maps == "table" and writing.table is None:
        raise click.UsageError("--maps table puts them into the --table: name its file")
    if writing.maps != "files" and "map" not in writing.outputs:
        raise click.UsageError(f"--maps {writing.maps}, but the --outputs have no map: name it there")
    return writing


def _outputs(_: click.Context, __: click.Parameter, value: str) -> frozenset[str]:
    try:
        return outputs_of(value)
    except ArgumentError as error:
        raise click.BadParameter(error.message) from error


WRITING = grouped(
    "writing",
    _writing,
    option(
        "-o",
        "--out",
        heading=WHERE_TO,
        type=click.Path(path_type=Path),
        default="explanations",
        show_default=True,
        help="Output folder.",
    ),
    option(
        "--outputs",
        heading=WHERE_TO,
        metavar="A,B,...",
        callback=_outputs,
        default=",".join(NAMES),
        show_default=True,
        help=f"What is written of each explanation: some of {', '.join(OUTPUTS)}, or {NONE}.",
    ),
    option(
        "--check",
        heading=WHERE_TO,
        is_flag=True,
        help="Also record drop, increase, insertion and deletion.",
    ),
    option(
        "--blocks",
        heading=WHERE_TO,
        is_flag=True,
        help="Also write a strip: picture, every block's map, explanation.",
    ),
    option(
        "--report",
        heading=WHERE_TO,
        is_flag=True,
        help="Also write a page, .html, that stands alone: pictures, words, what the model says with the "
        "region hidden, and what an audit asks for.",
    ),
    option(
        "--maps",
        heading=WHERE_TO,
        type=click.Choice(get_args(Maps)),
        default="files",
        show_default=True,
        help="Of many pictures: a .npy for each map, a thousand of them in float16 in a .npz, or all of them "
        "in the --table.",
    ),
    option(
        "--map-size",
        heading=WHERE_TO,
        type=click.IntRange(1),
        help="Keep maps averaged down to N pixels at their short side.",
    ),
    option(
        "--table",
        heading=WHERE_TO,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Of many pictures: also write the results as a table, .parquet, a row for each explanation.",
    ),
    option(
        "--overview/--no-overview",
        heading=WHERE_TO,
        default=True,
        show_default=True,
        help="Of many pictures: write overview.html, on which all of them are seen.",
    ),
    option(
        "--json",
        "as_json",
        heading=WHERE_TO,
        is_flag=True,
        help="One JSON record a line on standard output; of many pictures the lines of results.jsonl.",
    ),
    QUIET,
)
