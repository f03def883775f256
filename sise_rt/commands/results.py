"""What `sise-rt explain` prints of what it found, and what it makes sure of before it looks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.keeping import Keep, Written, base_of
from sise_rt.errors import ImageError, NoEvidence, OutputError, SiseError
from sise_rt.explanation import Explanation
from sise_rt.files import make_folder
from sise_rt.foreign import other_settings, refuse_foreign_files
from sise_rt.wording import reason

from .command import spelt
from .console import say, summary


def prepare_folder(folder: Path, pictures: Iterable[tuple[str, str]], targets: Iterable[int]) -> None:
    """Find out before the work, not after it, whether results can be written, and what they would replace.

    Args:
        folder: of the results.
        pictures: of each the stem of its results and its name.
        targets: class indices that may be explained.

    Raises:
        OutputError: the folder cannot be written, or holds something else that a result may be called like.
    """
    make_folder(folder, settings=("out",))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"folder {str(folder)!r} cannot be written: {reason(error)}: name another one", settings=("out",)
        ) from error
    refuse_foreign_files(folder, pictures, targets)


def name_of(item: Item) -> str:
    """What messages call an item: its path, or its id where it has none."""
    return str(item.picture) if isinstance(item.picture, Path) else item.id


def say_outcome(outcome: Outcome, written: Written) -> None:
    """Say what was found of an item and where it lies."""
    for (_, part), files in zip(outcome.parts, written.parts, strict=True):
        if isinstance(part, Explanation):
            say(*summary(part, outcome.item.id, files[0] if files else None))
    for file in written.compared:
        say(f"compared: {file}")
    for file in written.beside:
        say(f"side by side: {file}")


def replaced(outcome: Outcome, keep: Keep) -> Iterator[str]:
    """Notes of earlier results that are about to be replaced, and had other settings."""
    for asked, part in outcome.parts:
        if isinstance(part, Explanation):
            base = base_of(outcome, asked, part, keep)
            if others := other_settings(keep.folder, base, part.record()["settings"]):
                yield f"note: {keep.folder / base}.png replaces an earlier result with {', '.join(others)}"


def records(outcome: Outcome, written: Written) -> Iterator[dict[str, Any]]:
    """The records of an item's explanations, each with its files."""
    for (_, part), files in zip(outcome.parts, written.parts, strict=True):
        if isinstance(part, Explanation):
            yield part.record() | {"files": list(map(str, files))}


def without_evidence(outcome: Outcome) -> list[str]:
    """Why explanations of an item are missing, a line each."""
    several = len(outcome.explained) > 1
    return [
        f"{asked}: {spelt(part)}" if several else spelt(part)
        for asked, part in outcome.parts
        if isinstance(part, NoEvidence)
    ]


def problems_of(outcome: Outcome, check: str) -> list[str]:
    """What went wrong with an item, a line each; `check` is the option that asks the model about maps."""
    return problem_lines(name_of(outcome.item), outcome.error, outcome.unchecked, check)


def problem_lines(
    name: str, error: SiseError | None, unchecked: Iterable[SiseError], check: str
) -> list[str]:
    """Why what is called `name` failed, and why the model could not be asked about a map; a line each."""
    lines = []
    if error is not None:
        named = isinstance(error, ImageError | NoEvidence)  # which name the picture
        lines.append(spelt(error) if named else f"{name}: {spelt(error)}")
    return [*lines, *(f"{name}: {check}: {spelt(error)}" for error in unchecked)]
