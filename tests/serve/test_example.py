"""The example of a client, against a server."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from examples import ask_service


@pytest.fixture
def ask(picture, tmp_path):
    """Run the example against a server: (exit code, output)."""
    (tmp_path / "cat.png").write_bytes(picture)

    def run(server, *options):
        address = f"http://127.0.0.1:{server.port}/"
        arguments = [
            str(tmp_path / "cat.png"),
            "--server",
            address,
            "-o",
            str(tmp_path / "out.png"),
            *options,
        ]
        result = CliRunner().invoke(ask_service.main, arguments)
        return result.exit_code, result.output

    return run


def test_it_tells_what_happens_and_keeps_the_picture(served, ask, model, picture, tmp_path):
    code, output = ask(served, "--target", "c", "--preset", "fast")
    assert code == 0, output
    best = "abcde"[int(np.argmax(model.explainer.confidences(picture)))]
    assert f"the model sees {best} " in output
    assert " masks\n" in output
    assert min(cv2.imread(str(tmp_path / "out.png")).shape[:2]) > 512


def test_it_says_what_is_refused(served, ask):
    code, output = ask(served, "--target", "zebra")
    assert code == 1
    assert output.startswith("Error: target 'zebra' is no label")


def test_it_comes_again_when_the_queue_is_full(held, ask, picture, monkeypatch):
    for _ in range(3):
        held.job(picture)
    waits = []

    def wait(seconds):
        waits.append(seconds)
        held.let_go.set()
        held.idle()

    monkeypatch.setattr(ask_service, "time", SimpleNamespace(sleep=wait))
    assert ask(held)[0] == 0
    assert waits[0] >= 1
