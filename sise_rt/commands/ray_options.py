"""Where `sise-rt explain` lets a run be explained: here, or by actors of Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import click

from sise_rt.bulk.ray.dealing import Plan
from sise_rt.bulk.ray.reading import Stream, stream_of

from .drawing_options import Drawing
from .help_pages import option
from .machine_options import Machine
from .many_options import Many
from .shared_options import grouped
from .writing_options import Writing

RAY = "Many pictures on Ray"
IN_PARTS = {"map", "overlay", "record"}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What explains a run.

    Attributes:
        engine: `here` or `ray`.
        address: of Ray's cluster; None starts one on this machine.
        workers: actors; None takes as many as there is room for.
        ship_bundle: whether the bundle goes to the nodes by way of Ray.
    """

    engine: str
    address: str | None
    workers: int | None
    ship_bundle: bool

    @property
    def on_ray(self) -> bool:
        """Whether it is Ray."""
        return self.engine == "ray"

    def plan(self, machine: Machine) -> Plan:
        """How the work is dealt out."""
        gpus = 1 if machine.provider in ("cuda", "tensorrt") else 0
        return Plan(
            address=self.address,
            workers=self.workers,
            threads=machine.threads,
            gpus=gpus,
            ship_bundle=self.ship_bundle,
        )

    def stream(self, images: Sequence[str], many: Many) -> Stream | None:
        """What Ray reads by itself, of what is named; None where that is pictures and lists of this machine.

        Raises:
            click.UsageError: it is chosen from what nobody knows before.
            ArgumentError: several kinds are named.
        """
        stream = stream_of(images)
        if stream is None:
            return None
        if not self.on_ray:
            raise click.UsageError(f"{images[0]!r} is read by Ray: --engine ray")
        for name, value in {"--from": many.listing, "--limit": many.limit, "--shuffle": many.shuffle}.items():
            if value is not None:
                raise click.UsageError(f"{name} is for pictures that are listed: not for {images[0]!r}")
        return stream

    def check(self, writing: Writing, drawing: Drawing, many: Many) -> None:
        """Refuse what parts of a run cannot hold, before any work.

        Raises:
            click.UsageError: says what.
        """
        if not self.on_ray:
            if self.address is not None or self.workers is not None or self.ship_bundle:
                raise click.UsageError("--address, --workers and --ship-bundle are for --engine ray")
            return
        if many.shard is not None:
            raise click.UsageError("--engine ray deals the work out by itself: leave --shard out")
        if drawing.compare is not None:
            raise click.UsageError("--compare is not for --engine ray")
        if not many.skip_existing:
            raise click.UsageError("--no-skip-existing is not for --engine ray: name another folder")
        if writing.maps != "files":
            raise click.UsageError(f"--engine ray keeps maps in its parts: leave --maps {writing.maps} out")
        if others := sorted(writing.outputs - IN_PARTS):
            raise click.UsageError(f"--engine ray writes no {others[0]}: its parts have maps and overlays")


ENGINE = grouped(
    "engine",
    Engine,
    option(
        "--engine",
        heading=RAY,
        type=click.Choice(("here", "ray")),
        default="here",
        show_default=True,
        help="Explain here, or by actors of Ray, which write maps and overlays into parts/*.parquet.",
    ),
    option(
        "--address",
        heading=RAY,
        metavar="auto|HOST:PORT",
        help="The cluster that this machine belongs to, or another; without it Ray is started here.",
    ),
    option(
        "--workers",
        heading=RAY,
        type=click.IntRange(1),
        help="Actors, of --threads cores each; as many as there is room for by default.",
    ),
    option(
        "--ship-bundle",
        heading=RAY,
        is_flag=True,
        help="Send the bundle to each node once, where nodes do not see its folder.",
    ),
)
