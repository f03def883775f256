"""Around all requests: ids, tokens, other sites, the log, and headers."""

import json
import logging
from dataclasses import replace

import pytest

from sise_rt.serve.logs import OURS, log_lines

from .conftest import running

TOKEN = "a-token-of-letters"


@pytest.fixture(scope="module")
def closed(models):
    """A server that asks for a token."""
    with running(models, token=TOKEN) as server:
        yield server


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        "Bearer \xe9",
    ],
)
def test_nobody_comes_in_without_the_token(closed, picture, sent):
    headers = {} if sent is None else {"Authorization": sent}
    for method, path in (("POST", "/explain"), ("GET", "/models"), ("GET", "/metrics"), ("GET", "/nothing")):
        status, answered, content = closed.ask(method, path, picture, headers)
        assert status == 401
        assert answered["WWW-Authenticate"] == "Bearer"
        assert json.loads(content)["field"] == "Authorization"
    assert not closed.service.work.turns


def test_the_token_opens(closed, picture):
    for kind in ("Bearer", "bearer"):
        assert (
            closed.ask("POST", "/explain?preset=fast", picture, {"Authorization": f"{kind} {TOKEN}"})[0]
            == 200
        )


def test_probes_bear_no_token(closed):
    assert closed.ask("GET", "/v2/health/live")[0] == 200
    assert closed.ask("GET", "/v2/health/ready")[0] == 200


def test_an_id_comes_back(served):
    assert served.ask("GET", "/models", headers={"X-Request-ID": "mine-1"})[1]["X-Request-ID"] == "mine-1"
    first, second = (served.ask("GET", "/models")[1]["X-Request-ID"] for _ in range(2))
    assert first != second
    for hostile in ("a b", "x" * 101, '"><script>', "é"):
        given = {"X-Request-ID": hostile.encode("latin-1")}
        assert served.ask("GET", "/models", headers=given)[1]["X-Request-ID"] != hostile


def test_pages_of_other_sites_are_refused(models, picture):
    foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    with running(models) as server:
        assert server.refused("POST", "/jobs", picture, foreign)[::2] == (403, "Origin")
        assert "Access-Control-Allow-Origin" not in server.ask("GET", "/models", headers=foreign)[1]
        own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://127.0.0.1:{server.port}"}
        assert server.ask("POST", "/jobs", picture, own)[0] == 202
    with running(models, origins=("https://other.example",)) as server:
        status, headers, _ = server.ask("POST", "/jobs", picture, foreign)
        assert (status, headers["Access-Control-Allow-Origin"]) == (202, "https://other.example")
        asks = foreign | {"Access-Control-Request-Method": "POST"}
        assert server.ask("OPTIONS", "/jobs", headers=asks)[0] == 200
        assert (
            server.refused("POST", "/jobs", picture, foreign | {"Origin": "https://evil.example"})[0] == 403
        )


def test_pages_of_other_sites_are_refused_where_browsers_do_not_say_what_they_are(models, picture):
    """Over plain HTTP to another machine they send the page's origin alone."""
    with running(models) as server:
        own = {"Origin": f"http://127.0.0.1:{server.port}"}
        assert server.ask("POST", "/jobs", picture, own)[0] == 202
        for origin in ("http://other.example", "null", f"http://127.0.0.1:{server.port + 1}"):
            assert server.refused("POST", "/jobs", picture, {"Origin": origin})[::2] == (403, "Origin")
        server.idle()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1:1", "10.1.2.3:8080", "[::1]:8080", "[::1]", ""],
)
def test_names_that_lead_only_here_are_answered(served, host):
    assert served.ask("GET", "/models", headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "localhost:x"],
)
def test_other_names_are_refused(served, picture, host):
    """A page of another site that made its own name lead here sends it."""
    for method, path in (("GET", "/models"), ("GET", "/"), ("POST", "/explain"), ("GET", "/metrics")):
        status, message, field = served.refused(method, path, picture, {"Host": host})
        assert (status, field) == (403, "Host")
        assert host.partition(":")[0] in message
    assert served.ask("GET", "/v2/health/live", headers={"Host": host})[0] == 200  # as probes may ask
    assert served.ask("GET", "/v2/health/ready", headers={"Host": host})[0] == 200


