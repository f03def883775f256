"""What goes wrong behind a request, and clients that are killed at every stage: the server goes on."""

import shutil
from dataclasses import replace

import pytest

from benchmarks.serve.killed import kill_at_every_stage
from sise_rt.errors import ModelError, OutOfMemory
from sise_rt.serve.models import load_models

from .conftest import Slow, running

KILLS = 40  # the benchmark has 200


class Broken:
    """An explainer that fails."""

    def __init__(self, explainer, error):
        self._explainer, self.error = explainer, error

    def __getattr__(self, name):
        return getattr(self._explainer, name)

    def explain(self, *arguments, **options):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OutOfMemory("not even one image fits"), 503, "out of memory"),
        (MemoryError(), 503, "out of memory"),
        (ModelError("its scores are not finite"), 422, "not finite"),
        (RuntimeError("secret: /home/me"), 500, "its log"),
        (ZeroDivisionError(), 500, "its log"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_fails_is_told_and_the_next_is_served(models, picture, error, status, words, caplog):
    broken = Broken(models["small"].explainer, error)
    models = models | {"broken": replace(models["small"], name="broken", explainer=broken)}
    with running(models) as server:
        for _ in range(3):
            told = server.refused("POST", "/explain?model=broken", picture)
            assert told[0] == status
            assert words in told[1]
            assert "secret" not in told[1]
        location = server.job(picture, "?model=broken")
        job = server.ended(location)
        assert (job["status"], words in job["error"]["error"]) == ("failed", True)
        assert server.ask("POST", "/explain?model=small&preset=fast", picture)[0] == 200
        server.idle()
    assert (str(error) in caplog.text) == (status >= 500)


def test_a_bundle_that_goes_away_is_served_on(small_bundle, tmp_path, picture, caplog):
    copy = shutil.copytree(small_bundle, tmp_path / "copy.sise")
    models = load_models({"copy": copy}, provider="cpu")
    with running(models) as server:
        shutil.rmtree(copy)
        assert server.ask("POST", "/explain", picture)[0] == 200
        status, message, field = server.refused("POST", "/explain?method=grad-cam", picture)
        assert (status, field) == (503, "model")
        assert str(tmp_path) not in message
        assert server.ask("POST", "/explain?check=1", picture)[0] == 200


def test_clients_that_are_killed(models, picture):
    model = replace(models["small"], explainer=Slow(models["small"].explainer, 0.002))
    with running({"small": model}, return_seconds=0.1) as server:
        kill_at_every_stage(server, picture, KILLS)
        server.idle()
        assert not server.service.work.waiting
        assert server.json("GET", "/v2/health/ready") == (200, {"live": True, "ready": True})
        assert server.json("POST", "/explain?format=json", picture)[0] == 200
        assert server.ended(server.job(picture))["status"] == "done"
        server.until(lambda: len(server.server.server_state.connections) == 0)
