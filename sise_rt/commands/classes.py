"""Which classes `sise-rt explain` explains."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sise_rt.manifest import Manifest
from sise_rt.targets import resolve_target


def best_classes(targets: Sequence[str], top_k: int, *, two: bool) -> int:
    """How many of the best classes are explained, where none is named; two where two are to be compared.

    Raises:
        click.UsageError: the options contradict each other.
    """
    if targets and top_k > 1:
        raise click.UsageError("--top-k explains the best classes and -t the named ones: give one of them")
    if not two:
        return top_k
    if len(targets) not in (0, 2):
        raise click.UsageError(f"--compare takes two classes: give two -t, or none, not {len(targets)}")
    if not targets and top_k > 2:
        raise click.UsageError(f"--compare takes two classes, not the best {top_k}: leave --top-k out")
    return 1 if targets else 2


def named_classes(targets: Sequence[str], manifest: Manifest, *, two: bool) -> list[int]:
    """The class indices that are named, each once; two where two are to be compared.

    Raises:
        TargetError: a target is no class.
        click.UsageError: both name the same class, or the model has no two.
    """
    if two and manifest.classes < 2:
        raise click.UsageError("--compare takes two classes, and the model has one")
    indices = list(dict.fromkeys(resolve_target(target, manifest) for target in targets))
    if two and len(indices) == 1:
        raise click.UsageError("--compare takes two classes, and both -t name the same")
    return indices
