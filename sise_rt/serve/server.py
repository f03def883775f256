"""The server itself: it listens, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from sise_rt.errors import ArgumentError
from sise_rt.wording import reason

from .protocol import protocol_within
from .service import Service
from .work import call_on

SENDING = 0.3  # seconds in which uvicorn sends what is left, and sees that it is sent
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """uvicorn's, but for its end: requests are answered first, and no event stream keeps it open.

    Args:
        app: as `make_app` gives it.
        listening: called once it listens.
    """

    def __init__(self, app: Starlette, listening: Callable[[], object] | None = None):
        self.service: Service = app.state.service
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_within(self.service.settings.body_seconds),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                root_path=self.service.settings.root_path,
                timeout_graceful_shutdown=1,
            )
        )
        self._listening = listening
        self._ending: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end_at = 0.0  # by the monotonic clock

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self._listening is not None:
            self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals to end, and leave nothing of them behind."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in order; at a second signal end at once."""
        self.end()

    def end(self) -> None:
        """End in order; called a second time, end at once. From any thread, also when it has ended."""
        if self._loop is None:
            self.should_exit = True
        else:
            call_on(self._loop, self._end)

    def _end(self) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._drain())
        else:
            self.should_exit = self.force_exit = True
            self._end_at = time.monotonic()

    async def _drain(self) -> None:
        """Answer what was admitted; meanwhile new requests are refused, and the server is not ready."""
        self._end_at = time.monotonic() + self.service.settings.grace
        await self.service.drain(self._end_at - SENDING)
        # Whole seconds, says its type; it is handed to asyncio.wait_for.
        self.config.timeout_graceful_shutdown = max(SENDING / 3, self.left())  # type: ignore[assignment]
        self.should_exit = True

    def left(self) -> float:
        """Seconds to the end of the grace; 0 where nobody asked it to end."""
        return max(0.0, self._end_at - time.monotonic())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close all connections."""
        await super().shutdown(sockets)
        self.service.close()


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at an address, bound before models are loaded, so that a port in use is told at once.

    Raises:
        ArgumentError: it cannot be had.
    """
    bound: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        if bound is not None:
            bound.close()
        raise ArgumentError(
            f"{host} port {port} cannot be listened at: {reason(error)}", settings=("host", "port")
        ) from error
    return bound
