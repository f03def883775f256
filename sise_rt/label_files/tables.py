"""Labels from a table with a heading: CSV, with a column of names and perhaps one of indices."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from .values import in_order, refusal

# Headings, the most explicit first. A column that could be of both kinds is one of indices if it holds whole
# numbers only.
NAMES = (
    *("name", "class_name", "label_name", "display_name", "english_name", "human_readable"),
    *("label", "class", "category", "description", "title", "names", "labels", "classes"),
)
INDICES = (
    *("index", "idx", "class_index", "class_idx", "label_index", "class_id", "label_id", "category_id"),
    *("id", "target", "label", "class", "number", "no"),
)
DELIMITERS = (",", ";", "\t")


def labels_of_table(text: str, where: str) -> list[str]:
    """The labels of a table, by its column of indices or, without one, in the order of its rows.

    Args:
        text: its first line is the heading.
        where: what holds it, for messages.

    Raises:
        ModelError: no heading names the labels, a row has other fields, or an index is missing or doubled.
    """
    lines = text.splitlines()
    delimiter = max(DELIMITERS, key=lambda mark: lines[0].count(mark)) if lines else ","
    try:
        rows = [
            row for row in csv.reader(lines, delimiter=delimiter, strict=True) if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise refusal(where, f"is no table: {error}") from error
    if not rows:
        return []
    heading, *rows = [[field.strip() for field in row] for row in rows]
    for row in rows:
        if len(row) != len(heading):
            raise refusal(
                where,
                f"has {len(row)} fields in {delimiter.join(row)[:60]!r}, and {len(heading)} in its heading",
            )
    index, name = _columns(heading, rows)
    if name is None:
        raise refusal(
            where,
            f"has no column of labels by its first line, {lines[0][:60]!r}: give a heading as index,name",
        )
    if not all(row[name] for row in rows):
        raise refusal(where, f"has a row without a label in its column {heading[name][:60]!r}")
    if index is None:
        return [row[name] for row in rows]
    return in_order(((int(row[index]), row[name]) for row in rows), where)


def _columns(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[int | None, int | None]:
    """The columns of indices and of names, None where there is none."""
    words = [re.sub(r"\W+", "_", field.lower()).strip("_") for field in heading]
    whole = [all(re.fullmatch(r"[0-9]{1,7}", row[column]) for row in rows) for column in range(len(words))]
    index = next((words.index(word) for word in INDICES if word in words and whole[words.index(word)]), None)
    others = [word if column != index else None for column, word in enumerate(words)]
    name = next((others.index(word) for word in NAMES if word in others), None)
    if name is None and index is not None and words[index] in NAMES:  # names that are numbers
        return None, index
    return index, name
