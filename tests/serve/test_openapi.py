"""The OpenAPI document says what the routes do: which there are, what they take, and what they answer."""

import json

import jsonschema
import pytest
from starlette.routing import compile_path

from benchmarks.serve.bad_requests import BODIES, QUERIES
from sise_rt.methods import METHODS
from sise_rt.serve.app import make_app
from sise_rt.serve.asked import OWN
from sise_rt.serve.openapi import document
from sise_rt.serve.refusals import refusal_of
from sise_rt.serve.settings import Settings
from sise_rt.serve.static import page_routes

VERBS = ("GET", "POST", "DELETE", "PUT", "PATCH")
HEADERS = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def told(served):
    status, told = served.json("GET", "/openapi.json")
    assert status == 200
    return told


def operations(told):
    return {
        (verb.upper(), path): told for path, verbs in told["paths"].items() for verb, told in verbs.items()
    }


def resolved(told, part):
    while "$ref" in part:
        _, *names = part["$ref"].split("/")
        part = told
        for name in names:
            part = part[name]
    return part


def references(part):
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else ()
        part = list(part.values())
    if isinstance(part, list):
        for within in part:
            yield from references(within)


def test_it_has_every_route_and_no_other(models, told):
    files = {route.path for route in page_routes()} - {"/"}
    routes = {
        (verb, route.path)
        for route in make_app(models, Settings(), example=True).routes
        for verb in route.methods & set(VERBS)
        if route.path not in files
    }
    assert set(operations(told)) == routes


def test_what_it_refers_to_is_there_and_is_used(told):
    used = set(references(told))
    for reference in used:
        assert resolved(told, {"$ref": reference})
    for kind in ("schemas", "parameters"):
        there = {f"#/components/{kind}/{name}" for name in told["components"][kind]}
        assert there <= used


