"""Where Ray runs: a local one that ends with the process, or a cluster that is there and answers."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sise_rt.errors import OutputError, ProviderError
from sise_rt.files import write_whole
from sise_rt.wording import installing

AUTO = "auto"
PATIENCE = 5.0  # seconds until an address that does not answer is a wrong one
# What every client of HTTP/2 begins with (RFC 9113, 3.4), which gRPC is: the preface and empty settings.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS_FRAME = 4
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}


def import_ray() -> Any:
    """The package `ray` with its `ray.data`, which sends nothing anywhere.

    Its usage statistics are off unless the environment says otherwise.

    Raises:
        ProviderError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ProviderError(f"Ray Data is not installed ({error}): {installing('ray')}") from error
    return ray


@contextmanager
def connected(address: str | None, cpus: int) -> Iterator[Any]:
    """A context with a connection to Ray, which ends with it; one that is there already is used and kept.

    Args:
        address: `auto` for the cluster that this machine belongs to, `host:port` for another; None starts one
            here, without a dashboard, that ends with the context.
        cpus: of one that is started here.

    Yields:
        The package `ray`.

    Raises:
        ProviderError: Ray is not installed, or none answers at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    _hush()
    with _unreached(address), _signals_kept(), _first_words_dropped():
        if address is None:
            ray.init("local", num_cpus=cpus, include_dashboard=False, **QUIET)
        else:
            require_answer(address)
            ray.init(address, **QUIET)
    try:
        yield ray
    finally:
        ray.shutdown()


def _hush() -> None:
    """Keep the running reports of Ray off standard error; its files of logs have them."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for handler in logging.getLogger("ray.data").handlers:
        if type(handler) is not logging.FileHandler:
            handler.setLevel(logging.CRITICAL)


@contextmanager
def _first_words_dropped() -> Iterator[None]:
    """Drop what Ray writes to standard error before it knows that it shall not; errors it raises."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _unreached(address: str | None) -> Iterator[None]:
    """What Ray and the network say of an address, as an error of ours."""
    try:
        yield
    except Exception as error:  # Ray raises bare ones too, as where a busy machine takes long
        told = first_line(error)
        if address is None:
            raise ProviderError(f"Ray does not start here: {told}") from error
        if _asks_for_token(error):
            raise ProviderError(
                f"the Ray cluster at {address!r} asks for a token: set RAY_AUTH_MODE=token, and have "
                "its token in ~/.ray/auth_token, or in RAY_AUTH_TOKEN",
                settings=("address",),
            ) from error
        raise ProviderError(
            f"no Ray cluster answers at {address!r} ({told}): give the host and port of its head node, as "
            "`ray start` printed them",
            settings=("address",),
        ) from error


def _asks_for_token(error: BaseException | None) -> bool:
    """Whether Ray says so, in one of the errors that an error comes from."""
    while error is not None:
        if "InvalidAuthToken" in str(error) or type(error).__name__ == "AuthenticationError":
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Let SIGTERM do what it did: Ray takes it over when it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_answer(address: str) -> None:
    """See that something which speaks gRPC is at an address: Ray itself asks on and on without an end.

    Raises:
        ValueError: it is no address.
        OSError: nothing answers, or something else does.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", AUTO)
        if address == AUTO:
            return  # Ray looks for its processes, and says so at once
    host, colon, port = address.rpartition(":")
    if "://" in address:
        raise ValueError("Ray's client is not used here: start this on a node of the cluster, or as a job")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("it is no host:port")
    with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as there:
        if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
            return
        there.sendall(HELLO)
        frame = there.recv(9)
    if len(frame) < 9 or frame[3] != SETTINGS_FRAME:
        raise ConnectionError("something else than Ray listens there")


def first_line(error: BaseException) -> str:
    """What an error says, as far as its first line; its type where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def reported() -> Iterator[None]:
    """What Ray raises where its work ends before its time, in one line.

    Raises:
        ProviderError: actors died, or something became of them that nobody expected.
    """
    from ray.data.exceptions import SystemException, UserCodeException
    from ray.exceptions import RayError

    try:
        yield
    except (RayError, UserCodeException, SystemException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "Error" in line), first_line(error))
        raise ProviderError(f"the work on Ray ended: {said}") from error


def require_shared(ray: Any, folder: Path) -> None:
    """See that the folder of this process is that of every node.

    Raises:
        OutputError: names the nodes that do not have it.
    """
    mark = f".reached-{uuid.uuid4().hex}"
    write_whole(folder / mark, b"")
    try:
        look = ray.remote(num_cpus=0, max_retries=0)(os.path.exists)
        nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = {
            name: look.options(scheduling_strategy=strategy(node, soft=False)).remote(
                str((folder / mark).absolute())
            )
            for node, name in nodes.items()
        }
        without = [name for name, there in asked.items() if not ray.get(there)]
    finally:
        (folder / mark).unlink(missing_ok=True)
    if without:
        raise OutputError(
            f"{folder} is no folder of every node of the Ray cluster ({', '.join(without[:3])} "
            f"{'does' if len(without) == 1 else 'do'} not see it): give one on a shared disk",
            settings=("out",),
        )
