"""The OpenAPI document: every route of the server but the page's own files, with all that it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sise_rt import __version__

from .explaining import FORMATS
from .job_routes import PARTS
from .models import Model
from .replies import Json
from .schemas import array, components, fields, ref, text
from .service import service_of
from .tensors import LENGTH
from .v2 import version_of

JSON, OCTETS, FORM = "application/json", "application/octet-stream", "multipart/form-data"
GUARDED = (401, 403, 500)  # of every route
ADMITTED = (400, 404, 408, 413, 415, 422, 429, 503)  # of what the device does
MEANINGS = {
    200: "As it was asked for.",
    202: "It is started.",
    204: "It ends.",
    400: "A part of the request is none, or is out of its range.",
    401: "The token is missing.",
    403: "The page of another site asks, or the server is asked by a name that is not its own.",
    404: "There is none.",
    406: "None of the accepted types can be given.",
    408: "The body came too slowly.",
    409: "It is not done.",
    413: "The request, a picture or an array is too large.",
    415: "The body is compressed.",
    422: "Nothing speaks for the class, or the time was over before there was anything to show.",
    429: "The queue is full, or the time was over before the turn came.",
    500: "The server failed.",
    503: "The server is about to end, or is out of memory.",
}

Told = dict[str, Any]

NAME, VERSION = ({"$ref": f"#/components/parameters/{name}"} for name in ("name", "version"))
SQUARE = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]  # a picture, (2, 2, 3)


def _answer(status: int, content: Mapping[str, Told]) -> Told:
    told: Told = {"description": MEANINGS[status]}
    if content:
        told["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    if status in (429, 503):
        told["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    if status == 202:
        told["headers"] = {"Location": {"description": "Of the job.", "schema": text()}}
    return told


def _operation(
    summary: str,
    content: Mapping[str, Told],
    *refused: int,
    status: int = 200,
    parameters: Sequence[Told] = (),
    body: Mapping[str, Told] | None = None,
) -> Told:
    """An operation.

    Args:
        summary: in one sentence.
        content: of the answer, the schema by the media type.
        refused: statuses of refusals, besides those of every route.
        status: of the answer.
        parameters: of the address and the headers.
        body: of the request, as `content`.
    """
    answers = {str(status): _answer(status, content)}
    answers |= {str(one): _answer(one, {JSON: ref("Error")}) for one in sorted({*refused, *GUARDED})}
    told: Told = {"summary": summary, "responses": answers}
    if parameters:
        told["parameters"] = list(parameters)
    if body:
        content_of = {kind: {"schema": schema} for kind, schema in body.items()}
        told["requestBody"] = {"required": True, "content": content_of}
    return told


def _in_path(name: str, schema: Told) -> Told:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(name: str, schema: Told) -> Told:
    told = {"name": name, "in": "query", "schema": schema}
    return told | ({"description": schema["description"]} if "description" in schema else {})


def _in_header(name: str, schema: Told) -> Told:
    return {"name": name, "in": "header", "schema": schema}


def _pictures(more: Mapping[str, Told]) -> dict[str, Told]:
    """The bodies of what takes a picture: it alone, or a form."""
    form = {"image": text(format="binary"), **more}
    return {
        OCTETS: text(format="binary"),
        FORM: {"type": "object", "properties": form, "required": ["image"]},
    }


def _bare(kind: str) -> str:
    """A media type without parameters."""
    return kind.partition(";")[0]


def _plain() -> dict[str, Told]:
    model = {"model": text()}
    asked = model | fields()
    form = {"format": text(enum=list(FORMATS))}
    drawn = {_bare(kind): text(format="binary") for kind, _ in FORMATS.values()} | {JSON: ref("Record")}
    alive = _operation(
        "That the server is alive; the page for browsers.", {JSON: ref("Alive"), "text/html": text()}
    )
    return {
        "/": {"get": alive},
        "/example.png": {
            "get": _operation(
                "The picture of the model that ships, where it is served.",
                {"image/png": text(format="binary")},
                404,
            )
        },
        "/models": {"get": _operation("The models, and what each can do.", {JSON: array(ref("Model"))})},
        "/models/{name}/labels": {
            "get": _operation(
                "Classes of a model whose label has some words in it.",
                {JSON: array(ref("Label"))},
                *(400, 404),
                parameters=[NAME, _in_query("q", text())],
            )
        },
        "/explain": {
            "post": _operation(
                "The explanation of a picture.",
                drawn,
                *(*ADMITTED, 406),
                parameters=[_in_query(*one) for one in (asked | form).items()],
                body=_pictures(asked | form),
            )
        },
        "/metrics": {"get": _operation("The server's numbers, for Prometheus.", {"text/plain": text()})},
        "/openapi.json": {"get": _operation("This document.", {JSON: {"type": "object"}})},
    }


def _jobs() -> dict[str, Told]:
    """What takes longer than a client waits."""
    asked = {"model": text()} | fields()
    job, part = _in_path("id", text(minLength=1)), _in_path("part", text(enum=list(PARTS)))
    parts = {_bare(kind): text(format="binary") for kind, _ in PARTS.values()}
    parts[JSON] = {"anyOf": [ref("Record"), ref("Check")]}
    last = _in_header("Last-Event-ID", text())
    return {
        "/jobs": {
            "post": _operation(
                "Start a job that explains a picture.",
                {JSON: ref("Started")},
                *ADMITTED,
                status=202,
                parameters=[_in_query(*one) for one in asked.items()],
                body=_pictures(asked),
            )
        },
        "/jobs/{id}": {
            "get": _operation("Where a job stands.", {JSON: ref("Job")}, 404, parameters=[job]),
            "delete": _operation(
                "End a job; what it found is kept.",
                {},
                *(400, 404),
                status=204,
                parameters=[job, _in_query("forget", text(enum=["0", "1"]))],
            ),
        },
        "/jobs/{id}/events": {
            "get": _operation(
                "The events of a job, as they come.",
                {
                    "text/event-stream": {
                        "description": "Of each event `id`, `event` and `data`, which is JSON."
                    }
                },
                404,
                parameters=[job, last],
            )
        },
        "/jobs/{id}/blocks/{number}.png": {
            "get": _operation(
                "The map of a block over the picture; blocks count from 1.",
                {"image/png": text(format="binary")},
                *(404, 409),
                parameters=[job, _in_path("number", {"type": "integer", "minimum": 1})],
            )
        },
        "/jobs/{id}/{part}": {
            "get": _operation("A part of what a job found.", parts, *(404, 409), parameters=[job, part])
        },
    }


def _first() -> dict[str, Told]:
    """KServe's protocol v1."""
    name = [NAME]
    body = {JSON: ref("Instances") | {"examples": [{"instances": [{"image": SQUARE, "target": 0}]}]}}
    ready = _operation("Whether a model takes requests.", {JSON: ref("Ready")}, 404, parameters=name)
    ready["responses"]["503"] = _answer(503, {JSON: ref("Ready")})
    return {
        "/v1/models": {"get": _operation("The names of all models.", {JSON: ref("Names")})},
        "/v1/models/{name}": {"get": ready},
        "/v1/models/{name}:explain": {
            "post": _operation(
                "A prediction and an explanation for each instance.",
                {JSON: ref("Explained")},
                *ADMITTED,
                parameters=name,
                body=body,
            )
        },
        "/v1/models/{name}:predict": {
            "post": _operation(
                "A prediction for each instance.",
                {JSON: ref("Predicted")},
                *ADMITTED,
                parameters=name,
                body=body,
            )
        },
    }


