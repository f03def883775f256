"""The Open Inference Protocol (v2) over HTTP: metadata, readiness, and `infer` with pictures as a tensor."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from sise_rt import __version__
from sise_rt.answering import predict
from sise_rt.pictures.picture import Picture
from sise_rt.running.logits import confidences

from .asked import parse_asked
from .batch import Wanted, each, named, require_few
from .bodies import read_body, while_connected
from .explaining import Answer, explain_one, png
from .models import Model, model_named
from .refusals import Refused
from .replies import Json
from .service import Service, service_of
from .tensors import (
    BYTES,
    LENGTH,
    GivenTensor,
    Inference,
    WantedTensor,
    read_pictures,
    split_body,
    write_answer,
)
from .work import Turn

IMAGE = "image"  # the input
VERSION = 12  # digits of a version, which is the bundle's hash


@dataclass(frozen=True)
class Seen:
    """What was found for a picture, as far as an answer needs it.

    Attributes:
        target: the class that was explained, or would be.
        label: of it.
        confidence: in it.
        logits: (classes,); None where nobody asked for them.
        answer: None where nobody asked for an explanation.
    """

    target: int
    label: str
    confidence: float
    logits: np.ndarray | None = None
    answer: Answer | None = None


@dataclass(frozen=True)
class Output:
    """A tensor that can be asked for.

    Attributes:
        datatype: of the protocol.
        draw: gives what one picture adds to it.
        needs: `explanation`, `logits`, or nothing of these.
        text: whether its bytes are text.
    """

    datatype: str
    draw: Callable[[Any], Any]
    needs: str = ""
    text: bool = False


OUTPUTS: Mapping[str, Output] = {
    "map": Output("FP32", lambda seen: seen.answer.explanation.map, "explanation"),
    "class": Output("INT64", lambda seen: seen.target),
    "label": Output(BYTES, lambda seen: seen.label.encode("utf-8", "replace"), text=True),
    "confidence": Output("FP32", lambda seen: np.float32(seen.confidence)),
    "logits": Output("FP32", lambda seen: seen.logits, "logits"),
    "overlay": Output(BYTES, lambda seen: png(seen.answer), "explanation"),
    "record": Output(BYTES, lambda seen: json.dumps(seen.answer.record()).encode(), "explanation", text=True),
}
"""All of them, of which the explanation's are those that take long."""


async def show_server(request: Request) -> Response:
    """What the server is."""
    return Json({"name": "sise-rt", "version": __version__, "extensions": ["binary_tensor_data"]})


async def list_models(request: Request) -> Response:
    """The names of all models."""
    return Json({"models": list(service_of(request).models)})


async def show_model(request: Request) -> Response:
    """What a model takes and gives."""
    model = _model(request)
    size, manifest = model.explainer.manifest.input, model.explainer.manifest
    extents = {"map": [-1, size.height, size.width], "logits": [-1, manifest.classes]}
    planes = 3 if size.channels == 1 else size.channels
    return Json(
        {
            "name": model.name,
            "versions": [version_of(model)],
            "platform": "onnxruntime",
            "inputs": [{"name": IMAGE, "datatype": "UINT8", "shape": [-1, -1, -1, planes]}],
            "outputs": [
                {"name": name, "datatype": output.datatype, "shape": extents.get(name, [-1])}
                for name, output in OUTPUTS.items()
            ],
        }
    )


async def ready_model(request: Request) -> Response:
    """Whether a model takes requests; 503 while the server ends."""
    model, ready = _model(request), not service_of(request).work.draining
    return Json({"name": model.name, "ready": ready}, 200 if ready else 503)


async def infer(request: Request) -> Response:
    """Tensors of what is found for the pictures of a tensor."""
    service, model = service_of(request), _model(request)
    with service.work.admitted() as turn:
        body = await read_body(request, service.settings)
        length = request.headers.get(LENGTH)
        sent, wanted = await service.beside(partial(_wanted, body, length, model, service))
        outputs = _asked_outputs(sent)
        work = partial(_work, service, model, turn, {OUTPUTS[one.name].needs for one, _ in outputs})
        draw = partial(_draw, [one.name for one, _ in outputs])
        drawn = await while_connected(request, each(service, turn, model, wanted, work, draw))
    head = {
        "model_name": model.name,
        "model_version": version_of(model),
        "id": sent.id or secrets.token_hex(8),
    }
    content, json_length = await service.beside(partial(_write, head, outputs, drawn))
    if json_length is None:
        return Response(content, media_type="application/json")
    return Response(content, media_type="application/octet-stream", headers={LENGTH: str(json_length)})


