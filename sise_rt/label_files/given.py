"""The labels that a user gives: as a list or in a file, as many as there are classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sise_rt.errors import ModelError
from sise_rt.wording import counted

from .numbering import WITHOUT_IDS, heading_hint, without_wordnet_ids
from .reading import read_labels
from .values import first_ones


def given_labels(
    given: str | Path | Sequence[str], classes: int, two_sided: bool = False
) -> tuple[tuple[str, ...], str | None]:
    """One label a class; and what was left out of those of a file, None if nothing.

    Args:
        given: the labels, or the path of a file for `read_labels`.
        classes: of the model.
        two_sided: whether these are the two sides of a single output, of which one may be named.

    Raises:
        ModelError: the file cannot be read, its labels are in another order than the classes, or there is
            another number of them.
    """
    left_out = None
    if isinstance(given, (str, Path)):
        stated = read_labels(Path(given))
        labels = without_wordnet_ids(stated)
        left_out = f"labels of {given} are taken {WITHOUT_IDS}" if labels != stated else None
    else:
        labels = [str(label) for label in given]
    labels = both_sides(labels, two_sided)
    if len(labels) != classes:
        where = f"{given}: " if isinstance(given, (str, Path)) else ""
        raise ModelError(where + other_count(labels, classes), settings=("labels",))
    return tuple(labels), left_out


def both_sides(labels: list[str], two_sided: bool) -> list[str]:
    """The labels of a model whose single output has become two classes, where one was named."""
    return [f"not {labels[0]}", labels[0]] if two_sided and len(labels) == 1 else labels


def other_count(labels: Sequence[str], classes: int) -> str:
    """What is said of labels that are more or fewer than the classes."""
    first = f"; the first {'is' if len(labels) == 1 else 'are'} {first_ones(labels)}" if labels else ""
    of = f"{counted(len(labels), 'label')} for a model with {counted(classes, 'class', 'classes')}"
    return of + heading_hint(labels, classes) + first
