"""Clients that end at every stage of a request: before, within and after it, its work and its answer."""

from __future__ import annotations

import contextlib
import socket
import struct

from benchmarks.serve.client import Client, until


def kill_at_every_stage(client: Client, picture: bytes, times: int) -> None:
    """Begin requests and end each at the next stage; every other round the connection is reset, not closed.

    Args:
        client: of the server.
        picture: that it explains.
        times: requests.
    """
    head = f"POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    whole = head + picture
    large = whole.replace(b"/explain ", b"/explain?format=html&budget=0.1 ")
    stages = (
        lambda c: None,
        lambda c: c.sendall(head[:20]),
        lambda c: c.sendall(head),
        lambda c: c.sendall(whole[:-100]),
        lambda c: c.sendall(whole),
        lambda c: (c.sendall(whole), until(lambda: client.number("sise_rt_admitted"))),
        lambda c: (c.sendall(large), c.recv(10)),
        lambda c: (c.sendall(whole.replace(b"/explain", b"/jobs")), c.recv(10)),
        lambda c: _watch(client, c, picture),
        lambda c: c.sendall(whole * 3),
    )
    for time in range(times):
        with client.socket() as connection, contextlib.suppress(ConnectionError):
            stages[time % len(stages)](connection)
            if time // len(stages) % 2:
                _reset(connection)


def _watch(client: Client, connection: socket.socket, picture: bytes) -> None:
    status, told = client.json("POST", "/jobs?budget=0.5", picture)
    if status == 202:
        connection.sendall(f"GET {told['location']}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        connection.recv(10)


def _reset(connection: socket.socket) -> None:
    """End a connection as a killed process does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
