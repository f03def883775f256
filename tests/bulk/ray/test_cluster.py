"""Addresses that are none, and errors that come from actors; Ray itself is in test_job.py."""

import socket
import threading
import time

import pytest

from sise_rt.bulk.ray import cluster
from sise_rt.bulk.ray.cluster import connected, require_answer
from sise_rt.errors import ProviderError


@pytest.fixture
def listener():
    """A port on which something answers with what it is given to say."""
    sockets = []

    def listening(answer: bytes) -> str:
        there = socket.create_server(("127.0.0.1", 0))
        sockets.append(there)

        def serve():
            try:
                client, _ = there.accept()
            except OSError:
                return
            with client:
                client.recv(64)
                client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{there.getsockname()[1]}"

    yield listening
    for there in sockets:
        there.close()


def test_what_speaks_grpc_is_taken(listener):
    require_answer(listener(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + b"\0" * 6))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("nosuchhost.invalid:6379", "."),
        ("127.0.0.1", "no host:port"),
        ("127.0.0.1:70000", "no host:port"),
        ("ray://127.0.0.1:10001", "Ray's client is not used"),
    ],
)
def test_a_wrong_address_is_one_line_within_seconds(monkeypatch, address, message):
    monkeypatch.setattr(cluster, "import_ray", Started)
    start = time.monotonic()
    with pytest.raises(ProviderError, match=message) as told, connected(address, 1):
        pass
    assert time.monotonic() - start < 20  # where Ray would ask for ever
    assert address in str(told.value)
    assert "\n" not in str(told.value)


def test_something_else_that_listens_is_not_taken_for_ray(monkeypatch, listener):
    monkeypatch.setattr(cluster, "import_ray", Started)
    with (
        pytest.raises(ProviderError, match="something else than Ray"),
        connected(listener(b"HTTP/1.1 400 no"), 1),
    ):
        pass


@pytest.mark.parametrize("of_ray", [RuntimeError("RPC error: InvalidAuthToken: it is missing"), None])
def test_a_cluster_that_asks_for_a_token_is_told_of(monkeypatch, listener, of_ray):
    class Guarded(Started):
        def init(self, *_, **__):
            raise ConnectionError("Failed to connect to Ray cluster") from of_ray

    monkeypatch.setattr(cluster, "import_ray", Guarded)
    address = listener(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0)) + b"\0" * 6)
    expected = "Failed to connect" if of_ray is None else "asks for a token: set RAY_AUTH_MODE=token"
    with pytest.raises(ProviderError, match=expected), connected(address, 1):
        pass


class Started:
    """In place of Ray, which is not running."""

    def is_initialized(self):
        return False
