"""Connections that nobody uses any more: those whose client reads nothing, or hardly anything, are ended."""

from collections import deque
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from sise_rt.serve.protocol import SLOWEST, protocol_within

from .conftest import Held, running

SECONDS = 10.0


class Transport:
    """A connection's: how much of its answer was not read, as a test has it."""

    def __init__(self):
        self.unread, self.ends = 0, []

    def get_write_buffer_size(self):
        return self.unread

    def get_extra_info(self, name):
        address = ("127.0.0.1", 8080)
        return SimpleNamespace(
            setsockopt=lambda *given: None, getpeername=lambda: address, getsockname=lambda: address
        )

    def set_write_buffer_limits(self, high):
        assert high == 0

    def close(self):
        self.ends.append("closed")

    def abort(self):
        self.ends.append("aborted")


async def nothing(scope, receive, send):
    """An application that is never asked."""


class Looked:
    """A connection whose looks come when a test says so; answers a request meanwhile."""

    def __init__(self):
        self.looks, self.transport = deque(), Transport()
        loop = SimpleNamespace(call_later=self.later)
        config = Config(nothing, ws="none", lifespan="off", log_config=None)
        self.protocol = protocol_within(SECONDS)(config, ServerState(), {}, loop)
        self.protocol.connection_made(self.transport)
        self.protocol.cycle = SimpleNamespace(response_complete=False)

    def later(self, seconds, look):
        assert seconds == SECONDS
        self.looks.append(look)
        return SimpleNamespace(cancel=lambda: None)

    def look(self, unread):
        """How it has ended, when it is looked at and so many bytes are left."""
        self.transport.unread = unread
        self.looks.popleft()()
        return self.transport.ends


@pytest.mark.parametrize("complete", [False, True])
def test_an_answer_that_is_not_read_ends_its_connection(complete):
    looked = Looked()
    looked.protocol.cycle.response_complete = complete
    assert looked.look(10**6) == []
    assert looked.look(10**6) == ["aborted"]
    assert not looked.looks


def test_an_answer_that_is_read_too_slowly_ends_its_connection():
    looked, least = Looked(), int(SLOWEST * SECONDS)
    left = 10**6
    for _ in range(5):
        assert looked.look(left) == []
        left -= least
    assert looked.look(left + 1) == ["aborted"]


def test_an_answer_that_is_read_steadily_is_waited_for_then_the_connection_ends():
    looked, least = Looked(), int(SLOWEST * SECONDS)
    looked.protocol.cycle.response_complete = True
    for left in range(10 * least, 0, -least):
        assert looked.look(left) == []
    assert looked.look(0) == ["closed"]


def test_a_stream_whose_client_reads_all_in_between_goes_on():
    """What is unread at a look is of an event after it."""
    looked = Looked()
    for _ in range(10):
        assert looked.look(1000) == []
        looked.protocol.resume_writing()
    for _ in range(10):
        assert looked.look(0) == []


def test_a_client_that_reads_nothing_is_let_go(models):
    """Answers of megabytes, which no system takes ahead of a client that goes on to live."""
    with running(models, body_seconds=0.2) as server, server.socket() as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        connections = server.server.server_state.connections
        server.until(lambda: any(one.transport.get_write_buffer_size() for one in connections))
        server.until(lambda: not connections)
        assert server.ask("GET", "/v2/health/live")[0] == 200


def test_a_stream_whose_client_reads_goes_on(models, picture):
    model = replace(models["small"], explainer=Held(models["small"].explainer))
    with running({"small": model}, body_seconds=0.1) as server:
        head = f"GET {server.job(picture)}/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with server.socket() as connection:
            connection.sendall(head.encode())
            lines = iter(connection.makefile("rb").readline, b"")
            told = list(islice((line for line in lines if b"event: progress" in line), 8))
            assert len(told) == 8  # a tenth of a second or more between two, and so a look
            model.explainer.let_go.set()
            assert any(b"event: done" in line for line in lines)
