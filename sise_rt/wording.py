"""Words that messages share."""

from __future__ import annotations

import re

HALF = 500  # characters of a message that is cut, at its beginning and its end
LEAST = 0.001  # the smallest probability that is told in digits
# What moves a terminal's cursor, colours it, begins a line, or turns the direction of the text.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Note(str):
    """A line for people, and the argument that would make it another one.

    Attributes:
        setting: as it is called in Python; None where there is none. What shows the line tells it in its own
            words, as of errors.
    """

    setting: str | None

    def __new__(cls, text: str, setting: str | None = None) -> Note:
        """The line `text`."""
        note = super().__new__(cls, text)
        note.setting = setting
        return note


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number and its noun: `1 block`, `2 blocks`, `2 classes` where the plural is given."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def probability(value: float) -> str:
    """A probability in three digits, in words where these would be 0.000 or 1.000, which it is not.

    As `0.281`, `below 0.001` and `above 0.999`.
    """
    if value < LEAST:
        return f"below {LEAST}"
    if value > 1 - LEAST:
        return f"above {1 - LEAST}"
    return f"{value:.3f}"


def printable(text: str) -> str:
    """A text in one line that does nothing to a terminal: control characters are written as escapes."""
    return CONTROL.sub(lambda control: control[0].encode("unicode_escape").decode("ascii"), text)


def printable_json(text: str) -> str:
    """The same for JSON in one line, whose strings then still mean what they meant."""
    return CONTROL.sub(lambda control: f"\\u{ord(control[0]):04x}", text)


def in_bytes(size: float) -> str:
    """An amount of memory in the largest unit that it fills, to three digits: `10 bytes`, `81.9 kB`."""
    unit, count = "bytes", float(f"{size:.3g}")
    for larger in ("kB", "MB", "GB", "TB"):
        if count >= 1000:
            unit, count = larger, count / 1000
    return f"{count:.3g} {unit}"


def reason(error: Exception) -> str:
    """Why something failed; of the system's errors their text, without a number and the path again."""
    return getattr(error, "strerror", None) or str(error)


def installing(extra: str) -> str:
    """The command that installs an extra's packages where this one is, from a clone or from elsewhere."""
    return f"pip install 'sise-rt[{extra}]'"


def short(text: str) -> str:
    """A message that fits on a screen, whatever was given: the middle of a very long one is left out."""
    left_out = len(text) - 2 * HALF
    return text if left_out <= 0 else f"{text[:HALF]} [{left_out} characters left out] {text[-HALF:]}"
