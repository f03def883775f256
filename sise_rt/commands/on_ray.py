"""A run of `sise-rt explain` that actors of Ray explain, and what is said of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sise_rt.bulk.explaining import Asked
from sise_rt.bulk.items import DONE, NO_EVIDENCE, Item
from sise_rt.bulk.keeping import Keep
from sise_rt.bulk.ledger import Ledger
from sise_rt.bulk.listing import Listing
from sise_rt.bulk.ray.job import Finished, run
from sise_rt.bulk.ray.reading import Stream
from sise_rt.errors import MethodError
from sise_rt.explanation import Explanation
from sise_rt.wording import counted, probability

from .command import spelt
from .console import complain, rate, say, say_json, warn
from .drawing_options import Drawing
from .machine_options import Machine
from .many_options import Many
from .progress import NOW_AND_THEN, pace
from .ray_options import Engine
from .results import problem_lines
from .writing_options import Writing

NOTHING = Listing([], None)
"""What is listed where Ray reads a stream."""


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """What explains a run on Ray.

    Attributes:
        bundle: its folder.
        machine: what runs the model there.
        engine: how the work is dealt out.
        stream: what Ray reads by itself; None where items are listed.
    """

    bundle: Path
    machine: Machine
    engine: Engine
    stream: Stream | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the results depend on that is another thing there than here."""
        machine = self.machine
        return {
            "engine": "ray",
            "stream": None if self.stream is None else list(self.stream.places),
            "provider": machine.provider,
            "precision": machine.precision,
            "tf32": machine.tf32,
        }

    def explain(
        self,
        items: Sequence[Item],
        ledger: Ledger,
        asked: Asked,
        keep: Keep,
        shown: Writing,
        thumbnails: Path | None,
    ) -> bool:
        """Explain items, or the stream, and say what became of each as its part is there.

        Gives whether the model could be asked about all maps that it was to be asked about.

        Raises:
            SiseError: what is no picture's fault; what was finished is kept.
        """
        told = _Told(len(items) if self.stream is None else None, shown)
        try:
            run(
                items if self.stream is None else self.stream,
                ledger,
                {"bundle": self.bundle} | arguments_of(asked, keep, self.machine),
                self.engine.plan(self.machine),
                thumbnails=thumbnails,
                tell=told.tell,
                note=told.note,
            )
        except MethodError as error:
            raise click.UsageError(spelt(error)) from error
        told.finish()
        return told.sound


def of_engine(
    engine: Engine,
    images: Sequence[str],
    bundle: Path,
    machine: Machine,
    *,
    writing: Writing,
    drawing: Drawing,
    many: Many,
) -> OnRay | None:
    """What explains on Ray; None where that is not asked for.

    Raises:
        click.UsageError: something is asked for that it does not do.
    """
    engine.check(writing, drawing, many)
    stream = engine.stream(images, many)
    return OnRay(bundle=bundle, machine=machine, engine=engine, stream=stream) if engine.on_ray else None


def arguments_of(asked: Asked, keep: Keep, machine: Machine) -> dict[str, Any]:
    """What every actor is told, as `sise_rt.bulk.ray.Explain` takes it."""
    return {
        "methods": list(asked.requests),
        "targets": asked.targets,
        "top_k": asked.top_k,
        "bit_depth": asked.bit_depth,
        "max_pixels": asked.max_pixels,
        "only_wrong": asked.only_wrong,
        "below": asked.below,
        "check": asked.check,
        "masks_a_pass": asked.batch_size,
        "maps": "map" in keep.outputs,
        "map_size": keep.map_size,
        "draw": Explanation.plain_png if "overlay" in keep.outputs else None,
        "provider": machine.provider,
        "memory": machine.memory,
        "tf32": machine.tf32,
        "precision": machine.precision,
    }


class _Told:
    """What is said of items as they are finished.

    Args:
        items: how many there are; None where nobody knows.
        shown: what is shown of the work.

    Attributes:
        sound: whether the model could be asked about all maps.
    """

    def __init__(self, items: int | None, shown: Writing):
        self._items, self._shown, self.sound = items, shown, True
        self._finished = self._done = 0
        self._start = self._said = time.monotonic()

    def note(self, text: str) -> None:
        """Say what the user should know."""
        if not self._shown.silent:
            say(f"note: {text}", err=True)

    def tell(self, item: Finished) -> None:
        """Say what became of an item."""
        lines = item.lines
        several = len({line["asked"] for line in lines}) > 1
        self._finished += 1
        self._done += any(line["status"] == DONE for line in lines)
        for line in lines:
            if self._shown.as_json:
                say_json(line)
            elif line["status"] == DONE and not self._shown.quiet:
                say(_in_words(line))
            if line["status"] == NO_EVIDENCE:
                message = line["error"]["message"]
                warn(f"{line['asked']}: {message}" if several else message)
        self.sound = self.sound and not item.unchecked
        for problem in problem_lines(lines[0]["id"], item.error, item.unchecked, self._shown.check_option):
            complain(problem)
        if time.monotonic() - self._said >= NOW_AND_THEN:
            self._said = time.monotonic()
            of = "" if self._items is None else f" of {self._items}"
            self.note(f"{self._finished}{of} pictures, {pace(self._finished, self._said - self._start)}")

    def finish(self) -> None:
        """Say how fast it was."""
        if self._done > 1 and not self._shown.silent:
            say(rate(self._done, time.monotonic() - self._start))


def _in_words(line: dict[str, Any]) -> str:
    """An explanation, in one line."""
    trust = line["confidence"]
    of = f"output {trust:.4g}" if line["activation"] == "none" else f"confidence {probability(trust)}"
    return (
        f"{line['id']}: {line['target']['label']}, {of}, {line['method']}, "
        f"{counted(line['masks'], 'mask')} -> {line['files'][0]}"
    )