def test_every_schema_is_one(told):
    for schema in told["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for operation in operations(told).values():
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                jsonschema.Draft202012Validator.check_schema(content["schema"])


def test_parameters_of_addresses_are_told(told):
    for (_, path), operation in operations(told).items():
        given = [resolved(told, one) for one in operation.get("parameters", ())]
        names = [one["name"] for one in given if one["in"] == "path"]
        assert names == list(compile_path(path)[2]), path


@pytest.mark.parametrize(("path", "more"), [("/explain", {"model", "format"}), ("/jobs", {"model"})])
def test_fields_are_those_that_are_taken(told, path, more):
    operation = told["paths"][path]["post"]
    names = {one["name"] for one in operation["parameters"]}
    options = {option.name for method in METHODS.values() for option in method.options}
    assert names == options | set(OWN) | more
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(form) == names | {"image"}


def test_models_are_told_by_name(told, models):
    assert told["components"]["parameters"]["name"]["schema"]["enum"] == list(models)


def test_a_proxys_path_is_told(models):
    assert document(models, "/sise")["servers"] == [{"url": "/sise"}]


def valid(told, schema, value):
    registry = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": told["components"]}
    jsonschema.validate(value, registry | schema)


def answered(served, told, verb, path, address, body=None, headers=None):
    """The status of an answer, which is one of those that the document has for it."""
    status, given, content = served.ask(verb, address, body, headers)
    answers = told["paths"][path][verb.lower()]["responses"]
    assert str(status) in answers, f"{verb} {address}: {status} {content[:200]!r}"
    contents = answers[str(status)].get("content", {})
    kind = given.get("Content-Type", "").partition(";")[0]
    assert (kind in contents) if content else not contents, (verb, address, kind)
    if kind == "application/json":
        valid(told, contents[kind]["schema"], json.loads(content))
    return status


def test_good_answers_are_as_told(served, told, picture):
    job = served.job(picture, "?check=1&budget=0.2")
    served.ended(job)
    id_ = job.rpartition("/")[2]
    version = served.json("GET", "/v2/models/small")[1]["versions"][0]
    parts = told["paths"]["/jobs/{id}/{part}"]["get"]["parameters"][1]["schema"]["enum"]
    asked = set()
    for (verb, path), operation in operations(told).items():
        if verb != "GET" or path == "/example.png":
            continue
        for part in parts if "{part}" in path else [""]:
            address = path.format(name="small", version=version, id=id_, part=part, number=1)
            assert answered(served, told, verb, path, address) == 200
        asked.add((verb, path))
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert content is None
    for path in ("/explain", "/jobs"):
        expected = 200 if path == "/explain" else 202
        assert answered(served, told, "POST", path, f"{path}?budget=0.1", picture) == expected
        asked.add(("POST", path))
    for (verb, path), operation in operations(told).items():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None:  # the document's own example
            (example,) = content["schema"]["examples"]
            valid(told, content["schema"], example)
            address = path.format(name="small", version=version)
            body = json.dumps(example).encode()
            assert answered(served, told, verb, path, address, body, HEADERS) in (200, 422)
            asked.add((verb, path))
    assert answered(served, told, "DELETE", "/jobs/{id}", f"/jobs/{id_}?forget=1") == 204
    asked.add(("DELETE", "/jobs/{id}"))
    assert asked == set(operations(told)) - {("GET", "/example.png")}


@pytest.mark.parametrize("number", ["0", "4", "-1", "x", "1.5", "01", "9" * 5000])
def test_a_block_that_is_none_is_not_found(served, told, picture, number):
    job = served.job(picture, "?budget=0.1")
    served.ended(job)
    path = "/jobs/{id}/blocks/{number}.png"
    assert answered(served, told, "GET", path, f"{job}/blocks/{number}.png") == 404


def test_refusals_are_as_told(served, told, picture):
    for (verb, path), _ in operations(told).items():
        if "{" in path:
            address = path.format(name="none", version="none", id="none", part="none", number=1)
            assert answered(served, told, verb, path, address, b"{}" if verb == "POST" else None) == 404
    for path in ("/explain", "/jobs"):
        for body, headers, *_ in BODIES.values():
            answered(served, told, "POST", path, path, body, headers)
        for query in QUERIES:
            if path == "/explain" or not query.startswith("format"):
                answered(served, told, "POST", path, f"{path}?{query}", picture)
        assert answered(served, told, "POST", path, path, picture, {"Content-Encoding": "gzip"}) == 415
    assert answered(served, told, "POST", "/explain", "/explain", picture, {"Accept": "a/b"}) == 406
    for action in ("explain", "predict"):
        path = f"/v1/models/{{name}}:{action}"
        for body in (b"", b"{", b'{"instances": [[[1]]], "x": 1}'):
            assert answered(served, told, "POST", path, path.format(name="small"), body, HEADERS) == 400
    infer = "/v2/models/{name}/infer"
    assert answered(served, told, "POST", infer, infer.format(name="small"), b"[]", HEADERS) == 400


def test_every_refusal_of_an_error_is_told_where_the_device_works(told):
    from sise_rt import errors

    statuses = {
        str(refusal_of(kind("x")).status)
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SiseError)
    }
    for (verb, path), operation in operations(told).items():
        if verb == "POST":
            assert statuses | {"401", "403", "408", "413", "429"} <= set(operation["responses"]), path


def test_a_full_queue_and_the_end_are_told(held, told, picture):
    jobs = [held.job(picture) for _ in range(3)]
    assert answered(held, told, "POST", "/explain", "/explain", picture) == 429
    assert answered(held, told, "POST", "/v1/models/{name}:explain", "/v1/models/small:explain", b"{}") == 429
    part = "/jobs/{id}/{part}"
    assert answered(held, told, "GET", part, f"{jobs[0]}/overlay.png") == 409
    held.service.work.draining = True
    for path in ("/v2/health/ready", "/v1/models/{name}", "/v2/models/{name}/ready"):
        assert answered(held, told, "GET", path, path.format(name="small")) == 503
    assert answered(held, told, "POST", "/explain", "/explain", picture) == 503
    held.let_go.set()
