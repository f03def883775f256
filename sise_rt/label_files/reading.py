"""Reading a label file, which may be a text of one label a line, JSON, or a table."""

from __future__ import annotations

from pathlib import Path

from sise_rt.errors import ModelError
from sise_rt.literals import parsed, read_text

from .numbering import FEWEST_NUMBERED, refuse_other_order, without_index_column
from .tables import labels_of_table
from .values import labels_of


def read_labels(path: Path, fewest_numbered: int = FEWEST_NUMBERED) -> list[str]:
    """The labels of a file, in the order of the classes.

    Args:
        path: `.json` holds what `labels_of` takes; `.csv` and `.tsv` have a heading; any other file is a list
            or a dictionary as a whole, or has a label a line, with or without its index in front, as `0 cat`.
        fewest_numbered: lines that tell such indices from names as `2 doors`.

    Raises:
        ModelError: it cannot be read, is too large, or its labels are in no order of classes.
    """
    text = _text(path)
    kind = path.suffix.lower()
    if kind == ".json" or text.lstrip()[:1] in ("[", "{"):
        value = parsed(text)
        if isinstance(value, (list, tuple, dict)) or kind == ".json":
            return labels_of(value, str(path))
    if kind in (".csv", ".tsv"):
        return labels_of_table(text, str(path))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines:
        refuse_other_order(str(path), lines)
    return without_index_column(lines, fewest_numbered)


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except ModelError as error:
        raise ModelError(f"labels: {error.message}", settings=("labels",)) from error
