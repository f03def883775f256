"""The Open Inference Protocol: tensors in, tensors out, as JSON and as bytes behind it."""

import base64
import io
import json
import struct

import cv2
import numpy as np
import pytest

from benchmarks.serve.bad_requests import encoded
from sise_rt.records import record_schema
from sise_rt.serve.batch import MOST

INFER = "/v2/models/small/infer"
LENGTH = "Inference-Header-Content-Length"
PIXELS = np.random.default_rng(2).integers(0, 256, (2, 24, 30, 3), np.uint8)
PNG = encoded(PIXELS[0], "PNG")


def tensor(**more):
    return {"name": "image", "datatype": "UINT8", "shape": [*PIXELS.shape]} | more


def texts(*pictures):
    data = [base64.b64encode(one).decode() for one in pictures]
    return {"name": "image", "datatype": "BYTES", "shape": [len(data)], "data": data}


def asked(*names, **more):
    return {"outputs": [{"name": name} for name in names]} | more


def inferred(served, request, binary=b"", path=INFER):
    """The tensors of an answer by name, as arrays or lists of bytes; what is told as JSON is that."""
    head = json.dumps(request).encode()
    headers = {LENGTH: str(len(head))} if binary else {}
    status, headers, content = served.ask("POST", path, head + binary, headers)
    assert status == 200, content
    told, at = json.loads(content[: int(headers.get(LENGTH, len(content)))]), int(headers.get(LENGTH, 0))
    assert set(told) == {"model_name", "model_version", "id", "outputs"}
    found = {}
    for one in told["outputs"]:
        size = one.get("parameters", {}).get("binary_data_size")
        assert ("data" in one) == (size is None)
        raw = None if size is None else content[at : at + size]
        at += size or 0
        found[one["name"]] = decoded(one, raw)
    assert at in (0, len(content))
    return told, found


def decoded(told, raw):
    if told["datatype"] != "BYTES":
        kind = {"FP32": "<f4", "INT64": "<i8"}[told["datatype"]]
        values = np.array(told["data"], kind) if raw is None else np.frombuffer(raw, kind)
        return values.reshape(told["shape"])
    if raw is None:
        encoding = told.get("parameters", {}).get("content_type")
        return [base64.b64decode(one) if encoding == "base64" else one.encode() for one in told["data"]]
    found = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        found.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    assert told["shape"] == [len(found)]
    return found


@pytest.fixture(scope="module")
def expected(model):
    return [model.explainer.explain(one) for one in PIXELS]


WAYS = {
    "flat JSON": (tensor(data=PIXELS.ravel().tolist()), b""),
    "nested JSON": (tensor(data=PIXELS.tolist()), b""),
    "bytes": (tensor(parameters={"binary_data_size": PIXELS.nbytes}), PIXELS.tobytes()),
    "texts": (texts(*(encoded(one, "PNG") for one in PIXELS)), b""),
}


@pytest.mark.parametrize("back", [False, True], ids=["JSON back", "bytes back"])
@pytest.mark.parametrize("way", list(WAYS))
def test_every_way_there_and_back_gives_what_the_library_gives(served, expected, way, back):
    sent, binary = WAYS[way]
    told, found = inferred(
        served, {"id": "a7", "inputs": [sent], "parameters": {"binary_data_output": back}}, binary
    )
    assert (told["model_name"], told["id"]) == ("small", "a7")
    assert list(found) == ["map", "class", "label", "confidence", "logits", "overlay", "record"]
    np.testing.assert_allclose(found["map"], [one.map for one in expected], atol=1e-5)
    assert found["class"].tolist() == [one.target for one in expected]
    assert found["label"] == [one.label.encode() for one in expected]
    np.testing.assert_allclose(found["confidence"], [one.confidence for one in expected], atol=1e-5)
    assert found["logits"].argmax(1).tolist() == found["class"].tolist()
    for overlay in found["overlay"]:
        assert cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_COLOR) is not None
    for record in found["record"]:
        assert json.loads(record)["schema"] == record_schema()["properties"]["schema"]["const"]


