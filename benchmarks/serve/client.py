"""A server in a process of its own, and a client of plain sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PATIENCE = 120.0  # seconds that anything may take on a busy machine
ENDS = ("done", "failed", "stopped")
COMMAND = [sys.executable, "-P", "-c", "from sise_rt.cli import main; main()", "serve", "--port", "0"]


class Client:
    """Asks a server on this machine.

    Args:
        port: that it listens at.
    """

    def __init__(self, port: int):
        self.port = port

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, Any] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, Any] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        status, _, content = self.ask(method, path, body, headers)
        return status, json.loads(content)

    def refused(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, Any] | None = None
    ) -> tuple[int, str, str | None]:
        """Status, message and field of a refusal."""
        status, told = self.json(method, path, body, headers)
        assert set(told) == {"error", "field"}, told
        assert told["error"]
        return status, told["error"], told["field"]

    def job(self, body: bytes, query: str = "") -> str:
        """The address of a new job."""
        status, told = self.json("POST", f"/jobs{query}", body)
        assert status == 202, told
        return told["location"]

    def ended(self, location: str) -> Any:
        """A job, once it is over."""
        return until(lambda: self.json("GET", location)[1], lambda job: job["status"] in ENDS)

    def number(self, name: str) -> float:
        """A number without labels, of those that Prometheus collects."""
        found = re.search(rf"^{name} (\S+)$", self.ask("GET", "/metrics")[2].decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def idle(self) -> None:
        """Wait until all that was admitted is answered."""
        until(lambda: self.number("sise_rt_admitted") == 0)

    @contextlib.contextmanager
    def socket(self) -> Iterator[socket.socket]:
        """A connection of one's own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            yield connection


def until(look: Callable[[], Any], good: Callable[[Any], object] = bool) -> Any:
    """What is looked at, once it is good."""
    end = time.monotonic() + PATIENCE
    while not good(seen := look()):
        assert time.monotonic() < end, f"still {seen}"
        time.sleep(0.01)
    return seen


def answered(connection: socket.socket) -> tuple[int, Any]:
    """Status and JSON of the answer that a connection gives next."""
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        return response.status, json.loads(response.read())


@contextlib.contextmanager
def served(*options: str) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """The command in a process of its own, with what it logs thrown away."""
    process = subprocess.Popen(
        [*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        told = re.search(r":(\d+)/", process.stdout.readline())
        assert told, "the server did not start"
        yield Client(int(told[1])), process
    finally:
        process.kill()
        process.communicate()
