"""Options of the commands that take a labelled data set, and what they make of them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sise_rt.errors import SiseError
from sise_rt.evaluation.datasets import FORMATS, WITH_FILE
from sise_rt.wording import installing

from .help_pages import HOW_MUCH, MACHINE, WHAT, option

if TYPE_CHECKING:
    from sise_rt.bundle import Manifest
    from sise_rt.evaluation.samples import Dataset
    from sise_rt.running.engine import Engine

CPU_BATCH, GPU_BATCH = 8, 64  # fixed, not measured: the same numbers whenever a run goes on

FORMAT = option(
    "--format",
    "form",
    heading=WHAT,
    required=True,
    type=click.Choice([*FORMATS]),
    help="How the data set is laid out.",
)
ANNOTATIONS = option(
    "--annotations",
    heading=WHAT,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=f"Of {', '.join(WITH_FILE)}: the file that has them.",
)
CLASS_MAP = option(
    "--class-map",
    heading=WHAT,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="CSV: a class of the data set, then labels, indices or ranges (151-268) of the model.",
)
ONLY = option(
    "--only",
    heading=HOW_MUCH,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Names of the pictures to take, one a line, as VOC's ImageSets/Main/test.txt.",
)
BATCH_SIZE = option(
    "--batch-size",
    heading=MACHINE,
    type=click.IntRange(1),
    help=f"Images per forward pass; by default {CPU_BATCH}, on a GPU {GPU_BATCH}.",
)


def fixed_batch(engine: Engine) -> int:
    """The images of a forward pass where nobody says how many: the same whenever a run goes on."""
    return CPU_BATCH if engine.sessions.provider.on_cpu else GPU_BATCH


def refuse_format(form: str, annotations: Path | None, command: str, needs: tuple[str, ...] = ()) -> None:
    """Refuse a format whose reader is not installed, and a file that it has not.

    Args:
        form: of the data set.
        annotations: the file, if one is named.
        command: that needs the reader.
        needs: packages that it needs besides.

    Raises:
        SiseError: tells what to install.
        click.BadParameter: the format has no such file.
    """
    needed = [*needs, *(["defusedxml"] if form == "voc" else [])]
    if missing := [name for name in needed if find_spec(name) is None]:
        raise SiseError(f"{command} needs {', '.join(missing)}: {installing('evaluate')}")
    if annotations is not None and form not in WITH_FILE:
        raise click.BadParameter(f"--format {form} has no such file", param_hint="--annotations")


def names_in(path: Path | None) -> list[str] | None:
    """What a file lists, one a line; None without a file."""
    from sise_rt.evaluation.samples import MAX_ANNOTATION, read_limited

    if path is None:
        return None
    lines = read_limited(path, MAX_ANNOTATION).decode("utf-8", "surrogateescape").splitlines()
    return [line.strip() for line in lines if line.strip()]


def targets_of(
    dataset: Dataset, manifest: Manifest, class_map: Path | None
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The model's classes for each of the data set's, and why it lacks the others: as `match_classes`."""
    from sise_rt.evaluation.classes import match_classes, read_class_map
    from sise_rt.evaluation.samples import Problem

    mapped = {} if class_map is None else read_class_map(class_map)
    unused = [name for name in mapped if name not in dataset.classes]
    dataset.problems += [Problem("class of the class map without image", name) for name in unused]
    return match_classes(dataset.classes, manifest, mapped)


def no_class(folder: Path, missing: dict[str, str]) -> SiseError:
    """What is raised where the model has none of the classes."""
    reason = next(iter(missing.values()), "no picture has a class")
    return SiseError(f"the model has none of the classes in {folder} ({reason}): name them with --class-map")
