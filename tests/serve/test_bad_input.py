"""Whatever is sent is answered with a status, a sentence and a field, and the next request as ever."""

import re
import time
from dataclasses import replace

import pytest

from benchmarks.serve.bad_requests import BODIES, FORM, MAX_BODY, MAX_PIXELS, PART, QUERIES
from benchmarks.serve.client import answered

from .conftest import Slow, received, running

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def strict(models):
    """A server with narrow limits."""
    with running(models, max_body=MAX_BODY, max_pixels=MAX_PIXELS, body_seconds=0.5) as server:
        yield server


@pytest.fixture(autouse=True)
def answers_the_next_request(strict, picture):
    yield
    assert strict.json("POST", "/explain?format=json&preset=fast", picture)[0] == 200
    strict.idle()


def head(length, path="/explain"):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def answer(connection):
    """Status, message and field of the answer that a connection gives next."""
    status, told = answered(connection)
    return status, told["error"], told["field"]


@pytest.mark.parametrize("path", ["/explain", "/jobs"])
@pytest.mark.parametrize("case", BODIES)
def test_bodies(strict, path, case):
    body, headers, status, field, words = BODIES[case]
    told = strict.refused("POST", path, body, headers)
    assert told[::2] == (status, field), told
    assert words in told[1]


@pytest.mark.parametrize("query", QUERIES)
def test_queries(strict, picture, query):
    status, field, words = QUERIES[query]
    told = strict.refused("POST", f"/explain?{query}", picture)
    assert told[::2] == (status, field), told
    assert words in told[1]
    assert len(told[1]) < 2500


def test_types_that_cannot_be_given(strict, picture):
    for accept in ("audio/*", "image/png;q=0", "image/gif, text/plain", ";;,", "image/png;q=x"):
        status, message, field = strict.refused("POST", "/explain", picture, {"Accept": accept})
        assert (status, field) == (406, "Accept"), accept
        assert "application/json" in message


def test_a_gigabyte_is_refused_by_its_length(strict):
    with strict.socket() as connection:
        connection.sendall(head(1_000_000_000))
        assert answer(connection)[::2] == (413, "image")


