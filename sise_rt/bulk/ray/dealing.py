"""How the work of a run is dealt out to the nodes that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sise_rt.errors import ArgumentError
from sise_rt.wording import counted

MOST_THREADS = 4  # of an actor, where nobody says: more gain little, and each actor has the model in memory
ROUNDS = 4  # batches that each actor gets at least, so that all end about together
MOST_PARTS = 4000  # of a run, about: files are opened one by one
SMALL_PART, LARGEST_PART = 32, 256  # rows: a killed run loses those that are at work


@dataclass(frozen=True)
class Plan:
    """How the work is to be dealt out.

    Attributes:
        address: of the cluster, see `sise_rt.bulk.ray.cluster.connected`.
        workers: actors; None takes as many as the cluster has room for.
        threads: of each; None takes up to four, as many as the largest node has.
        gpus: of each, as 1 or 0.25.
        ship_bundle: whether the bundle goes to the nodes by way of Ray; else its folder is one of theirs too.
        part_rows: rows of a part; None chooses by the size of the run.
    """

    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    gpus: float = 0
    ship_bundle: bool = False
    part_rows: int | None = None


@dataclass(frozen=True)
class Dealt:
    """How it is dealt out; attributes are those of `Plan`."""

    workers: int
    threads: int
    gpus: float
    part_rows: int

    @classmethod
    def of(cls, ray: Any, plan: Plan, rows: int | None) -> Dealt:
        """By a plan, for so many rows; None where nobody knows.

        Raises:
            ArgumentError: no node has room for an actor.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = max(int(node.get("CPU", 0)) for node in nodes)
        threads = plan.threads or max(1, min(MOST_THREADS, most))
        room = sum(_room(node, threads, plan.gpus) for node in nodes)
        idle = max(node.get("CPU", 0) - _room(node, threads, plan.gpus) * threads for node in nodes)
        if rows is None and idle < 1:
            room -= 1  # or what lists and reads files would wait for a core for ever
        if room < 1:
            what = counted(threads, "core") + (f" and {plan.gpus:g} GPU" if plan.gpus else "")
            what += ", and one to read files," if rows is None else ""
            raise ArgumentError(
                f"no node of the Ray cluster has {what} for an actor; the largest: {counted(most, 'core')}",
                settings=("threads",),
            )
        workers = min(plan.workers or room, room)
        if rows is not None:
            workers = min(workers, rows)
        return cls(workers, threads, plan.gpus, plan.part_rows or part_rows(rows, workers))

    def __str__(self) -> str:
        """In words."""
        gpu = f" and {self.gpus:g} GPU" if self.gpus else ""
        return (
            f"{counted(self.workers, 'actor')} with {counted(self.threads, 'thread')}{gpu} each, parts of "
            f"{counted(self.part_rows, 'picture')}"
        )


def _room(node: Mapping[str, float], threads: int, gpus: float) -> int:
    """How many actors a node has room for."""
    room = int(node.get("CPU", 0) // threads)
    return min(room, int(node.get("GPU", 0) // gpus)) if gpus else room


def part_rows(rows: int | None, workers: int) -> int:
    """Rows of a part: few where the run is small, and never so many that a kill loses much."""
    if rows is None:
        return SMALL_PART
    fair = -(-rows // (workers * ROUNDS))
    few = max(SMALL_PART, -(-rows // MOST_PARTS))
    return max(1, min(fair, few, LARGEST_PART))
