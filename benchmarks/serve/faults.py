"""What goes wrong: a table of what was done, what was answered, and what became of the next request."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.serve.bad_requests import BODIES, MAX_BODY, MAX_PIXELS, QUERIES
from benchmarks.serve.client import PATIENCE, Client, answered, served, until
from benchmarks.serve.killed import kill_at_every_stage
from sise_rt.serve.models import example_picture

CHUNK = b"2710\r\n" + bytes(10_000) + b"\r\n"


def faults() -> Iterator[str]:
    """Every bad request, then a signal while jobs run."""
    data = example_picture().read_bytes()
    limits = ("--max-body", str(MAX_BODY), "--max-pixels", str(4 * MAX_PIXELS), "--body-seconds", "1")
    with served(*limits) as (client, _):
        for name, ask in _cases(client, data).items():
            status, message = ask()
            after = client.ask("POST", "/explain?budget=0.01", data)[0]
            yield f"| {name} | {status} | {message} | {after} |"
    yield from _signal(data)


def _cases(client: Client, data: bytes) -> dict[str, Callable[[], tuple[int, str]]]:
    """What is done, by its name."""
    cases: dict[str, Callable[[], tuple[int, str]]] = {}
    for name, (body, headers, *_) in BODIES.items():
        cases[name] = lambda body=body, headers=headers: client.refused("POST", "/explain", body, headers)[:2]
    for query in QUERIES:
        cases[query[:40]] = lambda query=query: client.refused("POST", f"/explain?{query}", data)[:2]
    head = b"POST /explain HTTP/1.1\r\nHost: localhost\r\n"
    cases["a gigabyte, by its length"] = lambda: _sent(client, head + b"Content-Length: 1000000000\r\n\r\n")
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * (MAX_BODY // 10_000 + 2)
    cases["a gigabyte in chunks"] = lambda: _sent(client, chunks)
    cases["a slow body"] = lambda: _sent(client, head + b"Content-Length: 1000\r\n\r\nabc")
    cases["the same job deleted, and forgotten, twice"] = lambda: _deleted(client, data)
    return cases


def _sent(client: Client, content: bytes) -> tuple[int, str]:
    with client.socket() as connection:
        connection.sendall(content)
        status, told = answered(connection)
        return status, told["error"]


def _deleted(client: Client, data: bytes) -> tuple[int, str]:
    job = client.job(data)
    statuses = [client.ask("DELETE", f"{job}{query}")[0] for query in ("", "", "?forget=1")]
    assert statuses == [204, 204, 204], statuses
    return client.refused("DELETE", job)[:2]


def _signal(data: bytes) -> Iterator[str]:
    """SIGTERM with jobs that run and wait, and streams of events that are open."""
    with served("--grace", "60") as (client, process):
        jobs = [client.job(data) for _ in range(3)]
        streams = [socket.create_connection(("127.0.0.1", client.port), timeout=PATIENCE) for _ in jobs]
        for job, stream in zip(jobs, streams, strict=True):
            head = f"GET {job}/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            stream.sendall(head.encode())
        until(lambda: client.json("GET", jobs[0])[1]["scored"])
        start = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        contents = [stream.makefile("rb").read() for stream in streams]
        done = sum(b"event: done" in content for content in contents)
        process.wait(PATIENCE)
        yield (
            f"SIGTERM, {len(jobs)} jobs and their streams: {done} done, exit code {process.returncode} after "
            f"{time.monotonic() - start:.1f} s"
        )
        for stream in streams:
            stream.close()


def kills(times: int) -> Iterator[str]:
    """Clients that end at every stage, and what is left of them."""
    data = example_picture().read_bytes()
    with served("--queue", "8") as (client, process):
        client.ask("POST", "/explain", data)
        descriptors = _open_files(process.pid)
        kill_at_every_stage(client, data, times)
        client.idle()
        until(lambda: _open_files(process.pid), lambda count: count <= descriptors)
        status = client.ask("POST", "/explain", data)[0]
        yield f"{times} clients were killed; nothing is admitted or open any more; the next answer: {status}"


def _open_files(process: int) -> int:
    return len(list(Path(f"/proc/{process}/fd").iterdir()))
