"""KServe's protocol v1: what the library gives, wrapped as KServe wraps it, and every wrong body named."""

import base64
import io
import json

import numpy as np
import pytest

from benchmarks.serve.bad_requests import encoded
from sise_rt.serve.batch import MOST

EXPLAIN, PREDICT = "/v1/models/small:explain", "/v1/models/small:predict"


def text(content):
    return base64.b64encode(content).decode()


def sent(served, instances, path=EXPLAIN, name="instances"):
    return served.json("POST", path, json.dumps({name: instances}).encode())


def refused(served, body, path=EXPLAIN):
    return served.refused("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())


def as_map(content):
    return np.load(io.BytesIO(base64.b64decode(content)))


@pytest.fixture(scope="module")
def ways(picture, pixels):
    """The same picture in all ways that it can be sent."""
    return {
        "text": text(picture),
        "b64": {"b64": text(picture)},
        "array": pixels.tolist(),
        "image": {"image": text(picture)},
        "image b64": {"image": {"b64": text(picture)}},
        "image array": {"image": pixels.tolist()},
    }


@pytest.mark.parametrize("way", ["text", "b64", "array", "image", "image b64", "image array"])
@pytest.mark.parametrize("name", ["instances", "inputs"])
def test_every_way_to_send_a_picture_gives_the_librarys_map(served, model, ways, picture, way, name):
    expected = model.explainer.explain(picture)
    status, told = sent(served, [ways[way]], name=name)
    assert status == 200, told
    assert set(told) == {"predictions", "explanations"}
    (prediction,), (explanation,) = told["predictions"], told["explanations"]
    assert (prediction["index"], prediction["label"]) == (expected.target, expected.label)
    assert prediction["confidence"] == pytest.approx(expected.confidence, abs=1e-5)
    assert len(prediction["best"]) == 5
    assert list(explanation) == ["record", "overlay", "map"]
    np.testing.assert_allclose(as_map(explanation["map"]), expected.map, atol=1e-5)
    assert base64.b64decode(explanation["overlay"]).startswith(b"\x89PNG")
    assert explanation["record"]["schema"] == "sise-rt/record/1"


def test_options_are_those_of_each_instance(served, model, picture):
    one = {"image": text(picture), "target": "c", "mu": 0.3, "outputs": ["record", "map_list"]}
    other = {"b64": text(picture), "target": 3, "method": "rise:masks=20", "seed": 7, "outputs": ["record"]}
    status, told = sent(served, [one, other, text(picture)])
    assert status == 200, told
    first, second, third = told["explanations"]
    assert (first["record"]["target"]["index"], first["record"]["settings"]["mu"]) == (2, 0.3)
    expected = model.explainer.explain(picture, 2, mu=0.3).map
    np.testing.assert_allclose(np.array(first["map_list"], np.float32), expected, atol=1e-5)
    assert (second["record"]["method"], second["record"]["settings"]["seed"]) == ("rise", 7)
    assert list(second) == ["record"]
    assert list(third) == ["record", "overlay", "map"]
    # What is predicted is not what is explained.
    assert len({prediction["index"] for prediction in told["predictions"]}) == 1


def test_arrays_of_more_bits_say_so(served, pixels):
    deep = (pixels.astype(np.uint16) * 16).tolist()
    status, told = sent(served, [{"image": deep, "bit_depth": 12, "outputs": ["record"]}])
    assert status == 200, told
    assert told["explanations"][0]["record"]["picture"]["bit_depth"] == 12
    assert refused(served, {"instances": [{"image": deep}]})[0] == 400


def test_a_grey_array_is_a_picture(served, pixels):
    status, told = sent(served, [{"image": pixels[..., 0].tolist(), "outputs": ["record"]}])
    assert status == 200, told
    assert told["explanations"][0]["record"]["picture"]["shape"] == [40, 60]


def test_predictions_alone(served, model, picture):
    status, told = sent(served, [text(picture)] * 2, PREDICT)
    assert status == 200
    assert set(told) == {"predictions"}
    first, second = told["predictions"]
    assert first == second
    expected = model.explainer.confidences(picture)
    assert first["index"] == expected.argmax()
    assert [one["confidence"] for one in first["best"]] == pytest.approx(sorted(expected)[::-1], abs=1e-6)


def test_models(served):
    assert served.json("GET", "/v1/models") == (200, {"models": ["small"]})
    assert served.json("GET", "/v1/models/small") == (200, {"name": "small", "ready": True})
    assert served.refused("GET", "/v1/models/none")[::2] == (404, "model")
    assert refused(served, {"instances": [[[0]]]}, "/v1/models/none:explain")[::2] == (404, "model")


def test_alive(served):
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        assert served.json("GET", "/", headers=accept) == (200, {"status": "alive"})
    status, headers, _ = served.ask("GET", "/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (status, headers["Vary"]) == (200, "Accept")
    assert headers["Content-Type"].startswith("text/html")


GOOD = text(encoded(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8), "PNG"))
BODIES = {
    "nothing": (b"", None, "no body"),
    "text": (b"hello", None, "no JSON"),
    "a list": (b"[]", None, "`object`"),
    "deep": (b'{"instances": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", None, "deeper than 64"),
    "deep objects": (b'{"instances": ' + b'{"a":' * 10_000, None, "deeper than 64"),
    "NaN": (b'{"instances": [[[NaN]]]}', None, "no JSON"),
    "Infinity": (b'{"instances": [[[Infinity]]]}', None, "no JSON"),
    "no instances": ({}, "instances", "no instances"),
    "both": ({"instances": [], "inputs": []}, "instances", "both"),
    "another key": ({"instances": [GOOD], "signature_name": "x"}, "signature_name", "unknown"),
    "none": ({"instances": []}, "instances", "is empty"),
    "too many": ({"instances": [GOOD] * (MOST + 1)}, "instances", f"{MOST} at a time"),
    "a number": ({"instances": [GOOD, 5]}, "instances[1]", "is no picture"),
    "null": ({"instances": [None]}, "instances[0]", "is no picture"),
    "another object": ({"instances": [{"x": 1}]}, "instances[0].image", "no image"),
    "two pictures": ({"instances": [{"image": GOOD, "b64": GOOD}]}, "instances[0].image", "two pictures"),
    "a path": ({"instances": ["/etc/passwd"]}, "instances[0]", "base64"),
    "an address": ({"instances": [{"image": "http://localhost/a"}]}, "instances[0].image", "base64"),
    "no base64": ({"instances": [{"image": {"b64": "?"}}]}, "instances[0].image.b64", "base64"),
    "b64 of a number": ({"instances": [{"b64": 5}]}, "instances[0].b64", "is no picture"),
    "empty": ({"instances": [""]}, "instances[0]", "is empty"),
    "no picture": ({"instances": [GOOD, {"b64": "aGVsbG8="}]}, "instances[1].b64", "no picture"),
    "an empty array": ({"instances": [[]]}, "instances[0]", "empty"),
    "one dimension": ({"instances": [[1, 2]]}, "instances[0]", "1 dimension:"),
    "four": ({"instances": [[[[[1]]]]]}, "instances[0]", "4 dimensions"),
    "ragged": ({"instances": [{"image": [[1, 2], [1]]}]}, "instances[0].image", "different lengths"),
    "mixed": ({"instances": [{"image": [[1, 2], 3]}]}, "instances[0].image[1]", "`array`"),
    "too bright": ({"instances": [{"image": [[1, 256]]}]}, "instances[0].image[0][1]", "255"),
    "negative": ({"instances": [[[1, -1]]]}, "instances[0][0][1]", ">= 0"),
    "a fraction": ({"instances": [[[1, 0.5]]]}, "instances[0][0][1]", "`int`"),
    "null within": ({"instances": [[[1, None]]]}, "instances[0][0][1]", "`int`"),
    "seven channels": ({"instances": [[[[1] * 7] * 4] * 4]}, "instances[0]", "channels"),
    "a class": ({"instances": [GOOD, GOOD, {"b64": GOOD, "target": 77}]}, "instances[2].target", "0 to 4"),
    "a label": ({"inputs": [{"b64": GOOD, "target": "zebra"}]}, "inputs[0].target", "zebra"),
    "an odd target": ({"inputs": [{"b64": GOOD, "target": [1]}]}, "inputs[0].target", "target"),
    "a method": ({"inputs": [{"b64": GOOD, "method": "magic"}]}, "inputs[0].method", "rise"),
    "an odd method": ({"inputs": [{"b64": GOOD, "method": {"a": 1}}]}, "inputs[0].method", ""),
    "an option": ({"inputs": [{"b64": GOOD, "nonsense": 1}]}, "inputs[0].nonsense", "no option"),
    "a range": ({"inputs": [{"b64": GOOD, "mu": 7}]}, "inputs[0].mu", "0 <= mu < 1"),
    "a large number": ({"inputs": [{"b64": GOOD, "max_seconds": 10**400}]}, "inputs[0].max_seconds", ""),
    "outputs": ({"inputs": [{"b64": GOOD, "outputs": ["pdf"]}]}, "inputs[0].outputs", "map_list"),
    "odd outputs": ({"inputs": [{"b64": GOOD, "outputs": "map"}]}, "inputs[0].outputs", "map_list"),
    "odder outputs": ({"inputs": [{"b64": GOOD, "outputs": [[1]]}]}, "inputs[0].outputs", "map_list"),
}


@pytest.mark.parametrize("case", list(BODIES))
def test_a_wrong_body_is_named(served, case):
    body, field, words = BODIES[case]
    for path in (EXPLAIN, PREDICT):
        status, message, told = refused(served, body, path)
        assert (status, told) == (413 if case == "too many" else 400, field), message
        assert words in message
        assert field is None or field.partition(".")[0] in message, message
    assert not served.service.work.turns
    assert sent(served, [GOOD], PREDICT)[0] == 200


def test_a_compressed_body_is_refused(served):
    status, _, field = served.refused("POST", EXPLAIN, b"x", {"Content-Encoding": "gzip"})
    assert (status, field) == (415, "Content-Encoding")


def test_nothing_to_show_for_one_refuses_all_and_names_it(served, pixels, model, monkeypatch):
    from sise_rt.errors import NoEvidence

    kept = model.explainer.explain
    grey = [[[0, 0, 0]] * 4] * 4

    def explain(picture, *arguments, **options):
        if picture.pixels.shape[0] == 4:
            raise NoEvidence("nothing speaks for it")
        return kept(picture, *arguments, **options)

    monkeypatch.setattr(model.explainer, "explain", explain)
    status, message, field = refused(served, {"instances": [pixels.tolist(), grey, pixels.tolist()]})
    assert (status, field) == (422, "instances[1]")
    assert message.startswith("instances[1]: ")
