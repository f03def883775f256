"""Labels of classes: from the user, else the source; what does not fit the model is refused or left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sise_rt.errors import ModelError
from sise_rt.wording import Note, counted

from .origins.description import Description
from .origins.label_files.numbering import heading_hint
from .origins.label_files.reading import read_labels
from .origins.label_files.values import first_ones


def class_labels(
    given: str | Path | Sequence[str] | None, description: Description, classes: int, two_sided: bool
) -> tuple[tuple[str, ...], Note | None, str | None]:
    """One label a class, empty if unknown; what had to be assumed of them; and why the source's are left out.

    Raises:
        ModelError: the label file cannot be read, or its labels are in another order than the classes; or it
            or the model's own files have another number of labels than there are classes.
    """
    if given is not None:
        return _given(given, classes, two_sided), None, None
    unknown = ("negative", "positive") if two_sided else ()
    if (said := description.said.get("labels")) is None:
        return unknown, None, None
    labels = _both_sides(said.value, two_sided)
    if len(labels) == classes:
        assumed = Note(f"labels, as for {said.file}", "labels") if description.of_other_weights else None
        return tuple(labels), assumed, None
    if description.of_other_weights:
        return unknown, None, f"labels of {said.file} left out: {_other_count(labels, classes)}"
    raise ModelError(f"{said.file}: {said.key} has {_other_count(labels, classes)}", settings=("labels",))


def _given(given: str | Path | Sequence[str], classes: int, two_sided: bool) -> tuple[str, ...]:
    """The user's labels."""
    labels = read_labels(Path(given)) if isinstance(given, (str, Path)) else [str(label) for label in given]
    labels = _both_sides(labels, two_sided)
    if len(labels) != classes:
        where = f"{given}: " if isinstance(given, (str, Path)) else ""
        raise ModelError(where + _other_count(labels, classes), settings=("labels",))
    return tuple(labels)


def _both_sides(labels: list[str], two_sided: bool) -> list[str]:
    """The labels of a model whose single output has become two classes, where one was named."""
    return [f"not {labels[0]}", labels[0]] if two_sided and len(labels) == 1 else labels


def _other_count(labels: Sequence[str], classes: int) -> str:
    first = f"; the first are {first_ones(labels)}" if labels else ""
    of = f"{counted(len(labels), 'label')} for a model with {counted(classes, 'class', 'classes')}"
    return of + heading_hint(labels, classes) + first
