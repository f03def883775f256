"""Around every request: an id, the token, a line in the log, its numbers, and an answer to every failure."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refusals import RETRY, Refused, told
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
        probes: paths that are asked by any name.
    """

    def __init__(self, app: ASGIApp, service: Service, public: frozenset[str], probes: frozenset[str]):
        self._app, self._service, self._public, self._probes = app, service, public, probes
        self._token = service.settings.token.encode()
        self._hosts = {name.lower() for name in service.settings.hosts}

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
        except (Exception, asyncio.CancelledError) as error:
            response = _response(error, id_)
            if response is not None and not status:
                await response(scope, receive, answer)
        finally:
            self._note(scope, id_, status or GONE, time.monotonic() - start)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Refuse who calls the server by a strange name or bears no token, and other sites' pages.

        Raises:
            Refused: says which.
        """
        name = _name(headers.get("host", ""))
        if not self._known(name) and _path(scope) not in self._probes:
            text = f"this server does not go by the name {name}: whoever runs it can allow that host"
            raise Refused(403, text, "Host")
        if self._token and _path(scope) not in self._public:
            kind, _, token = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(token.strip().encode(), self._token)
            if kind.lower() != "bearer" or not same:
                raise Refused(401, "a token is needed: send Authorization: Bearer TOKEN", "Authorization")
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and _foreign(headers) and headers.get("origin") not in self._service.settings.origins:
            raise Refused(403, "pages of other sites may not use this server", "Origin")

    def _known(self, name: str) -> bool:
        """Whether a browser that asks by this name means this server.

        Whoever owns a name may have it lead here, which makes its pages this server's own to a browser (DNS
        rebinding). An address cannot be had that way, and browsers always send what they ask by.
        """
        return not name or "*" in self._hosts or name in self._hosts or _address(name)

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


def _name(host: str) -> str:
    """The name in a header Host, without its port."""
    name, _, port = host.strip().rpartition(":")
    return (name if name and port.isdecimal() else host.strip()).rstrip(".").lower()


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _foreign(headers: Headers) -> bool:
    """Whether a browser asks for another site's page.

    Over plain HTTP browsers say so only to this machine itself; else the page's origin is held against the
    name that the server is asked by.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site not in SAME
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _path(scope: Scope) -> str:
    return scope["path"].removeprefix(scope.get("root_path", ""))


def _response(error: Exception | asyncio.CancelledError, id_: str) -> Response | None:
    """What the client hears of what went wrong; None where it has gone."""
    if isinstance(error, ClientDisconnect):
        return None
    if isinstance(error, asyncio.CancelledError):  # as the server ends, and nothing else cancels a request
        return Refused(503, "the server ends, and this was not done", retry_after=RETRY).response()
    return told(error, id=id_).response()
