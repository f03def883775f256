"""HTTP as uvicorn speaks it, but for clients that keep a connection and send nothing."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol


def protocol_within(seconds: float) -> type[asyncio.Protocol]:
    """A protocol that ends connections on which no request begins and none is answered.

    Args:
        seconds: after which one is looked at, again and again; it ends at the second look at the latest.
    """

    class Within(H11Protocol):
        """Looks at its connection now and then."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Begin to look."""
            super().connection_made(transport)
            self._before: Any = self.cycle
            self._look_later()

        def _look_later(self) -> None:
            self._looking = self.loop.call_later(seconds, self._look)

        def _look(self) -> None:
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is self._before:
                self.transport.close()
            else:
                self._before = self.cycle
                self._look_later()

        def connection_lost(self, exc: Exception | None) -> None:
            """Look no more."""
            self._looking.cancel()
            super().connection_lost(exc)

    return cast("type[asyncio.Protocol]", Within)
