"""On what machine, and how, `sise-rt explain` runs the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import click
from click.core import ParameterSource

from sise_rt import Explainer, load
from sise_rt.running.provider import BF16, VERIFIED

from .console import say
from .help_pages import MACHINE, option
from .method_options import Batch
from .shared_options import MEMORY, PRECISION, PROVIDER, THREADS, grouped


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What runs the model; all but the size of a pass is as `sise_rt.load` takes it.

    Attributes:
        batch_size: masks per forward pass; None finds the fastest.
    """

    provider: str
    precision: str
    threads: int | None
    oversubscribe: bool
    memory: int | None
    tf32: bool
    batch_size: int | None

    def for_preset(self, preset: str | None) -> Machine:
        """The same, in the preset's own precision where nobody named one."""
        source = click.get_current_context().get_parameter_source("precision")
        if preset == "fast" and source is ParameterSource.DEFAULT:
            return replace(self, precision=VERIFIED)
        return self

    def load(self, bundle: Path) -> Explainer:
        """Load a bundle."""
        return load(
            bundle,
            self.provider,
            self.threads,
            self.memory,
            self.tf32,
            precision=self.precision,
            oversubscribe=self.oversubscribe,
        )

    def say_precision(self, explainer: Explainer) -> None:
        """Say that scores are rounded where nobody asked for that by name."""
        if self.precision == VERIFIED and explainer.engine.sessions.precision == BF16:
            provider = explainer.engine.provider
            say(f"note: masked copies are scored in bf16 by {provider}, as verified", err=True)


MACHINE_OPTIONS = grouped(
    "machine",
    Machine,
    PROVIDER,
    PRECISION,
    THREADS,
    MEMORY,
    option(
        "--batch-size",
        heading=MACHINE,
        type=Batch(),
        default="auto",
        show_default=True,
        help="Masks per forward pass.",
    ),
    option(
        "--tf32", heading=MACHINE, is_flag=True, help="Let CUDA round to TensorFloat-32, which is faster."
    ),
)