def test_encoded_pictures_as_bytes_have_their_lengths_before_them(served, expected):
    pictures = [encoded(one, "PNG") for one in PIXELS]
    raw = b"".join(struct.pack("<I", len(one)) + one for one in pictures)
    sent = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [2, 1],
        "parameters": {"binary_data_size": len(raw)},
    }
    _, found = inferred(served, asked("class", inputs=[sent]), raw)
    assert found["class"].tolist() == [one.target for one in expected]


def test_outputs_are_those_asked_for_each_in_its_way(served):
    outputs = [
        {"name": "confidence"},
        {"name": "map", "parameters": {"binary_data": True}},
        {"name": "overlay", "parameters": {"binary_data": False}},
    ]
    told, found = inferred(
        served, {"inputs": [texts(PNG)], "outputs": outputs, "parameters": {"budget": 0.5}}
    )
    assert list(found) == ["confidence", "map", "overlay"]
    assert ["data" in one for one in told["outputs"]] == [True, False, True]
    assert found["map"].shape == (1, 32, 32)
    assert found["overlay"][0].startswith(b"\x89PNG")


def test_what_takes_no_explanation_makes_none(served, model, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("an explanation")

    monkeypatch.setattr(model.explainer, "explain", refuse)
    names = ("class", "label", "confidence", "logits")
    _, found = inferred(served, asked(*names, inputs=[texts(PNG)], parameters={"target": 3}))
    assert (found["class"].tolist(), found["label"]) == ([3], [b"d"])
    np.testing.assert_allclose(found["confidence"], model.explainer.confidences(PNG)[[3]], atol=1e-6)


def test_parameters_are_those_of_every_picture(served):
    parameters = {"target": "b", "method": "rise", "masks": 20, "seed": 5}
    _, found = inferred(served, asked("class", "record", inputs=[texts(PNG, PNG)], parameters=parameters))
    assert found["class"].tolist() == [1, 1]
    assert [json.loads(one)["settings"]["seed"] for one in found["record"]] == [5, 5]


def test_sixteen_bits(served):
    deep = PIXELS[:1].astype("<u2") * 16
    sent = {"name": "image", "datatype": "UINT16", "shape": [*deep.shape]}
    raw = sent | {"parameters": {"binary_data_size": deep.nbytes}}
    request = asked("record", inputs=[raw], parameters={"bit_depth": 12})
    _, by_bytes = inferred(served, request, deep.tobytes())
    _, by_json = inferred(served, request | {"inputs": [sent | {"data": deep.ravel().tolist()}]})
    hashes = {json.loads(found["record"][0])["picture"]["sha256"] for found in (by_bytes, by_json)}
    assert len(hashes) == 1


def test_metadata(served, model):
    assert served.json("GET", "/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert served.json("GET", "/v2/models") == (200, {"models": ["small"]})
    status, told = served.json("GET", "/v2/models/small")
    assert status == 200
    (version,) = told["versions"]
    assert model.explainer.engine.sessions.bundle_sha256.startswith(version)
    assert told["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    answer, found = inferred(
        served, {"inputs": [texts(PNG)]}, path=f"/v2/models/small/versions/{version}/infer"
    )
    assert answer["model_version"] == version
    for output, sent in zip(told["outputs"], answer["outputs"], strict=True):
        assert (output["name"], output["datatype"]) == (sent["name"], sent["datatype"])
        assert [
            -1 if wanted == -1 else has for wanted, has in zip(output["shape"], sent["shape"], strict=True)
        ] == output["shape"]
    assert len(found) == len(told["outputs"])
    assert served.json("GET", f"/v2/models/small/versions/{version}") == (200, told)
    ready = {"name": "small", "ready": True}
    assert served.json("GET", f"/v2/models/small/versions/{version}/ready") == (200, ready)
    assert served.json("GET", "/v2/models/small/ready") == (200, ready)
    assert served.refused("GET", "/v2/models/small/versions/1")[::2] == (404, "version")
    assert served.refused("GET", "/v2/models/none/ready")[::2] == (404, "model")


def test_health_has_both_words(served):
    assert served.json("GET", "/v2/health/live") == (200, {"live": True, "ready": True})
    assert served.json("GET", "/v2/health/ready") == (200, {"live": True, "ready": True})


def one(**more):
    return {"inputs": [texts(PNG)]} | more


REQUESTS = {
    "no inputs": ({}, "inputs", "missing"),
    "two inputs": ({"inputs": [texts(PNG), texts(PNG)]}, "inputs", "send one"),
    "no input": ({"inputs": []}, "inputs", "none"),
    "another name": ({"inputs": [tensor(name="x", data=[])]}, "inputs", "'x'"),
    "another key": ({"inputs": [texts(PNG) | {"x": 1}]}, "inputs[0].x", "unknown"),
    "another model": (one(model_name="x"), "model_name", "small"),
    "another version": (one(model_version="1"), "model_version", "'1'"),
    "no name": ({"inputs": [{"datatype": "BYTES"}]}, "inputs[0].name", "missing"),
    "a type": ({"inputs": [tensor(datatype="FP32", data=[])]}, "inputs[0].datatype", "UINT8"),
    "an odd type": ({"inputs": [tensor(datatype=8, data=[])]}, "inputs[0].datatype", "`str`"),
    "an extent below 0": ({"inputs": [tensor(shape=[-1], data=[])]}, "inputs[0].shape[0]", ">= 0"),
    "a huge extent": ({"inputs": [tensor(shape=[10**30], data=[])]}, "inputs[0].shape[0]", ""),
    "many extents": ({"inputs": [tensor(shape=[1] * 9, data=[])]}, "inputs[0].shape", ""),
    "no extents": ({"inputs": [tensor(shape=[], data=[])]}, "inputs[0].shape", "[N, H, W, C]"),
    "no pictures": ({"inputs": [tensor(shape=[0, 2, 2, 3], data=[])]}, "inputs[0].shape", "[N, H, W, C]"),
    "no data": ({"inputs": [tensor()]}, "inputs[0].data", "neither"),
    "too little": ({"inputs": [tensor(data=[1, 2, 3])]}, "inputs[0].data", "[3]"),
    "another shape": (
        {"inputs": [tensor(shape=[1, 2, 1, 3], data=[[[1] * 3] * 2])]},
        "inputs[0].data",
        "[1, 2, 3]",
    ),
    "ragged": ({"inputs": [tensor(data=[[1], [2, 3]])]}, "inputs[0].data", "different lengths"),
    "mixed": ({"inputs": [tensor(data=[[1], 2])]}, "inputs[0].data[1]", "`array`"),
    "too bright": ({"inputs": [tensor(data=[256])]}, "inputs[0].data[0]", "255"),
    "texts as pixels": ({"inputs": [tensor(data=["a"])]}, "inputs[0].data[0]", "`int`"),
    "no list": ({"inputs": [tensor(data=5)]}, "inputs[0].data", "no array"),
    "pixels as texts": ({"inputs": [texts(PNG) | {"data": [1]}]}, "inputs[0].data[0]", "`str`"),
    "no texts": ({"inputs": [texts()]}, "inputs[0]", "is empty"),
    "no base64": ({"inputs": [texts(PNG) | {"data": ["?"]}]}, "inputs[0].data[0]", "base64"),
    "no picture": ({"inputs": [texts(PNG, b"hello")]}, "inputs[0].data[1]", "no picture"),
    "a wrong number": ({"inputs": [texts(PNG) | {"shape": [2]}]}, "inputs[0].shape", "[N]"),
    "an odd parameter": ({"inputs": [texts(PNG) | {"parameters": {"x": 1}}]}, "inputs[0].parameters", ""),
    "a class": (one(parameters={"target": 77}), "parameters.target", "0 to 4"),
    "an option": (one(parameters={"nonsense": 1}), "parameters.nonsense", "no option"),
    "a range": (one(parameters={"mu": 7}), "parameters.mu", "0 <= mu < 1"),
    "a flag": (one(parameters={"binary_data_output": 1}), "parameters.binary_data_output", "true"),
    "an output": (one(outputs=[{"name": "x"}]), "outputs[0].name", "overlay"),
    "an output twice": (one(outputs=[{"name": "map"}] * 2), "outputs[1].name", "second"),
    "an odd output": (
        one(outputs=[{"name": "map", "parameters": {"classification": 2}}]),
        *("outputs[0].parameters", "binary_data"),
    ),
    "a flag of an output": (
        one(outputs=[{"name": "map", "parameters": {"binary_data": 1}}]),
        *("outputs[0].parameters.binary_data", "true"),
    ),
    "bytes that are not there": (
        {"inputs": [tensor(parameters={"binary_data_size": 8})]},
        *("inputs[0].parameters.binary_data_size", "0 bytes follow"),
    ),
    "bytes and data": (
        {"inputs": [tensor(parameters={"binary_data_size": 8}, data=[])]},
        *("inputs[0].data", "both"),
    ),
}


@pytest.mark.parametrize("case", list(REQUESTS))
def test_a_wrong_request_is_named(served, case):
    body, field, words = REQUESTS[case]
    status, message, told = served.refused("POST", INFER, json.dumps(body).encode())
    assert (status, told) == (400, field), message
    assert words in message
    assert not served.service.work.turns


TORN = struct.pack("<I", 100) + b"abc"
BINARY = {
    "a length that is none": ({"inputs": []}, b"", {LENGTH: "-1"}, LENGTH, "-1"),
    "a length beyond the body": ({"inputs": []}, b"", {LENGTH: "1000000"}, LENGTH, "1000000"),
    "a length of digits": ({"inputs": []}, b"", {LENGTH: "9" * 5000}, LENGTH, ""),
    "a length within the JSON": (one(), b"", {LENGTH: "5"}, None, "no JSON"),
    "bytes left over": (one(), b"abc", {}, "inputs[0].parameters.binary_data_size", "3 bytes"),
    "too few": (
        {"inputs": [tensor(parameters={"binary_data_size": 5})]},
        *(b"abc", {}, "inputs[0].parameters.binary_data_size", "3 bytes"),
    ),
    "another size than the shape's": (
        {"inputs": [tensor(parameters={"binary_data_size": 3})]},
        *(b"abc", {}, "inputs[0].parameters.binary_data_size", f"{PIXELS.nbytes:,}"),
    ),
    "an element that is torn": (
        {"inputs": [texts(PNG) | {"parameters": {"binary_data_size": len(TORN)}}]},
        *(TORN, {}, "inputs[0].parameters.binary_data_size", "within an element"),
    ),
    "half a length": (
        {"inputs": [texts(PNG) | {"parameters": {"binary_data_size": 2}}]},
        *(b"ab", {}, "inputs[0].parameters.binary_data_size", "within an element"),
    ),
}


@pytest.mark.parametrize("case", list(BINARY))
def test_wrong_bytes_are_named(served, case):
    request, binary, headers, field, words = BINARY[case]
    if binary and "data" in request["inputs"][0] and "parameters" in request["inputs"][0]:
        del request["inputs"][0]["data"]
    head = json.dumps(request).encode()
    status, message, told = served.refused("POST", INFER, head + binary, {LENGTH: str(len(head))} | headers)
    assert (status, told) == (400, field), message
    assert words in message


def test_what_is_too_much_is_refused_before_it_is_decoded(served):
    huge = {"inputs": [tensor(shape=[1, 100_000, 100_000, 3], data=[])]}
    status, message, field = served.refused("POST", INFER, json.dumps(huge).encode())
    assert (status, field) == (413, "inputs[0].shape")
    many = {"inputs": [texts(*[PNG] * (MOST + 1))]}
    status, message, field = served.refused("POST", INFER, json.dumps(many).encode())
    assert (status, field) == (413, "inputs[0]")
    assert f"{MOST} at a time" in message
    flat = json.dumps({"inputs": [tensor(shape=[1, 1200, 1000, 3])]})[:-3].encode()
    status, message, field = served.refused("POST", INFER, flat + b',"data":[' + b"0," * 3_400_000 + b"0]}]}")
    assert (status, field) == (413, "inputs[0].data")
    assert "3,300,000 numbers" in message
    lists = {"inputs": [tensor(shape=[1, 1200, 1000, 1])]}
    body = json.dumps(lists)[:-3].encode() + b',"data":[' + b"[0]," * 1_200_000 + b"[0]]}]}"
    status, message, field = served.refused("POST", INFER, body)
    assert (status, field) == (413, "inputs[0].data")


def test_a_file_of_numpys_is_a_picture_too(served, expected):
    file = io.BytesIO()
    np.save(file, PIXELS[0])
    _, found = inferred(served, asked("class", inputs=[texts(file.getvalue())]))
    assert found["class"][0] == expected[0].target
