"""`sise-rt serve`: what it makes of its options, KServe's included; the server itself is in tests/serve."""

import logging
import socket
import sys

import pytest

from sise_rt.serve.logs import OURS
from sise_rt.serve.server import Server


@pytest.fixture
def begun(monkeypatch):
    """The servers that would have run."""
    servers = []

    def run(self, sockets):
        servers.append((self, sockets[0].getsockname()))
        self._listening()

    monkeypatch.setattr(Server, "run", run)
    kept = {
        name: (log.handlers, log.propagate, log.level) for name in OURS for log in [logging.getLogger(name)]
    }
    yield servers
    for name, (handlers, propagate, level) in kept.items():
        log = logging.getLogger(name)
        log.handlers, log.propagate, log.level = handlers, propagate, level


def test_without_a_bundle_the_one_that_ships_is_served(begun, sise):
    code, out, err = sise("serve", "--port", 0)
    ((server, (host, port)),) = begun
    assert (code, err) == (0, "")
    assert out == f"serving 1 model (surface) at http://127.0.0.1:{port}/\n"
    assert host == "127.0.0.1"
    assert "/example.png" in [route.path for route in server.config.app.routes]


def test_what_kserve_adds_is_taken(begun, sise, small_bundle, monkeypatch):
    monkeypatch.setattr("sise_rt.commands.serve.MOUNTED", str(small_bundle))
    monkeypatch.setenv("STORAGE_URI", "s3://somewhere")
    added = ["--model_name", "my-model", "--predictor_host", "a.b", "--http_port", "1", "--http_port", "0"]
    code, out, _ = sise("serve", "--host", "0.0.0.0", *added, "--workers", "2")
    ((server, _),) = begun
    assert code == 0
    assert "(my-model)" in out
    assert list(server.service.models) == ["my-model"]
    assert server.service.settings.workers == 2
    assert "/example.png" not in [route.path for route in server.config.app.routes]


def test_limits_reach_the_server(begun, sise, small_bundle, tmp_path):
    (tmp_path / "token").write_text("letters-123\n")
    code, out, err = sise(
        *(
            "serve",
            f"a={small_bundle}",
            f"b={small_bundle}",
            "--port",
            "0",
            "--token-file",
            tmp_path / "token",
        ),
        *(
            "--queue",
            "3",
            "--preset",
            "fast",
            "--max-seconds",
            "7",
            "--max-body",
            "1MB",
            "--max-pixels",
            "99",
        ),
        *("--body-seconds", "2", "--keep", "5", "--grace", "4", "--root-path", "/x/", "--host", "0.0.0.0"),
        *("--allow-origin", "https://a.example", "--allow-origin", "https://b.example"),
    )
    ((server, (host, _)),) = begun
    assert (code, err, host) == (0, "", "0.0.0.0")
    assert "serving 2 models (a, b)" in out
    assert out.endswith("/x/\n")
    settings = server.service.settings
    assert (settings.queue, settings.preset, settings.max_seconds, settings.max_body) == (3, "fast", 7, 10**6)
    assert (settings.max_pixels, settings.body_seconds, settings.keep, settings.grace) == (99, 2, 5, 4)
    assert (settings.token, settings.root_path) == ("letters-123", "/x")
    assert settings.origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("options", "hosts"),
    [
        ((), ("localhost",)),
        (("--host", "localhost"), ("localhost",)),
        (("--host", "127.0.0.2"), ("localhost",)),
        (("--allow-host", "a.example", "--allow-host", "b"), ("localhost", "a.example", "b")),
        (("--allow-host", "*"), ("localhost", "*")),
        (("--token-file", "token"), ("*",)),
        (("--host", "0.0.0.0"), ("*",)),
        (("--host", "0.0.0.0", "--allow-host", "a.example."), ("localhost", "a.example")),
    ],
)
def test_by_which_names_it_is_reached(begun, sise, small_bundle, tmp_path, monkeypatch, options, hosts):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("letters-123")
    assert sise("serve", small_bundle, "--port", "0", *options)[0] == 0
    ((server, _),) = begun
    assert server.service.settings.hosts == hosts


def test_an_open_server_is_warned_of(begun, sise, small_bundle):
    _, _, err = sise("serve", small_bundle, "--port", "0", "--host", "0.0.0.0")
    assert err.startswith("warning: whoever reaches 0.0.0.0")
    assert "--token-file" in err


def test_wrong_use_is_one_line(begun, sise, small_bundle, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "words").write_text("two words")
    (tmp_path / "model.onnx").write_bytes(b"?")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        for arguments, words in (
            (["none.sise"], "no such folder"),
            ([tmp_path / "folder"], "no folder of bundles"),
            ([tmp_path / "model.onnx"], "export it first"),
            ([f"name={tmp_path / 'model.onnx'}"], "export it first"),
            ([small_bundle, small_bundle], "both called small"),
            ([small_bundle, f"b={small_bundle}", "--model-name", "c"], "there are 2"),
            ([small_bundle, "--model-name", "a/b"], "part of an address"),
            ([small_bundle, "--port", taken], "in use (see --host, --port)"),
            ([small_bundle, "--host", "no.such.host.invalid"], "cannot be listened at"),
            ([small_bundle, "--port", "70000"], "70000"),
            ([small_bundle, "--token-file", tmp_path / "none"], "--token-file"),
            ([small_bundle, "--token-file", tmp_path / "empty"], "holds no token"),
            ([small_bundle, "--token-file", tmp_path / "words"], "holds no token"),
            ([small_bundle, "--root-path", "x"], "begins with a slash"),
            ([small_bundle, "--allow-host", "http://a.example"], "without scheme, port or path"),
            ([small_bundle, "--allow-host", ""], "without scheme, port or path"),
            ([small_bundle, "--allow-host", ".example.com"], "without scheme, port or path"),
            ([small_bundle, "--provider", "plugin:none"], "none"),
        ):
            code, out, err = sise("serve", "--port", 0, *arguments)
            assert (code, out) == (2, ""), arguments
            assert words in err, arguments
            assert err.rstrip().splitlines()[-1].startswith("error: ")
    assert not begun


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "prometheus_client", "python_multipart"])
def test_a_missing_package_says_which_extra(sise, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = sise("serve")
    assert code == 2
    assert f"{package} is missing: pip install 'sise-rt[serve]'" in err


def test_a_thread_that_still_works_does_not_hold_the_process(begun, sise, monkeypatch):
    codes = []
    monkeypatch.setattr("os._exit", codes.append)
    sise("serve", "--port", 0)
    assert not codes
    monkeypatch.setattr("sise_rt.serve.service.Service.ended", lambda self, seconds: False)
    sise("serve", "--port", 0)
    assert codes == [0]
