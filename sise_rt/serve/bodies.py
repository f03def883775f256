"""The bodies of requests, read within limits, before anything of them is decoded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import numpy as np
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sise_rt.wording import in_bytes

from .asked import single
from .refusals import IMAGE, Refused
from .settings import Settings

T = TypeVar("T")

DEEPEST = 64  # of JSON
KEY = re.compile(r" field `(.*)`$")  # in what msgspec says
MOST_FIELDS = 32  # of a form
LONGEST_FIELD = 10_000  # bytes
OPENING, CLOSING = np.frombuffer(b"[{", np.uint8), np.frombuffer(b"]}", np.uint8)


@dataclass(frozen=True)
class Sent:
    """What a request brought: a picture as it was encoded, and fields beside it."""

    picture: bytes
    fields: dict[str, Any] = field(default_factory=dict)


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body.

    Raises:
        Refused: it is too large, or comes too slowly.
        ClientDisconnect: the client has gone.
    """
    too_large = Refused(413, f"the body is larger than {in_bytes(settings.max_body)}", IMAGE)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "the body is compressed: send it as it is", "Content-Encoding")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > settings.max_body):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > settings.max_body:
                    raise too_large
    except TimeoutError as error:
        text = f"the body did not arrive within {settings.body_seconds:g} seconds"
        raise Refused(408, text, IMAGE) from error
    return bytes(body)


async def read_sent(request: Request, settings: Settings) -> Sent:
    """The picture of a request: its body, or the part `image` of a form, whose other parts are fields.

    Raises:
        Refused: as `read_body`, or there is no picture, or the form is broken.
        ClientDisconnect: the client has gone.
    """
    body = await read_body(request, settings)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return await asyncio.to_thread(_read_form, request.headers, body)  # 20 MB of it take seconds
    if not body:
        raise Refused(400, "no body: send the picture as the body, or as the part image of a form", IMAGE)
    return Sent(body)


class _InMemory(MultiPartParser):
    spool_max_size = 2**62  # no picture touches the disk


def _read_form(headers: Headers, body: bytes) -> Sent:
    return asyncio.run(_form(headers, body))


async def _form(headers: Headers, body: bytes) -> Sent:
    async def chunks() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(headers, chunks(), max_files=1, max_fields=MOST_FIELDS, max_part_size=LONGEST_FIELD)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(400, f"the form cannot be read: {error.message}", IMAGE) from error
    try:
        fields = single(form.multi_items())
        sent = fields.pop(IMAGE, None)
        if not isinstance(sent, UploadFile):
            raise Refused(400, "the form has no file called image", IMAGE)
        picture = await sent.read()
    finally:
        await form.close()
    if not picture:
        raise Refused(400, "the picture is empty", IMAGE)
    if sent.filename:
        fields.setdefault("name", sent.filename)
    return Sent(picture, fields)


def parse_json(body: bytes, kind: type[T] = Any) -> T:  # type: ignore[assignment]
    """A body as JSON, which has no NaN and no endless nesting.

    Args:
        body: of a request.
        kind: what it has to be, as msgspec takes types; what is `msgspec.Raw` in it is decoded later.

    Raises:
        Refused: it is none, or is not of that kind; the field is named by its path, as `inputs[0].shape`.
    """
    if not body:
        raise Refused(400, "no body: send JSON")
    if _depth(body) > DEEPEST:
        raise Refused(400, f"the JSON is nested deeper than {DEEPEST}")
    return decode_json(body, kind)


def decode_json(text: bytes | msgspec.Raw, kind: type[T], field: str = "") -> T:
    """JSON, or a part of a body that is known to be nested no deeper than it may.

    Args:
        text: of it.
        kind: as for `parse_json`.
        field: of the body that it is the value of; empty for the body itself.

    Raises:
        Refused: as `parse_json`.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        key = KEY.search(message)  # that is missing, or is unknown
        at = f"{field}{path.removesuffix('`')}{f'.{key[1]}' if key else ''}".removeprefix(".")
        said = f"{message[0].lower()}{message[1:]}"
        raise Refused(400, f"{at}: {said}" if at else f"the body: {said}", at or None) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {error}", field or None) from error


def _depth(body: bytes) -> int:
    """How deep JSON is nested at most; brackets inside of texts count as well."""
    characters = np.frombuffer(body, np.uint8)
    opening = np.isin(characters, OPENING)
    brackets = opening | np.isin(characters, CLOSING)
    steps = np.where(opening[brackets], 1, -1)
    return int(steps.cumsum(dtype=np.int64).max(initial=0))


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """What some work gives; it is cancelled where the client goes away. The body has to be read before.

    Raises:
        ClientDisconnect: the client has gone.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return await working
        raise ClientDisconnect
    finally:
        gone.cancel()
        working.cancel()
        await asyncio.wait({working})
        if not working.cancelled():
            working.exception()  # which nobody else may look at
        del working  # whose error has this frame in its traceback, and in that the picture


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
