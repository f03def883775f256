"""HTTP as uvicorn speaks it, but for what is no HTTP, and for clients that neither send nor read."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from .refusals import Refused

SLOWEST = 4000  # bytes a second that a client has to take of an answer
AHEAD = 1 << 17  # bytes that the system takes ahead of a client, where it can be told; else it is megabytes
TOO_LONG = 431
HEADER = re.compile(r"Host|Content-Length|Transfer-Encoding")  # that h11 finds fault with
ALSO = ((b"Connection", b"close"), (b"X-Content-Type-Options", b"nosniff"), (b"Cache-Control", b"no-store"))


def protocol_within(seconds: float) -> type[asyncio.Protocol]:
    """A protocol that answers what is no HTTP in JSON, and ends connections that nobody uses.

    Such are those on which no request begins and none is answered, and those whose answer is not read.

    Args:
        seconds: after which a connection is looked at, again and again; it ends at the second look that finds
            it so.
    """

    class Within(H11Protocol):
        """Looks at its connection now and then."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Begin to look."""
            super().connection_made(transport)
            transport.set_write_buffer_limits(0)  # writing pauses until all is sent, so what is left shrinks
            _take_less_ahead(transport.get_extra_info("socket"))
            self._before: Any = self.cycle
            self._unread = 0  # bytes, at the last look; 0 where all was read since
            self._look_later()

        def _look_later(self) -> None:
            self._looking = self.loop.call_later(seconds, self._look)

        def _look(self) -> None:
            unread = self.transport.get_write_buffer_size()
            if unread and self._unread and self._unread - unread < SLOWEST * seconds:
                self.transport.abort()
                return
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is self._before and not unread:
                self.transport.close()
                return
            self._before, self._unread = self.cycle, unread
            self._look_later()

        def resume_writing(self) -> None:
            """Take note that all was read."""
            self._unread = 0
            super().resume_writing()

        def send_400_response(self, msg: str) -> None:
            """Refuse what h11 could not read, as everything else is refused."""
            if self.cycle is not None and not self.cycle.response_complete:  # its route is not heard any more
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._answer(_refused(sys.exception()))
            self.transport.close()

        def _answer(self, refused: Refused) -> None:
            answer = refused.response()
            headers = [*self.server_state.default_headers, *answer.raw_headers, *ALSO]
            start = h11.Response(
                status_code=refused.status, headers=headers, reason=STATUS_PHRASES[refused.status]
            )
            self.transport.write(self.conn.send(start) or b"")
            if self.cycle is None or self.cycle.scope["method"] != "HEAD":  # whose answer has no body
                self.transport.write(self.conn.send(h11.Data(data=bytes(answer.body))) or b"")
            self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")

        def connection_lost(self, exc: Exception | None) -> None:
            """Look no more."""
            self._looking.cancel()
            super().connection_lost(exc)

    return cast("type[asyncio.Protocol]", Within)


def _take_less_ahead(connection: socket.socket) -> None:
    """Have the system take no more than `AHEAD` bytes ahead of a client, where it can be told."""
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        with contextlib.suppress(OSError):  # of a client that is gone already, as macOS has it
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, AHEAD)


def _refused(error: BaseException | None) -> Refused:
    """What a client hears of a request that h11 could not read."""
    if not isinstance(error, h11.RemoteProtocolError):
        return Refused(400, "the request cannot be read", "request")
    said = str(error).partition(": bytearray")[0]  # what was sent follows
    header = HEADER.search(said)
    field = header[0] if header else "body" if "chunk" in said else "request"
    if error.error_status_hint == TOO_LONG:
        said = "its head, or a line of it, is too long"
    return Refused(error.error_status_hint, f"the request cannot be read: {said[0].lower()}{said[1:]}", field)