def _model(request: Request) -> Model:
    """The model of an address, whose version is the only one."""
    model = model_named(service_of(request).models, request.path_params["name"])
    version = request.path_params.get("version")
    if version not in (None, version_of(model)):
        text = f"{model.name} has no version {version!r}; there is {version_of(model)}"
        raise Refused(404, text, "version")
    return model


def version_of(model: Model) -> str:
    """The beginning of the hash of a model's manifest, which has those of all its files."""
    return model.explainer.engine.sessions.bundle_sha256[:VERSION]


def _wanted(
    body: bytes, length: str | None, model: Model, service: Service
) -> tuple[Inference, list[Wanted]]:
    """A request, and the pictures that it is about."""
    sent, binary = split_body(body, length)
    for field, given, own in (
        ("model_name", sent.model_name, model.name),
        ("model_version", sent.model_version, version_of(model)),
    ):
        if given not in (None, own):
            raise Refused(400, f"{field} is {given!r}, and the address is that of {own}", field)
    if [tensor.name for tensor in sent.inputs] != [IMAGE]:
        names = ", ".join(repr(tensor.name) for tensor in sent.inputs[:5])
        raise Refused(400, f"inputs are {names or 'none'}: send one, {IMAGE}", "inputs")
    fields = {name: value for name, value in sent.parameters.items() if name != "binary_data_output"}
    try:
        asked = parse_asked(fields, model, service.settings)
    except Refused as refused:
        raise named(refused, "parameters", "parameters") from refused
    (tensor,), field = sent.inputs, "inputs[0]"
    pictures = read_pictures(tensor, field, binary, service.settings.max_pixels)
    require_few(len(pictures), field)
    wanted = []
    for place, picture in enumerate(pictures):
        at = f"{field}.data[{place}]"
        wanted.append(Wanted(partial(_given, picture), asked, at, at))
    return sent, wanted


def _given(picture: bytes | np.ndarray) -> bytes | np.ndarray:
    return picture


def _asked_outputs(sent: Inference) -> list[tuple[WantedTensor, bool]]:
    """The tensors of the answer, each with whether it follows the JSON as bytes.

    Raises:
        Refused: there is no such one, or one is asked for twice.
    """
    usual = _flag(sent.parameters, "binary_data_output", "parameters", False)
    wanted = sent.outputs or [WantedTensor(name) for name in OUTPUTS]
    for place, one in enumerate(wanted):
        field = f"outputs[{place}]"
        if one.name not in OUTPUTS:
            raise Refused(
                400, f"{field}.name is {one.name!r}; known are {', '.join(OUTPUTS)}", f"{field}.name"
            )
        if set(one.parameters) - {"binary_data"}:
            raise Refused(400, f"{field}.parameters has binary_data only", f"{field}.parameters")
        if one.name in [before.name for before in wanted[:place]]:
            raise Refused(400, f"{field}.name is {one.name} a second time", f"{field}.name")
    return [
        (one, _flag(one.parameters, "binary_data", f"outputs[{place}].parameters", usual))
        for place, one in enumerate(wanted)
    ]


def _flag(parameters: Mapping[str, Any], name: str, field: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refused(400, f"{field}.{name} is {value!r}, where true or false is needed", f"{field}.{name}")
    return value


def _work(service: Service, model: Model, turn: Turn, needs: set[str], picture: Picture, one: Wanted) -> Seen:
    """What the tensors that are asked for need to know of a picture."""
    manifest, answer, logits = model.explainer.manifest, None, None
    if "explanation" not in needs or "logits" in needs:
        logits = predict(model.explainer.engine, picture.tensor)
    if "explanation" in needs:
        answer = explain_one(model, picture, one.asked, turn)
        service.metrics.explained(model.name, answer.explanation, turn.waited or 0.0)
        found = answer.explanation
        return Seen(found.target, found.label, found.confidence, logits, answer)
    assert logits is not None
    target = int(logits.argmax()) if one.asked.target is None else one.asked.target
    confidence = float(confidences(logits, manifest.activation)[target])
    return Seen(target, manifest.label(target), confidence, logits)


def _draw(names: Sequence[str], seen: Seen) -> list[Any]:
    return [OUTPUTS[name].draw(seen) for name in names]


def _write(
    head: Mapping[str, Any], outputs: Sequence[tuple[WantedTensor, bool]], drawn: Sequence[Sequence[Any]]
) -> tuple[bytes, int | None]:
    """The answer, of what each picture adds to each tensor."""
    tensors = []
    for (one, binary), values in zip(outputs, zip(*drawn, strict=True), strict=True):
        output = OUTPUTS[one.name]
        stacked = values if output.datatype == BYTES else np.stack(values)
        tensors.append((GivenTensor(one.name, output.datatype, stacked, output.text), binary))
    return write_answer(head, tensors)
