"""What a client is refused: a status, a sentence, and the field that it is about."""

from __future__ import annotations

import logging
import math

from sise_rt.errors import (
    ArgumentError,
    BundleError,
    ImageError,
    MethodError,
    ModelError,
    NoEvidence,
    OutOfMemory,
    SiseError,
    TargetError,
)
from sise_rt.wording import short

from .replies import Json

IMAGE = "image"  # the field of the picture, whether it is the body or a part of it
FAILED = "the server failed; its log has the reason"
RETRY = 5  # seconds, where nobody can know

log = logging.getLogger(__name__)


class Refused(Exception):
    """An answer that is an error.

    Args:
        status: of HTTP.
        message: what is wrong, and what would help.
        field: of the query, the form or the JSON that it is about.
        retry_after: seconds after which the same request may do better.
    """

    def __init__(
        self, status: int, message: str, field: str | None = None, *, retry_after: float | None = None
    ):
        super().__init__(message)
        self.status, self.message, self.field, self.retry_after = status, message, field, retry_after

    def told(self) -> dict[str, str | None]:
        """The JSON of it."""
        return {"error": short(self.message), "field": self.field}

    def response(self) -> Json:
        """The whole answer."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return Json(self.told(), self.status, headers)


def told(error: Exception, **about: str) -> Refused:
    """What a client hears of an error; one that is not its own fault is logged, with what it is about."""
    refused = refusal_of(error)
    if refused.status >= 500 and refused is not error:
        log.error("failed", exc_info=error, extra=about)
    return refused


def refusal_of(error: Exception, field: str | None = None) -> Refused:
    """What a client hears of an error that was met while its request was worked on.

    Args:
        error: any; of those that are no fault of the request the client hears no details.
        field: that it is about, where the error does not tell.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, MemoryError):
        return Refused(503, "the server is out of memory: ask again later", retry_after=RETRY)
    if not isinstance(error, SiseError):
        return Refused(500, FAILED)
    told = error.settings[0] if error.settings else field
    if isinstance(error, ImageError):
        return Refused(413 if "max_pixels" in error.settings else 400, error.message, IMAGE)
    if isinstance(error, TargetError):
        return Refused(400, error.message, field or "target")
    if isinstance(error, MethodError):
        return Refused(400, error.message, told or "method")
    if isinstance(error, ArgumentError):
        return Refused(400, error.message, told)
    if isinstance(error, NoEvidence):
        return Refused(422, error.message, field)
    if isinstance(error, OutOfMemory):
        return Refused(503, f"the device is out of memory: {error.message}", retry_after=RETRY)
    if isinstance(error, ModelError):
        return Refused(422, error.message, field or IMAGE)
    if isinstance(error, BundleError):  # its message names the server's folders, which is for the log
        return Refused(503, "the model's files are not what they were when the server started", "model")
    return Refused(500, FAILED)
