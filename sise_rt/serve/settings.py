"""What the operator of a server sets."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_USUAL = 300.0  # seconds of a request, where neither the operator nor the client says it


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and habits of a server.

    Attributes:
        queue: requests that may wait for the device, besides those that it works on.
        workers: explanations at a time on the device.
        preset: of requests that say nothing about their budget; None for the method's own.
        max_seconds: the most that a request may take, waiting included; 0 for any time. None for
            `LONGEST_USUAL`, of which methods are not told: it changes no map that is done by then.
        max_body: bytes of a request's body.
        max_pixels: of a picture.
        body_seconds: within which a request's body has to arrive.
        keep: seconds that the result of a job is kept.
        kept_bytes: of all results of jobs; the oldest go first.
        return_seconds: after which a job ends whose listeners have all gone.
        grace: seconds from the signal to end to the end.
        token: that requests have to bear; empty for none.
        hosts: names that requests may call the server by, in their header Host; `*` for any. An address does
            always, as nobody can make one of another site's lead here.
        origins: of other sites whose pages may use the server.
        root_path: that a proxy puts before all paths.
    """

    queue: int = 16
    workers: int = 1
    preset: str | None = None
    max_seconds: float | None = None
    max_body: int = 20_000_000
    max_pixels: int = 25_000_000
    body_seconds: float = 30.0
    keep: float = 600.0
    kept_bytes: int = 256_000_000
    return_seconds: float = 10.0
    grace: float = 25.0
    token: str = ""
    hosts: tuple[str, ...] = ("localhost",)
    origins: tuple[str, ...] = ()
    root_path: str = ""
