"""Several pictures of one request: worked on one after the other, the next read and the last drawn beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from traceback import clear_frames
from typing import TypeVar

from sise_rt.bulk.items import CatchUp, overlapped
from sise_rt.errors import SiseError
from sise_rt.methods import Stop
from sise_rt.pictures.picture import Picture
from sise_rt.wording import counted

from .asked import Asked
from .explaining import read_picture
from .json_pictures import Source
from .models import Model
from .refusals import IMAGE, RETRY, Refused, refusal_of
from .service import Service
from .work import Turn

MOST = 64  # pictures of a request

Found = TypeVar("Found")
Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Wanted:
    """A picture of a request.

    Attributes:
        source: gives it, when its turn comes.
        asked: how it is to be explained.
        field: of the request that all of it stands in, as `instances[2]`; empty for the request itself.
        image: of the request that the picture stands in, as `instances[2].image`.
    """

    source: Source
    asked: Asked
    field: str
    image: str


def require_few(number: int, field: str) -> None:
    """Refuse a request of no picture, or of too many.

    Raises:
        Refused: it is one.
    """
    if not number:
        raise Refused(400, f"{field} is empty: send at least one picture", field)
    if number > MOST:
        raise Refused(413, f"{field} has {counted(number, 'picture')}: send {MOST} at a time", field)


def named(refused: Refused, field: str, image: str) -> Refused:
    """A refusal that is about a part of a request, which its message then names as well."""
    if refused.field is None:
        at = field
    elif refused.field == IMAGE:
        at = image
    elif not field or refused.field.startswith(field):
        at = refused.field
    else:
        at = f"{field}.{refused.field}"
    message = refused.message if not at or refused.message.startswith(at) else f"{at}: {refused.message}"
    return Refused(refused.status, message, at or None, retry_after=refused.retry_after)


@contextmanager
def naming(field: str, image: str) -> Iterator[None]:
    """Let what a client is refused name the part of its request.

    Raises:
        Refused: where something within is refused; what is no fault of the request is left as it is.
    """
    try:
        yield
    except (Refused, SiseError) as error:  # whose traceback has the picture: no name outlives this block
        if refusal_of(error).status >= 500:
            raise
        raise named(refusal_of(error), field, image) from error


async def each(
    service: Service,
    turn: Turn,
    model: Model,
    wanted: Sequence[Wanted],
    work: Callable[[Picture, Wanted], Found],
    draw: Callable[[Found], Drawn],
) -> list[Drawn]:
    """What is drawn of what is found for each picture, in their order. One refusal refuses all.

    Pictures are decoded when their turn comes, so that of a request of many only three are in memory;
    together they may have as many pixels as one may. The request's time is the least that one of them asks
    for.

    Args:
        service: of the server.
        turn: of the request.
        model: that is asked.
        wanted: the pictures, at least one.
        work: run in the thread that uses the device.
        draw: run beside it.

    Raises:
        Refused: a picture cannot be used, or there is nothing to show for it; its field is named.
        SiseError: it is no fault of the request.
    """
    turn.limit(min(one.asked.max_seconds for one in wanted))
    pixels = 0

    def read(one: Wanted) -> Picture:
        nonlocal pixels
        with naming(one.field, one.image):
            picture = read_picture(model, one.source(), one.asked, service.settings.max_pixels)
            pixels += picture.placement.original[0] * picture.placement.original[1]
            if pixels > service.settings.max_pixels:
                text = (
                    f"the pictures have together more than {service.settings.max_pixels:,} pixels: send fewer"
                )
                raise Refused(413, text, IMAGE)
        return picture

    def found(one: Wanted, picture: Picture) -> Found:
        turn.look()
        with naming(one.field, one.image):
            return work(picture, one)

    try:
        if len(wanted) == 1:  # decoded before it waits, and drawn when the device is free for others
            (one,) = wanted
            picture = await service.beside(partial(read, one))
            answer = await service.work.run(turn, partial(found, one, picture))
            return [await service.beside(partial(draw, answer))]
        return await service.work.run(turn, partial(_overlapped, wanted, read, found, draw))
    except Stop as stop:
        raise Refused(503, "the server ends, and this was not done", retry_after=RETRY) from stop


def _overlapped(
    wanted: Sequence[Wanted],
    read: Callable[[Wanted], Picture],
    found: Callable[[Wanted, Picture], Found],
    draw: Callable[[Found], Drawn],
) -> list[Drawn]:
    """All pictures, as one piece of work."""
    drawn: list[Drawn] = []

    def work(one: Wanted, ready: Callable[[], Picture], catch_up: CatchUp) -> Callable[[], Drawn]:
        return partial(draw, found(one, ready()))

    def tell(one: Wanted, result: Drawn | SiseError) -> None:
        if isinstance(result, SiseError):
            raise result
        drawn.append(result)

    try:
        overlapped(wanted, read, work, tell)
    except BaseException as error:
        clear_frames(error.__traceback__)  # where the loop's futures and the error would hold the pictures
        raise
    return drawn