def test_a_gigabyte_without_a_length_is_refused_on_the_way(strict):
    with strict.socket() as connection:
        connection.sendall(b"POST /explain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(12):
            connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
        assert answer(connection)[::2] == (413, "image")


def test_a_slow_body_is_refused(strict):
    start = time.monotonic()
    with strict.socket() as connection:
        connection.sendall(head(1000) + b"\x89PNG")
        status, message, field = answer(connection)
    assert (status, field) == (408, "image")
    assert "0.5 seconds" in message
    assert time.monotonic() - start >= 0.5


@pytest.mark.parametrize(
    "content",
    [b"", b"GET /v2/hea", LIVE + b"GET /v2/hea", head(10**9) + bytes(1000), head(10**9) + b"a"],
    ids=["nothing", "half a head", "half a second head", "after a refusal", "after half a body"],
)
def test_a_connection_without_requests_is_ended(strict, content):
    with strict.socket() as connection:
        connection.sendall(content)
        received(connection)  # to its end


def test_an_answer_that_takes_longer_is_waited_for(models, picture):
    model = replace(models["small"], explainer=Slow(models["small"].explainer))
    with running({"small": model}, body_seconds=0.1) as server:
        start = time.monotonic()
        assert server.ask("POST", "/explain", picture)[0] == 200
        assert time.monotonic() - start > 0.2


def test_addresses_and_methods(strict):
    assert strict.refused("GET", "/nothing")[0] == 404
    assert strict.refused("GET", "/jobs/nothing")[::2] == (404, "id")
    assert strict.refused("GET", "/jobs/nothing/events")[::2] == (404, "id")
    assert strict.refused("DELETE", "/jobs/nothing")[::2] == (404, "id")
    assert strict.refused("GET", "/models/../../etc/passwd")[0] == 404
    assert strict.refused("GET", "/%2e%2e/%2e%2e/etc/passwd")[0] == 404
    assert strict.refused("GET", "/explain/")[0] == 404
    status, headers, _ = strict.ask("GET", "/explain")
    assert (status, headers["Allow"]) == (405, "POST")
    assert strict.refused("BREW", "/models")[0] == 405


POST = b"POST /explain HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
NO_HTTP = {
    "no request line": (b"nonsense\r\n\r\n", 400, "request", "request line"),
    "no end of a line": (b"\x16\x03\x01\x02\x00\x01", 400, "request", "request line"),
    "a version that is none": (b"GET / HTTP/9\r\nHost: localhost\r\n\r\n", 400, "request", "request line"),
    "a header that is none": (POST + b"a b: c\r\n\r\n", 400, "request", "header line"),
    "a long header": (POST + b"A: " + b"b" * 100_000, 431, "request", "too long"),
    "no host": (LIVE.replace(b"Host: localhost\r\n", b""), 400, "Host", "Host"),
    "two hosts": (POST + b"Host: localhost\r\n\r\n", 400, "Host", "Host"),
    "a length that is none": (POST + b"Content-Length: a\r\n\r\n", 400, "Content-Length", "bad"),
    "two lengths": (POST + b"Content-Length: 1, 2\r\n\r\n", 400, "Content-Length", "conflicting"),
    "an encoding": (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding", "chunked"),
    "a chunk without a length": (CHUNKED + b"x\r\n", 400, "body", "chunk"),
    "a chunk without an end": (CHUNKED + b"1\r\nabc", 400, "body", "chunk"),
    "a long chunk line": (CHUNKED + b"1" * 100_000, 431, "request", "too long"),
}


@pytest.mark.parametrize("case", NO_HTTP)
def test_what_is_no_http_is_refused(strict, case, caplog):
    content, status, field, words = NO_HTTP[case]
    with strict.socket() as connection:
        connection.sendall(content)
        told = answer(connection)
        assert received(connection) == b""  # it is closed
    assert told[::2] == (status, field), told
    assert words in told[1]
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", [b"/explain", b"/nothing"])
def test_what_is_no_http_after_its_head_is_refused(strict, path, caplog):
    """The route has its request by then, and may be about to answer it."""
    with strict.socket() as connection:
        connection.sendall(CHUNKED.replace(b"/explain", path) + b"1\r\na\r\n")
        time.sleep(0.05)
        connection.sendall(b"x\r\n")
        statuses = re.findall(rb"HTTP/1\.1 (\d+) ", received(connection))
    assert statuses == [b"400" if path == b"/explain" else b"404"]
    assert "Traceback" not in caplog.text


def test_what_is_no_http_after_a_head_request_is_refused_without_a_body(strict, caplog):
    head = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    content = strict.raw(head + b"zz\r\n")
    assert content.startswith(b"HTTP/1.1 400 ")
    assert content.endswith(b"\r\n\r\n")
    assert "Traceback" not in caplog.text


def test_what_is_no_http_after_an_answer_is_refused(strict):
    content = strict.raw(LIVE + b"nonsense\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+) ", content) == [b"200", b"400"]
    assert content.endswith(b'"field":"request"}')


def test_http_1_0(strict, picture):
    assert b'"live":true' in strict.raw(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
    request = head(len(picture), "/explain?format=json").replace(b"HTTP/1.1", b"HTTP/1.0") + picture
    with strict.socket() as connection:
        connection.sendall(request)
        content = received(connection)
    assert content.startswith(b"HTTP/1.1 200 ")
    assert b'"schema"' in content


def test_pipelined_requests_are_answered_in_turn(strict, picture):
    request = head(len(picture), "/explain?format=json") + picture
    last = LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with strict.socket() as connection:
        connection.sendall(LIVE + request + head(4) + b"text" + last)
        content = received(connection)
    codes = re.findall(rb"HTTP/1\.1 (\d+) ", content)
    assert codes == [b"200", b"200", b"400", b"200"]


def test_hostile_names_stay_text(strict):
    name = '<img src=x onerror=alert(1)>"\x1b[31m'
    body = PART % (b"image", b'; filename="%s"' % name.encode(), b"nonsense") + b"--edge--"
    status, _, content = strict.ask("POST", "/explain", body, FORM)
    assert status == 400
    assert b"\x1b" not in content
    label = "%3Cscript%3E"
    status, headers, _ = strict.ask("POST", f"/explain?target={label}", b"x")
    assert (status, headers["Content-Type"]) == (400, "application/json")
    assert headers["X-Content-Type-Options"] == "nosniff"
