"""A run: what its results depend on, and each outcome in files, in a shard of maps, and in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.explainer import Explainer
from sise_rt.explanation import Explanation

from .explaining import Asked
from .items import DONE, Item, Outcome
from .keeping import Keep, Written, write_files
from .ledger import Ledger
from .lines import lines_of
from .map_shards import MapShards
from .overview import side_file
from .overview.thumbnails import thumbnails
from .settings import of_model


def settings_of_run(
    explainer: Explainer, root: Path | None, asked: Asked, keep: Keep, drawing: dict[str, Any], maps: str
) -> dict[str, Any]:
    """All that the results of a run depend on, ready for JSON, but for its items and their own targets.

    Args:
        explainer: of the bundle.
        root: from where the ids of pictures lead to them.
        asked: of every item.
        keep: what is kept of it.
        drawing: how it is drawn, in plain values.
        maps: where maps are kept: `files`, `shards` or `table`.
    """
    return {
        **of_model(explainer),
        "root": None if root is None else str(root),
        "tf32": explainer.engine.tf32,
        "methods": {request.label: dict(request.settings) for request in asked.requests},
        "targets": None if asked.targets is None else list(asked.targets),
        "top_k": asked.top_k,
        "bit_depth": asked.bit_depth,
        "max_pixels": asked.max_pixels,
        "only_wrong": asked.only_wrong,
        "below_confidence": asked.below,
        "check": None if asked.check is None else asked.check.__name__,
        "outputs": sorted(keep.outputs if maps == "files" else {*keep.outputs, "map"}),
        "maps": maps,
        "map_size": keep.map_size,
        "drawing": drawing,
    }


@dataclass(frozen=True)
class Entry:
    """An item that is done with.

    Attributes:
        outcome: what came of it.
        written: its files.
        lines: what the ledger has of it; empty for what an interrupt left.
    """

    outcome: Outcome
    written: Written
    lines: list[dict[str, Any]]


class Run:
    """Where the outcomes of a run go, one after the other.

    Args:
        ledger: of the run.
        keep: what is written of each.
        shards: where maps go that get no file of their own.
        thumbnails: the side file of what an overview shows; None keeps none.
    """

    def __init__(
        self,
        ledger: Ledger,
        keep: Keep,
        *,
        shards: MapShards | None = None,
        thumbnails: Path | None = None,
    ):
        self.ledger, self._keep, self._shards, self._thumbnails = ledger, keep, shards, thumbnails

    def left(self, items: Iterable[Item]) -> list[Item]:
        """Those that the ledger does not have yet."""
        return [item for item in items if item.id not in self.ledger.statuses]

    def enter(self, outcome: Outcome) -> Entry:
        """Write what is kept of an item, and then its lines, which say that it is there.

        What an interrupt left is no entry of the ledger: it is explained again when the run goes on.

        Raises:
            OutputError: a file cannot be written; `Unwritable` where no other one could be.
        """
        parts = [part for _, part in outcome.parts]
        written = write_files(outcome, self._keep) if parts else Written()
        if outcome.stopped:
            return Entry(outcome, written, [])
        if self._shards is not None and outcome.status == DONE:
            self._shards.add(outcome.item.id, _maps(outcome))
        if self._thumbnails is not None and outcome.picture is not None:
            side_file.keep(self._thumbnails, outcome.item.id, thumbnails(outcome.picture, parts))
        lines = lines_of(outcome, written.below(self._keep.folder))
        self.ledger.append(lines)
        return Entry(outcome, written, lines)


def _maps(outcome: Outcome) -> Iterator[tuple[int, str, np.ndarray]]:
    """The target, the method and the map of each explanation."""
    for asked, part in outcome.parts:
        if isinstance(part, Explanation):
            yield part.target, asked, part.map
