"""What the overview counts. A picture with several targets has several explanations, and a card for each."""

from __future__ import annotations

Noun = tuple[str, str]

PICTURES: Noun = ("picture", "pictures")
EXPLANATIONS: Noun = ("explanation", "explanations")
MAPS: Noun = ("map", "maps")
CARDS: Noun = ("card", "cards")


def many(number: int, what: Noun) -> str:
    """A number and what it counts, as `1 card` and `1,200 cards`."""
    return f"{number:,} {what[number != 1]}"