def test_names_can_be_allowed(models):
    with running(models, hosts=("Explain.example",)) as server:
        assert server.ask("GET", "/models", headers={"Host": "explain.EXAMPLE:443"})[0] == 200
        assert server.refused("GET", "/models", headers={"Host": "evil.example"})[::2] == (403, "Host")
    with running(models, hosts=("*",)) as server:
        assert server.ask("GET", "/models", headers={"Host": "any.example"})[0] == 200


def test_a_request_without_a_name_is_answered(served):
    """HTTP/1.0 has none, nor have browsers HTTP/1.0."""
    assert served.raw(b"GET /models HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    named = served.raw(b"GET /models HTTP/1.0\r\nHost: evil.example\r\n\r\n")
    assert named.startswith(b"HTTP/1.1 403 ")


def test_a_request_is_one_line_that_tells_nothing_of_the_picture(served, picture, caplog):
    caplog.set_level(logging.INFO, logger="sise_rt.serve")
    served.ask("POST", "/explain?preset=fast&target=c&name=secret.png", picture, {"X-Request-ID": "line-1"})
    served.ask("GET", "/nothing/secret")
    lines = served.until(
        lambda: [r for r in caplog.records if r.name == "sise_rt.serve.requests"], lambda r: len(r) == 2
    )
    first, second = lines
    assert (first.id, first.method, first.route, first.status) == ("line-1", "POST", "/explain", 200)
    assert first.seconds > 0
    assert (second.route, second.status) == ("none", 404)
    assert "secret" not in str([vars(line) for line in lines])


def test_lines_are_json(capsys):
    before = {name: logging.getLogger(name) for name in OURS}
    kept = {name: (log.handlers, log.propagate, log.level) for name, log in before.items()}
    try:
        log_lines()
        logging.getLogger("sise_rt.serve.requests").info("a\nb", extra={"id": "1", "status": 200})
        logging.getLogger("uvicorn.error").info("not told")
        try:
            raise ValueError("\x1b[31m")
        except ValueError:
            logging.getLogger("sise_rt.serve").exception("failed")
    finally:
        for name, log in before.items():
            log.handlers, log.propagate, log.level = kept[name]
    first, second = capsys.readouterr().err.splitlines()
    told = json.loads(first)
    assert (told["event"], told["id"], told["status"], told["level"]) == ("a\nb", "1", 200, "info")
    assert "ValueError" in json.loads(second)["trace"]
    assert "\x1b" not in second


def test_a_proxy_may_put_a_path_first(models, picture):
    with running(models, root_path="/x") as server:
        assert server.ask("GET", "/models")[0] == 200  # the proxy takes the path away
        status, headers, content = server.ask("POST", "/jobs", picture)
        location = headers["Location"]
        assert (status, location) == (202, json.loads(content)["location"])
        assert location.startswith("/x/jobs/")
        assert server.ended(location.removeprefix("/x"))["status"] == "done"
    with running(models, root_path="/x", token=TOKEN) as server:
        assert server.ask("GET", "/v2/health/live")[0] == 200
        assert server.ask("GET", "/models")[0] == 401


def test_labels_that_are_no_text_are_told(models, picture):
    hostile = "\ud800<b>"
    manifest = replace(models["small"].explainer.manifest, labels=("a", "b", hostile, "d", "e"))

    class Labelled:
        def __getattr__(self, name):
            return getattr(models["small"].explainer, name)

    explainer = Labelled()
    explainer.manifest = manifest
    with running({"small": replace(models["small"], explainer=explainer)}) as server:
        assert server.json("GET", "/models")[1][0]["labels"][2] == hostile
        assert server.json("GET", "/models/small/labels?q=<B")[1] == [{"index": 2, "label": hostile}]
        assert server.refused("POST", "/explain?target=zebra", picture)[0] == 400


def test_after_a_body_of_two_lengths_the_connection_is_closed(served):
    smuggled = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = smuggled.replace(b"GET /v2/health/live", b"POST /explain").removesuffix(b"\r\n")
    head += b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served.socket() as connection:
        connection.sendall(head + b"3\r\nabc\r\n0\r\n\r\n" + smuggled)
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.count(b"HTTP/1.1 ") == 1