def _second() -> dict[str, Told]:
    """The Open Inference Protocol, v2."""
    live = _operation("Whether the process answers.", {JSON: ref("Health")})
    ready = _operation("Whether requests are admitted.", {JSON: ref("Health")})
    ready["responses"]["503"] = _answer(503, {JSON: ref("Health")})
    paths = {
        "/v2": {"get": _operation("What the server is.", {JSON: ref("Server")})},
        "/v2/health/live": {"get": live},
        "/v2/health/ready": {"get": ready},
        "/v2/models": {"get": _operation("The names of all models.", {JSON: ref("Names")})},
    }
    tensor = {"name": "image", "shape": [1, 2, 2, 3], "datatype": "UINT8", "data": [SQUARE]}
    tensors = ref("Inference") | {"examples": [{"inputs": [tensor], "parameters": {"target": 0}}]}
    for version in ("", "/versions/{version}"):
        names = [NAME, *([VERSION] if version else [])]
        able = _operation("Whether a model takes requests.", {JSON: ref("Ready")}, 404, parameters=names)
        able["responses"]["503"] = _answer(503, {JSON: ref("Ready")})
        paths |= {
            f"/v2/models/{{name}}{version}": {
                "get": _operation(
                    "What a model takes and gives.", {JSON: ref("Metadata")}, 404, parameters=names
                )
            },
            f"/v2/models/{{name}}{version}/ready": {"get": able},
            f"/v2/models/{{name}}{version}/infer": {
                "post": _operation(
                    "Tensors of what is found for the pictures of a tensor.",
                    {JSON: ref("Inferred"), OCTETS: text(format="binary")},
                    *ADMITTED,
                    parameters=[*names, _in_header(LENGTH, {"type": "integer"})],
                    body={JSON: tensors, OCTETS: text(format="binary")},
                )
            },
        }
    return paths


def document(models: Mapping[str, Model], root: str = "") -> Told:
    """The document, of OpenAPI 3.1.

    Args:
        models: that are served, whose names it lists.
        root: path that a proxy puts before all paths.
    """
    versions = [version_of(model) for model in models.values()]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sise-rt",
            "version": __version__,
            "description": "Explanations of what an image classifier looked at. docs/serve.md has the words.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root or "/"}],
        "paths": _plain() | _jobs() | _first() | _second(),
        "components": {
            "schemas": components(),
            "parameters": {
                "name": _in_path("name", text(enum=list(models))),
                "version": _in_path("version", text(enum=list(dict.fromkeys(versions)))),
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


async def show(request: Request) -> Response:
    """The document, for where the server is mounted."""
    return Json(document(service_of(request).models, request.scope.get("root_path", "")))
