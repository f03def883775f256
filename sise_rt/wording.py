"""Words that messages share."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 block`, `2 blocks`, `2 classes` where the plural is given."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
