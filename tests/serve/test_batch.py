"""Several pictures of one request: their order, their shared limits, and what ends all of them."""

import base64
import gc
import json
import socket
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.serve.bad_requests import encoded
from sise_rt.errors import BundleError
from sise_rt.serve.batch import named
from sise_rt.serve.refusals import Refused

from .conftest import Held, Slow, running

EXPLAIN, INFER = "/v1/models/small:explain", "/v2/models/small/infer"


def noise(seed, height=40, width=60):
    return encoded(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8), "PNG")


def body(*pictures, **options):
    instances = [
        {"b64": base64.b64encode(one).decode(), "outputs": ["record"], **options} for one in pictures
    ]
    return json.dumps({"instances": instances}).encode()


def test_answers_are_in_the_order_of_the_pictures(served, model):
    pictures = [noise(seed, 20 + 7 * seed) for seed in range(6)]
    status, told = served.json("POST", EXPLAIN, body(*pictures))
    assert status == 200
    records = [one["record"]["picture"]["sha256"] for one in told["explanations"]]
    assert records == [model.explainer.explain(one).record()["picture"]["sha256"] for one in pictures]


@pytest.mark.parametrize(
    ("sizes", "field"), [([100, 100], "instances[1].b64"), ([30, 30, 160], "instances[2].b64")]
)
def test_pixels_are_counted_together(models, sizes, field):
    with running(models, max_pixels=15_000) as server:
        pictures = [noise(side, side, 80) for side in sizes]
        status, message, told = server.refused("POST", EXPLAIN, body(*pictures))
        assert (status, told) == (413, field)
        assert "15,000" in message
        assert server.json("POST", EXPLAIN, body(*pictures[:-1]))[0] == 200


def test_a_bad_picture_ends_all_before_the_rest_is_explained(served, model, monkeypatch):
    explained = []
    kept = model.explainer.explain

    def explain(picture, *arguments, **options):
        explained.append(picture)
        return kept(picture, *arguments, **options)

    monkeypatch.setattr(model.explainer, "explain", explain)
    pictures = [noise(1), b"nonsense", *(noise(seed) for seed in range(8))]
    assert served.refused("POST", EXPLAIN, body(*pictures))[::2] == (400, "instances[1].b64")
    assert len(explained) == 1


def test_their_time_is_that_of_the_request(models):
    model = replace(models["small"], explainer=Slow(models["small"].explainer))
    with running({"small": model}) as server:
        pictures = [noise(seed) for seed in range(4)]
        status, told = server.json("POST", EXPLAIN, body(*pictures, max_seconds=0.05))
    assert status == 200
    assert [one["record"]["partial"] for one in told["explanations"]][1:] == [True] * 3


def test_a_client_that_goes_away_ends_all(held):
    content = body(noise(1), noise(2))
    with held.socket() as connection:
        head = f"POST {EXPLAIN} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        assert held.entered.wait(60)
        connection.shutdown(socket.SHUT_RDWR)
    held.idle()
    held.let_go.set()
    assert held.json("POST", EXPLAIN, content)[0] == 200


def test_the_end_of_the_server_is_no_failure(models):
    held = Held(models["small"].explainer)
    found = []
    with running({"small": replace(models["small"], explainer=held)}, grace=3.0) as server:
        ask = threading.Thread(
            target=lambda: found.append(server.refused("POST", EXPLAIN, body(noise(1), noise(2))))
        )
        ask.start()
        assert held.entered.wait(60)
        server.server.end()
        ask.join(60)
    ((status, message, _),) = found
    assert status == 503, message
    assert "ends" in message


def test_no_fault_of_the_request_names_no_part_of_it(served, model, monkeypatch):
    def fail(*_, **__):
        raise BundleError("/srv/secret/manifest.json is gone")

    monkeypatch.setattr(model.explainer, "explain", fail)
    for pictures in ([noise(1)], [noise(1), noise(2)]):
        status, message, field = served.refused("POST", EXPLAIN, body(*pictures))
        assert (status, field) == (503, "model")
        assert "secret" not in message


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, "instances[2]"),
        ("image", "instances[2].b64"),
        ("target", "instances[2].target"),
        ("instances[2].b64[0]", "instances[2].b64[0]"),
    ],
)
def test_the_part_of_a_request_is_named_once(field, expected):
    refused = named(Refused(400, "it is wrong", field, retry_after=3), "instances[2]", "instances[2].b64")
    assert (refused.status, refused.field, refused.retry_after) == (400, expected, 3)
    assert refused.message == f"{expected}: it is wrong"
    assert named(refused, "instances[2]", "instances[2].b64").message == refused.message


class Watched:
    """An explainer that takes note of what it prepares, without holding it."""

    def __init__(self, explainer):
        self._explainer, self.seen = explainer, []

    def __getattr__(self, name):
        return getattr(self._explainer, name)

    def prepare(self, *arguments, **options):
        prepared = self._explainer.prepare(*arguments, **options)
        self.seen.append(weakref.ref(prepared.pixels))
        return prepared


@pytest.mark.parametrize("number", [1, 3])
def test_pictures_are_let_go_of_with_the_answer(models, number):
    watched = Watched(models["small"].explainer)
    tensor = np.random.default_rng(0).integers(0, 256, (number, 20, 20, 3), np.uint8)
    sent = {"name": "image", "shape": [*tensor.shape], "datatype": "UINT8", "data": tensor.ravel().tolist()}
    pictures = [noise(seed) for seed in range(number)]
    gc.disable()
    try:
        with running({"small": replace(models["small"], explainer=watched)}) as server:
            assert server.json("POST", EXPLAIN, body(*pictures))[0] == 200
            assert server.json("POST", INFER, json.dumps({"inputs": [sent]}).encode())[0] == 200
            assert server.refused("POST", EXPLAIN, body(*pictures, max_passes=1))[0] == 400
            assert len(watched.seen) > 2 * number
            server.until(lambda: not any(pixels() is not None for pixels in watched.seen))
    finally:
        gc.enable()
