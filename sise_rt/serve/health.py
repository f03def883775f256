"""Whether the server lives and takes requests, and its numbers; answered while the device works."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from .replies import Json
from .service import service_of


async def live(request: Request) -> Response:
    """That the process answers. Servers differ in what they call it, so both words are there."""
    return Json({"live": True, "ready": not service_of(request).work.draining})


async def ready(request: Request) -> Response:
    """Whether requests are admitted; 503 while the server ends. Before all models are loaded none listens."""
    draining = service_of(request).work.draining
    return Json({"ready": not draining, "live": True}, 503 if draining else 200)


async def metrics(request: Request) -> Response:
    """The numbers, for Prometheus."""
    return Response(service_of(request).metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
