"""A picture sent, its explanation back: the same that the library gives."""

import gc
import io
import json
import weakref
from dataclasses import replace

import cv2
import numpy as np
import pytest

from .conftest import running

FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n'
    b"Content-Type: image/png\r\n\r\n%s\r\n%s--edge--\r\n"
)
FIELD = b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
TYPE = {"Content-Type": "multipart/form-data; boundary=edge"}


def form(picture, name="cat.png", **fields):
    parts = b"".join(FIELD % (key.encode(), value.encode()) for key, value in fields.items())
    return FORM % (name.encode(), picture, parts)


def as_map(content):
    return np.load(io.BytesIO(content))


def test_the_map_is_the_librarys(served, model, picture):
    status, headers, content = served.ask("POST", "/explain?target=c&format=npy", picture)
    assert (status, headers["Content-Type"]) == (200, "application/x-npy")
    expected = model.explainer.explain(picture, "c").map
    np.testing.assert_allclose(as_map(content), expected, atol=1e-5)


def test_a_picture_is_what_comes_back_by_default(served, picture):
    status, headers, content = served.ask("POST", "/explain?target=c", picture)
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert min(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape[:2]) > 512


def test_options_reach_the_method(served, picture):
    status, record = served.json("POST", "/explain?target=2&format=json&mu=0.3&fusion=otsu-soft", picture)
    assert status == 200
    assert record["target"] == {"index": 2, "label": "c"}
    assert record["settings"]["mu"] == 0.3
    assert record["settings"]["fusion"] == "otsu-soft"
    assert record["picture"]["name"] == "picture"
    _, record = served.json("POST", "/explain?method=rise:masks=20&seed=3&format=json", picture)
    assert (record["method"], record["settings"]["masks"], record["settings"]["seed"]) == ("rise", 20, 3)
    _, record = served.json("POST", "/explain?preset=fast&format=json&name=a/b/dog.png", picture)
    assert record["settings"]["budget"] == 0.1
    assert record["picture"]["name"] == "dog.png"


def test_check_asks_the_model(served, picture):
    _, record = served.json("POST", "/explain?format=json", picture)
    assert record["check"] is None
    _, record = served.json("POST", "/explain?format=json&check=region", picture)
    assert set(record["check"]) == {"region"}
    _, record = served.json("POST", "/explain?format=json&check=1", picture)
    assert {"region", "insertion", "deletion", "drop"} <= set(record["check"])


def test_a_form_brings_picture_and_options(served, picture):
    status, _, content = served.ask("POST", "/explain?format=json", form(picture, target="d"), TYPE)
    record = json.loads(content)
    assert (status, record["target"]["label"], record["picture"]["name"]) == (200, "d", "cat.png")


def test_a_large_picture_in_a_form_touches_no_disk(served, monkeypatch):
    large = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    file = io.BytesIO()
    np.save(file, large)
    assert len(file.getvalue()) > 2_000_000

    def refuse(*_, **__):
        raise AssertionError("a temporary file")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    status, _, content = served.ask("POST", "/explain?format=json", form(file.getvalue(), "a.npy"), TYPE)
    assert status == 200, content


@pytest.mark.parametrize("form", ["png", "json", "npy", "html"])
def test_a_picture_is_let_go_of_at_once(models, picture, form):
    """Not only when circles of references are looked for."""
    seen = []

    class Watched:
        def __getattr__(self, name):
            return getattr(models["small"].explainer, name)

        def prepare(self, *arguments, **options):
            prepared = models["small"].explainer.prepare(*arguments, **options)
            seen.append(weakref.ref(prepared.pixels))
            return prepared

    gc.disable()
    try:
        with running({"small": replace(models["small"], explainer=Watched())}) as server:
            for _ in range(2):
                assert server.ask("POST", f"/explain?format={form}", picture)[0] == 200
            server.refused("POST", "/explain?method=sise:max_passes=1", picture)
            assert len(seen) == 3
            server.until(lambda: not any(pixels() is not None for pixels in seen))
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "image/png"),
        ("application/json", "application/json"),
        ("text/html,application/json;q=0.9", "text/html; charset=utf-8"),
        ("application/octet-stream", "application/x-npy"),
        ("image/*;q=0.1, application/x-npy", "application/x-npy"),
    ],
)
def test_the_client_says_what_it_accepts(served, picture, accept, kind):
    status, headers, _ = served.ask("POST", "/explain?budget=0.1", picture, {"Accept": accept})
    assert (status, headers["Content-Type"]) == (200, kind)


def test_a_page_runs_nothing(served, picture):
    name = "<script>alert(1)</script>.png"
    status, headers, content = served.ask(
        "POST", "/explain?format=html&preset=fast", form(picture, name), TYPE
    )
    assert status == 200
    assert "sandbox" in headers["Content-Security-Policy"]
    assert "script-src" not in headers["Content-Security-Policy"]
    assert b"<script" not in content
    assert b"the region" in content  # which the model was asked about


def test_models_are_told(served, model):
    status, told = served.json("GET", "/models")
    assert status == 200
    (small,) = told
    assert (small["name"], small["classes"], small["labels"]) == ("small", 5, list("abcde"))
    assert small["input"] == {"channels": 3, "height": 32, "width": 32}
    names = [method["name"] for method in small["methods"]]
    assert names[0] == "sise"
    assert {"rise", "grad-cam"} <= set(names)
    mu = next(option for option in small["methods"][0]["options"] if option["name"] == "mu")
    assert mu["range"] == "0 <= mu < 1"


def test_labels_are_searched(served):
    assert served.json("GET", "/models/small/labels?q=C") == (200, [{"index": 2, "label": "c"}])
    assert served.json("GET", "/models/small/labels?q=4") == (200, [{"index": 4, "label": "e"}])
    assert len(served.json("GET", "/models/small/labels")[1]) == 5
    assert served.refused("GET", "/models/none/labels")[::2] == (404, "model")
