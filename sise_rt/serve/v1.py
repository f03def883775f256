"""KServe's protocol v1: instances in, predictions and explanations out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from sise_rt.answering import BEST, predict
from sise_rt.pictures.picture import Picture
from sise_rt.running.logits import confidences

from .asked import Asked, parse_asked
from .batch import Wanted, each, naming, require_few
from .bodies import decode_json, parse_json, read_body, while_connected
from .explaining import Answer, explain_one, npy, png
from .json_pictures import FORMS, find_picture
from .models import Model, model_named
from .refusals import Refused
from .replies import Json
from .service import Service, service_of
from .work import Turn

OUTPUTS = ("record", "overlay", "map", "map_list")
USUAL = OUTPUTS[:3]
PICTURES = ("image", "b64")  # the keys of an instance that a picture may stand in

Drawn = TypeVar("Drawn")


class Instances(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request: one of the two, whose elements are decoded one by one."""

    instances: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET
    inputs: list[msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Instance(Wanted):
    """A picture, and what its explanation is to have.

    Attributes:
        outputs: of `OUTPUTS`.
    """

    outputs: tuple[str, ...] = USUAL


async def list_models(request: Request) -> Response:
    """The names of all models."""
    return Json({"models": list(service_of(request).models)})


async def show_model(request: Request) -> Response:
    """Whether a model takes requests; 503 while the server ends."""
    service = service_of(request)
    model = model_named(service.models, request.path_params["name"])
    ready = not service.work.draining
    return Json({"name": model.name, "ready": ready}, 200 if ready else 503)


async def explain(request: Request) -> Response:
    """A prediction and an explanation for each instance."""

    def work(service: Service, model: Model, turn: Turn, picture: Picture, one: Instance) -> Any:
        answer = explain_one(model, picture, one.asked, turn)
        service.metrics.explained(model.name, answer.explanation, turn.waited or 0.0)
        return answer, one.outputs

    answered = await _answer(request, work, _explained)
    predictions, explanations = zip(*answered, strict=True)
    return await _json(request, {"predictions": predictions, "explanations": explanations})


async def predict_only(request: Request) -> Response:
    """A prediction for each instance; what is asked about explanations is checked, and not used."""

    def work(service: Service, model: Model, turn: Turn, picture: Picture, one: Instance) -> Any:
        return _best(model, predict(model.explainer.engine, picture.tensor))

    predictions = await _answer(request, work, lambda prediction: prediction)
    return await _json(request, {"predictions": predictions})


async def _answer(
    request: Request,
    work: Callable[[Service, Model, Turn, Picture, Any], Any],
    draw: Callable[[Any], Drawn],
) -> list[Drawn]:
    service = service_of(request)
    model = model_named(service.models, request.path_params["name"])
    with service.work.admitted() as turn:
        body = await read_body(request, service.settings)
        instances = await service.beside(partial(_instances, body, model, service))
        done = partial(work, service, model, turn)
        return await while_connected(request, each(service, turn, model, instances, done, draw))


def _instances(body: bytes, model: Model, service: Service) -> Sequence[Instance]:
    sent = parse_json(body, Instances)
    given = {
        name: value for name in ("instances", "inputs") if (value := getattr(sent, name)) is not msgspec.UNSET
    }
    if len(given) != 1:
        text = "both instances and inputs are given" if given else "no instances: send a list of pictures"
        raise Refused(400, text, "instances")
    ((name, values),) = given.items()
    require_few(len(values), name)
    return [_instance(value, f"{name}[{place}]", model, service) for place, value in enumerate(values)]


def _instance(value: msgspec.Raw, field: str, model: Model, service: Service) -> Instance:
    """An instance: a picture, or an object that has one, and options besides."""
    fields: dict[str, Any] = {}
    picture, at = value, field
    if bytes(value).lstrip().startswith(b"{"):
        raw = decode_json(value, dict[str, msgspec.Raw], field)
        given = [key for key in PICTURES if key in raw]
        if len(given) != 1:
            text = "has two pictures" if given else f"has no image: send {FORMS}"
            raise Refused(400, f"{field} {text}", f"{field}.image")
        picture, at = raw.pop(given[0]), f"{field}.{given[0]}"
        fields = {key: decode_json(option, Any, f"{field}.{key}") for key, option in raw.items()}
    with naming(field, at):
        outputs = _outputs(fields.pop("outputs", USUAL))
        asked: Asked = parse_asked(fields, model, service.settings)
    image, source = find_picture(picture, at, asked.bit_depth)
    return Instance(source, asked, field, image, outputs)


def _outputs(given: Any) -> tuple[str, ...]:
    """What an explanation is to have.

    Raises:
        Refused: it is no list of such.
    """
    if not isinstance(given, (list, tuple)) or not all(name in OUTPUTS for name in given):
        raise Refused(400, f"outputs is {given!r}; it is a list of {', '.join(OUTPUTS)}", "outputs")
    return tuple(given)


def _explained(found: tuple[Answer, Sequence[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The prediction and the explanation of an instance, ready for JSON."""
    answer, outputs = found
    draw: dict[str, Callable[[], Any]] = {
        "record": answer.record,
        "overlay": lambda: base64.b64encode(png(answer)).decode("ascii"),
        "map": lambda: base64.b64encode(npy(answer)).decode("ascii"),
        "map_list": answer.explanation.map.tolist,
    }
    best = [
        {"index": one.index, "label": one.label, "confidence": one.confidence}
        for one in answer.explanation.best
    ]
    return {**best[0], "best": best}, {name: draw[name]() for name in OUTPUTS if name in outputs}


def _best(model: Model, logits: np.ndarray) -> dict[str, Any]:
    """The classes with the highest confidence, as an explanation has them."""
    manifest = model.explainer.manifest
    confidence = confidences(logits, manifest.activation)
    best = [
        {"index": index, "label": manifest.label(index), "confidence": float(confidence[index])}
        for index in np.argsort(-logits, kind="stable")[:BEST].tolist()
    ]
    return {**best[0], "best": best}


async def _json(request: Request, content: Any) -> Response:
    """An answer, which may be large, and is written beside the event loop."""
    return await service_of(request).beside(partial(Json, content))
