"""What an answer is to be: by a field of the request, else by the types that its client accepts."""

from __future__ import annotations

from .explaining import FORMATS
from .refusals import Refused

ALIASES = {"application/octet-stream": "npy", "application/x-numpy": "npy"}


def chosen_format(asked: str | None, accept: str | None) -> str:
    """One of `FORMATS`.

    Args:
        asked: by name; it goes before the types.
        accept: the header of that name.

    Raises:
        Refused: there is no such format, or the client accepts none.
    """
    if asked is not None:
        if asked not in FORMATS:
            raise Refused(400, f"format is {asked!r}; known are {', '.join(FORMATS)}", "format")
        return asked
    if not accept:
        return next(iter(FORMATS))
    types = {kind.partition(";")[0]: name for name, (kind, _) in FORMATS.items()} | ALIASES
    wishes = [_wish(part) for part in accept.split(",")]
    best = max(types, key=lambda kind: _weight(kind, wishes))  # the first one of several
    if _weight(best, wishes) <= 0:
        raise Refused(406, f"nothing of {accept!r} can be given; known are {', '.join(types)}", "Accept")
    return types[best]


def _wish(text: str) -> tuple[str, float]:
    kind, *parameters = (part.strip().lower() for part in text.split(";"))
    weight = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                weight = 0.0
    return kind, weight


def _weight(kind: str, wishes: list[tuple[str, float]]) -> float:
    """How much a type is wanted, by the most specific wish that it fulfils."""
    for pattern in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if found := [weight for wish, weight in wishes if wish == pattern]:
            return max(found)
    return 0.0
