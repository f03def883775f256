"""Labels of classes: from the user, else the source; what does not fit the model is refused or left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sise_rt.errors import ModelError
from sise_rt.label_files.given import both_sides, given_labels, other_count
from sise_rt.wording import Note

from .origins.description import Description
from .origins.labels_beside import FILE


def class_labels(
    given: str | Path | Sequence[str] | None, description: Description, classes: int, two_sided: bool
) -> tuple[tuple[str, ...], Note | None, str | None]:
    """One label a class, empty if unknown; what had to be assumed of them; and what was left out of them.

    Raises:
        ModelError: the label file cannot be read, or its labels are in another order than the classes; or it
            or the model's own files have another number of labels than there are classes.
    """
    if given is not None:
        named, ids = given_labels(given, classes, two_sided)
        return named, None, ids
    unknown = ("negative", "positive") if two_sided else ()
    if (said := description.said.get("labels")) is None:
        return unknown, None, None
    labels = both_sides(said.value, two_sided)
    if len(labels) == classes:
        assumed = Note(f"labels, as for {said.file}", "labels") if description.of_other_weights else None
        return tuple(labels), assumed, None
    if description.of_other_weights:
        return unknown, None, f"labels of {said.file} left out: {other_count(labels, classes)}"
    stray = "; if that file is of another model, move it elsewhere, or give the labels"
    raise ModelError(
        f"{said.file}: {said.key} has {other_count(labels, classes)}{stray if said.file == FILE else ''}",
        settings=("labels",),
    )
