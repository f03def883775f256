"""Others' clients, and requests that are made of the document; each where its environment has been made.

`python -m benchmarks.serve.contracts FOLDER` makes them, and SISE_RT_CLIENTS=FOLDER says where they are.
"""

import os
from pathlib import Path

import pytest

from benchmarks.serve.contracts import PACKAGES, ask_as, environment, fuzz

from .conftest import running

FOLDER = Path(os.environ.get("SISE_RT_CLIENTS", "/nowhere"))
CASES = 100


@pytest.fixture
def client(request, shipped):
    """The server of the model that ships, asked by a client whose packages are there."""
    name = request.param
    if not (FOLDER / f"env-{name}" / "installed").exists():
        pytest.skip(
            f"{PACKAGES[name]} is not installed: set SISE_RT_CLIENTS to the folder of its environment"
        )
    assert environment(name, FOLDER).is_dir()
    with running(shipped, example=True) as server:
        yield server


@pytest.fixture(scope="module")
def shipped():
    from sise_rt.serve.models import built_in, load_models

    return load_models({"surface": built_in()}, provider="cpu")


@pytest.mark.parametrize("client", ["kserve"], indirect=True)
def test_kserves_own_client(client):
    lines = list(ask_as("kserve", FOLDER, client))
    for call in (
        "v1 is_server_live | True",
        "v1 is_model_ready | True",
        "v1 explain: maps",
        "v2 infer, bytes",
    ):
        assert any(call in line for line in lines), call


@pytest.mark.parametrize("client", ["tritonclient"], indirect=True)
def test_a_client_of_the_open_inference_protocol(client):
    lines = list(ask_as("tritonclient", FOLDER, client))
    for call in ("BYTES as bytes, bytes back", "UINT8 as JSON, JSON back", "no such class | 400"):
        assert any(call in line for line in lines), call


@pytest.mark.parametrize("client", ["schemathesis"], indirect=True)
def test_no_request_that_the_document_allows_fails(client):
    *_, last = fuzz(FOLDER, client, CASES)
    assert "the server lives" in last
