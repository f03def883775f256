"""Whatever is sent is answered with a status, a sentence and a field, and the next request as ever."""

import http.client
import io
import json
import re
import struct
import time
import zlib

import numpy as np
import pytest

from .conftest import encoded, received, running

LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def strict(models):
    """A server with narrow limits."""
    with running(models, max_body=100_000, max_pixels=10_000, body_seconds=0.5) as server:
        yield server


@pytest.fixture(autouse=True)
def answers_the_next_request(strict, picture):
    yield
    assert strict.json("POST", "/explain?format=json&preset=fast", picture)[0] == 200
    strict.idle()


def head(length, path="/explain"):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def answer(connection):
    """Status, message and field of the answer that a connection gives next."""
    with http.client.HTTPResponse(connection) as response:
        response.begin()
        told = json.loads(response.read())
        return response.status, told["error"], told["field"]


def bomb():
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def array(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def claiming(shape):
    """A file of NumPy's that says it is huge."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


JPEG = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "JPEG")
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}
PART = b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
FILE = b'; filename="a"'
BODIES = {
    "nothing": (b"", {}, 400, "image", "no body"),
    "text": (b"hello", {}, 400, "image", "no picture"),
    "JSON": (b'{"image": "x"}', {}, 400, "image", "no picture"),
    "deep JSON": (b"[" * 10_000, {"Content-Type": "application/json"}, 400, "image", "no picture"),
    "a path": (b"/etc/passwd", {}, 400, "image", "no picture"),
    "an address": (b"http://localhost/cat.png", {}, 400, "image", "no picture"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], {}, 400, "image", "cannot be decoded"),
    "a bomb": (bomb(), {}, 413, "image", "30000"),
    "NaN": (array(np.full((8, 8, 3), np.nan)), {}, 400, "image", "float64"),
    "a wrong shape": (array(np.zeros((2, 8, 8, 3), np.uint8)), {}, 400, "image", "(2, 8, 8, 3)"),
    "wrong channels": (array(np.zeros((8, 8, 7), np.uint8)), {}, 400, "image", "3 channels"),
    "a huge array": (claiming((100_000, 100_000, 3)), {}, 413, "image", "100000"),
    "an array that is cut": (array(np.zeros((50, 50, 3), np.uint8))[:-1], {}, 400, "image", "bytes"),
    "a form without a picture": (PART % (b"a", b"", b"b") + b"--edge--", FORM, 400, "image", "no file"),
    "a form with text": (PART % (b"image", b"", b"b") + b"--edge--", FORM, 400, "image", "no file"),
    "a form with an empty file": (PART % (b"image", FILE, b"") + b"--edge--", FORM, 400, "image", "empty"),
    "two pictures": (PART % (b"image", FILE, JPEG) * 2 + b"--edge--", FORM, 400, "image", "many files"),
    "many fields": (PART % (b"a", b"", b"b") * 50 + b"--edge--", FORM, 400, "image", "many fields"),
    "a field twice": (PART % (b"mu", b"", b"0") * 2 + b"--edge--", FORM, 400, "mu", "twice"),
    "a form that is none": (b"hello", FORM, 400, "image", "form"),
    "no boundary": (b"hello", {"Content-Type": "multipart/form-data"}, 400, "image", "boundary"),
    "a body that is too large": (bytes(100_001), {}, 413, "image", "100 kB"),
}


@pytest.mark.parametrize("path", ["/explain", "/jobs"])
@pytest.mark.parametrize("case", BODIES)
def test_bodies(strict, path, case):
    body, headers, status, field, words = BODIES[case]
    told = strict.refused("POST", path, body, headers)
    assert told[::2] == (status, field), told
    assert words in told[1]


QUERIES = {
    "model=none": (404, "model", "small"),
    "target=zebra": (400, "target", "zebra"),
    "target=77": (400, "target", "0 to 4"),
    "target=index:x": (400, "target", "index"),
    "method=magic": (400, "method", "rise"),
    "method=sise:mu=7": (400, "method", "0 <= mu < 1"),
    "method=": (400, "method", "rise"),
    "preset=best": (400, "preset", "fast"),
    "preset=fast%26budget=1": (400, "preset", "fast"),
    "preset=fast&budget=0.5": (400, "preset", "budget"),
    "nonsense=1": (400, "nonsense", "no option"),
    "masks=10": (400, "masks", "no option"),
    "mu=7": (400, "mu", "0 <= mu < 1"),
    "mu=nan": (400, "mu", "nan"),
    "mu=a": (400, "mu", "'a'"),
    "mu=0&mu=0": (400, "mu", "twice"),
    "budget=0": (400, "budget", "0 < budget"),
    "max_passes=1.5": (400, "max_passes", "int"),
    "max_passes=" + "9" * 5000: (400, "max_passes", ""),
    "max_seconds=0": (400, "max_seconds", "0 < max_seconds"),
    "max_seconds=inf": (400, "max_seconds", "0 < max_seconds"),
    "max_seconds=nan": (400, "max_seconds", "nan"),
    "max_seconds=x": (400, "max_seconds", "'x'"),
    "check=maybe": (400, "check", "region"),
    "palette=jet": (400, "palette", "inferno"),
    "bit_depth=7": (400, "bit_depth", "8 to 16"),
    "format=gif": (400, "format", "npy"),
    "scores=luck": (400, "scores", "log-odds"),
}


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
        connection.sendall(b"POST /explain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
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


def test_what_is_no_http_is_refused(strict):
    assert strict.raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert strict.raw(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 100_000).startswith(b"HTTP/1.1 4")
    assert strict.raw(LIVE.replace(b"Host: x\r\n", b"")).startswith(b"HTTP/1.1 400 ")


def test_http_1_0(strict, picture):
    assert b'{"live":true}' in strict.raw(b"GET /v2/health/live HTTP/1.0\r\n\r\n")
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
