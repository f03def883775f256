"""Words for error messages: the gist of a foreign exception, and shapes."""

from __future__ import annotations

from collections.abc import Sequence


def first_line(error: BaseException) -> str:
    """The first line that says something, cut to 300 characters; the exception's type where none does."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def described(shape: Sequence[int | str | None]) -> str:
    """A shape as `(?, 3, 224, 224)`, where ? is free."""
    return "(" + ", ".join("?" if d is None else str(d) for d in shape) + ")"
