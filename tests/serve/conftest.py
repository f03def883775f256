"""A server in a thread, on a port of its own, and a client of plain sockets."""

import contextlib
import json
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.serve.bad_requests import encoded
from benchmarks.serve.client import PATIENCE, Client, until
from sise_rt.serve.app import make_app
from sise_rt.serve.models import Model, load_models
from sise_rt.serve.server import Server, bound_socket
from sise_rt.serve.settings import Settings


class Running(Client):
    """A server that runs in this process, and how to ask it."""

    def __init__(self, server, port):
        super().__init__(port)
        self.server, self.service = server, server.service

    until = staticmethod(until)

    def events(self, location, last=None):
        """The events of a job, as (number, name, data), to the end of the stream."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        status, answered, content = self.ask("GET", f"{location}/events", headers=headers)
        assert status == 200
        assert answered["Content-Type"].startswith("text/event-stream")
        return parsed_events(content.decode())

    def raw(self, content):
        """All that a connection gives back for some bytes, to its end."""
        with self.socket() as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            return received(connection)

    def idle(self):
        """Wait until nothing is admitted any more."""
        self.until(lambda: not self.service.work.turns)


def received(connection):
    """What a connection gives, to its end."""
    content = bytearray()
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            content += chunk
    return bytes(content)


def parsed_events(text):
    events = []
    for part in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.splitlines() if not line.startswith(":"))
        if fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


@contextlib.contextmanager
def running(models, *, example=False, **settings):
    """A server of some models."""
    listening = threading.Event()
    with bound_socket("127.0.0.1", 0) as bound:
        app = make_app(models, Settings(**{"grace": 5.0} | settings), example=example)
        server = Server(app, listening.set)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        try:
            assert listening.wait(PATIENCE)
            yield Running(server, bound.getsockname()[1])
        finally:
            server.end()
            thread.join(PATIENCE)
            assert not thread.is_alive()


class Held:
    """An explainer that works for nothing until it is let go."""

    def __init__(self, explainer):
        self._explainer = explainer
        self.entered, self.let_go = threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._explainer, name)

    def explain(self, *arguments, progress, **options):
        self.entered.set()
        while not self.let_go.wait(0.005):
            progress(1, 100)
        return self._explainer.explain(*arguments, progress=progress, **options)


class Slow:
    """An explainer that scores one mask at a time, and rests after each."""

    def __init__(self, explainer, seconds=0.02):
        self._explainer, self._seconds = explainer, seconds

    def __getattr__(self, name):
        return getattr(self._explainer, name)

    def explain(self, *arguments, progress, **options):
        def rested(scored, total):
            time.sleep(self._seconds)
            progress(scored, total)

        return self._explainer.explain(*arguments, progress=rested, batch_size=1, **options)


@pytest.fixture(scope="session")
def models(small_bundle):
    """The small model, loaded and warmed once."""
    return load_models({"small": small_bundle}, provider="cpu")


@pytest.fixture(scope="session")
def served(models):
    """A server that many tests share."""
    with running(models) as server:
        yield server


@pytest.fixture
def held(models):
    """A server of one worker and two places to wait, whose work is held; `held.let_go.set()` ends that."""
    model = replace(models["small"], explainer=Held(models["small"].explainer))
    with running({"small": model}, queue=2) as server:
        server.entered, server.let_go = model.explainer.entered, model.explainer.let_go
        try:
            yield server
        finally:
            server.let_go.set()


@pytest.fixture
def slow(models):
    """A server whose explanations take a while."""
    model = replace(models["small"], explainer=Slow(models["small"].explainer))
    with running({"small": model}, return_seconds=0.2) as server:
        yield server


@pytest.fixture(scope="session")
def pixels():
    """A picture, (40, 60, 3) uint8."""
    return np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.fixture(scope="session")
def picture(pixels):
    """The same as PNG."""
    return encoded(pixels, "PNG")


@pytest.fixture(scope="session")
def model(models) -> Model:
    """The model behind `served`."""
    return models["small"]
