"""Around every request: an id, the token, a line in the log, its numbers, and an answer to every failure."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusals import Refused, told
from .service import Service

GONE = 499  # as nginx has it: the client had gone
ID = re.compile(r"[\w.:-]{1,100}", re.ASCII)
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH")  # that numbers are kept of
SAME = ("same-origin", "same-site", "none")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

log = logging.getLogger("sise_rt.serve.requests")


class Guard:
    """Middleware around all routes.

    Args:
        app: the routes.
        service: that they share.
        public: paths that need no token.
    """

    def __init__(self, app: ASGIApp, service: Service, public: frozenset[str]):
        self._app, self._service, self._public = app, service, public
        self._token = service.settings.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        start, headers = time.monotonic(), Headers(scope=scope)
        given = headers.get("x-request-id", "")
        id_ = given if ID.fullmatch(given) else secrets.token_hex(8)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                mutable = MutableHeaders(scope=message)
                mutable["X-Request-ID"] = id_
                for name, value in HEADERS.items():
                    mutable.setdefault(name, value)
                mutable.setdefault("Cache-Control", "no-store")
                if "transfer-encoding" in headers and "content-length" in headers:
                    mutable["Connection"] = "close"  # a proxy may see another end of the body (RFC 9112, 6.3)
            await send(message)

        try:
            self._admit(scope, headers)
            await self._app(scope, receive, answer)
        except Exception as error:
            response = _response(error, id_)
            if response is not None and not status:
                await response(scope, receive, answer)
        finally:
            self._note(scope, id_, status or GONE, time.monotonic() - start)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse who bears no token, and other sites' pages in a browser.

        Raises:
            Refused: says which.
        """
        if self._token and _path(scope) not in self._public:
            kind, _, token = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(token.strip().encode(), self._token)
            if kind.lower() != "bearer" or not same:
                raise Refused(401, "a token is needed: send Authorization: Bearer TOKEN", "Authorization")
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        foreign = headers.get("sec-fetch-site", "none") not in SAME
        if changes and foreign and headers.get("origin") not in self._service.settings.origins:
            raise Refused(403, "pages of other sites may not use this server", "Origin")

    def _note(self, scope: Scope, id_: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._service.metrics.answered(route, method, status, seconds)
        client = scope.get("client")
        log.info(
            "answered",
            extra={
                "id": id_,
                "client": client[0] if client else None,
                "method": method,
                "route": route,
                "status": status,
                "seconds": round(seconds, 4),
            },
        )


def _path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope.get("root_path", ""))


def _response(error: Exception, id_: str) -> Response | None:
    """What the client hears of what went wrong; None where it has gone."""
    if isinstance(error, ClientDisconnect):
        return None
    return told(error, id=id_).response()
