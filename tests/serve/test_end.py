"""The end: what was admitted is answered within the grace, what is not done by then is stopped."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from sise_rt.serve.app import make_app
from sise_rt.serve.server import Server, bound_socket
from sise_rt.serve.settings import Settings

from .conftest import PATIENCE, parsed_events, received, running


def test_what_was_admitted_is_answered_and_nothing_new_is_taken(models, held, picture):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(held.ask("POST", "/explain", picture)))
    thread.start()
    assert held.entered.wait(PATIENCE)
    held.server.end()
    held.until(lambda: held.service.work.draining)
    status, headers, content = held.ask("GET", "/v2/health/ready")
    assert (status, json.loads(content)) == (503, {"live": True, "ready": False})
    for path in ("/explain", "/jobs"):
        status, headers, content = held.ask("POST", path, picture)
        assert status == 503
        assert int(headers["Retry-After"]) >= 1
    assert held.ask("GET", "/v2/health/live")[0] == 200
    held.let_go.set()
    thread.join(PATIENCE)
    assert answers[0][0] == 200


def test_what_is_not_done_in_time_is_stopped(slow, picture):
    location = slow.job(picture, "?method=rise:masks=4000")
    other = slow.job(picture)
    streams = []
    for place in (location, other):
        streams.append(threading.Thread(target=lambda place=place: events.append(slow.events(place))))
    events = []
    for stream in streams:
        stream.start()
    slow.until(lambda: slow.json("GET", location)[1]["scored"] > 2)
    start = time.monotonic()
    slow.server.end()
    for stream in streams:
        stream.join(PATIENCE)
    assert [told[-1][1] for told in events] == ["stopped", "stopped"]
    slow.until(lambda: not slow.server.server_state.connections)
    assert time.monotonic() - start < PATIENCE


def test_a_pass_that_does_not_end_keeps_no_server_open(models, picture):
    entered, let_go = threading.Event(), threading.Event()

    class Stuck:
        def __getattr__(self, name):
            return getattr(models["small"].explainer, name)

        def explain(self, *arguments, **options):
            entered.set()
            let_go.wait(PATIENCE)
            return models["small"].explainer.explain(*arguments, **options)

    with running({"small": type(models["small"])("small", Stuck())}, grace=1.0) as server:
        location = server.job(picture)
        assert entered.wait(PATIENCE)
        with server.socket() as watching, server.socket() as waiting:
            watching.sendall(f"GET {location}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = f"POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n"
            waiting.sendall(head.encode() + picture)
            server.until(lambda: len(server.service.work.turns) == 2)
            server.server.end()
            received(watching)
            given_up = received(waiting)
    assert given_up.startswith(b"HTTP/1.1 503 ")
    assert b'{"error":"the server ends, and this was not done","field":null}' in given_up
    assert not let_go.is_set()  # and yet it has ended, as `running` finds
    assert not server.service.ended(0)
    let_go.set()
    assert server.service.ended(PATIENCE)


@pytest.fixture
def process(small_bundle, tmp_path):
    """The command in a process of its own, and its address."""
    command = [sys.executable, "-P", "-c", "from sise_rt.cli import main; main()"]
    options = ["serve", f"small={small_bundle}", "--port", "0", "--provider", "cpu", "--grace", "20"]
    process = subprocess.Popen(
        [*command, *options], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_loses_no_job_and_no_stream_keeps_it_open(process, picture, number):
    process, address = process
    jobs = []
    for _ in range(3):
        request = urllib.request.Request(f"{address}jobs?method=rise:masks=1000", picture, method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            jobs.append(json.load(answer)["location"])
    streams = [urllib.request.urlopen(f"{address}{job[1:]}/events", timeout=PATIENCE) for job in jobs]
    assert streams[0].readline().startswith(b"id: ")
    os.kill(process.pid, number)
    contents = [stream.read().decode().removeprefix("event") for stream in streams]
    for stream in streams:
        stream.close()
    assert [parsed_events(text.partition("\n\n")[2])[-1][1] for text in contents] == ["done"] * 3
    _, log = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["route"] for line in lines].count("/jobs") == 3
    assert all("cat" not in line and "picture" not in line for line in log.splitlines())


def test_a_second_signal_ends_at_once(process, picture):
    process, address = process
    request = urllib.request.Request(f"{address}jobs?method=rise:masks=100000", picture, method="POST")
    urllib.request.urlopen(request, timeout=PATIENCE).close()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    process.wait(PATIENCE)
    assert time.monotonic() - start < 15


def test_a_signal_before_it_listens_is_not_lost(models):
    with bound_socket("127.0.0.1", 0) as bound:
        server = Server(make_app(models, Settings()))
        server.handle_exit(signal.SIGTERM, None)
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_who_comes_after_the_end_does_no_harm(models):
    with bound_socket("127.0.0.1", 0) as bound:
        server = Server(make_app(models, Settings()))
        server.end()
        server.run([bound])
    server.end()
    server.end()


def test_a_worker_that_outlives_the_server_ends_its_work_as_ever(models, picture):
    """What it tells of its progress is heard by nobody; that the request is over, it sees after its pass."""
    entered, let_go, ends = threading.Event(), threading.Event(), []

    class Late:
        def __getattr__(self, name):
            return getattr(models["small"].explainer, name)

        def explain(self, *arguments, progress, **options):
            entered.set()
            let_go.wait(PATIENCE)
            try:
                progress(1, 100)
            except BaseException as error:
                ends.append(type(error).__name__)
                raise

    with running({"small": type(models["small"])("small", Late())}, grace=0.5) as server:
        server.job(picture)
        assert entered.wait(PATIENCE)
    let_go.set()
    assert server.service.ended(PATIENCE)
    assert ends == ["Abandoned"]


def test_an_idle_server_ends_at_once(models):
    with running(models, grace=50.0) as server:
        start = time.monotonic()
        server.server.end()
        server.until(lambda: server.server.should_exit)
        assert time.monotonic() - start < 10
