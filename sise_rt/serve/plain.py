"""Plain HTTP, for people and curl: models, and a picture's explanation as the answer."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from sise_rt.methods import Stop

from .asked import Asked, parse_asked, single
from .bodies import read_sent, while_connected
from .explaining import FORMATS
from .models import Model, example_picture, model_named
from .negotiation import chosen_format
from .refusals import RETRY, Refused
from .replies import Json
from .service import Service, service_of
from .work import Turn

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"
"""Of a page that is made for a client: it runs nothing and loads nothing, whatever a label says."""


async def list_models(request: Request) -> Response:
    """The models, and what each can do."""
    service = service_of(request)
    example = "example.png" if service.example else None
    return Json([model.described() | {"example": example} for model in service.models.values()])


async def find_labels(request: Request) -> Response:
    """Classes of a model whose label has the words of `q` in it."""
    model = model_named(service_of(request).models, request.path_params["name"])
    fields = single(request.query_params.multi_items())
    return Json(model.labels(fields.get("q", "")))


async def show_example(request: Request) -> Response:
    """The picture that goes with the model that ships."""
    return Response(example_picture().read_bytes(), media_type="image/png")


async def explain(request: Request) -> Response:
    """The explanation of the picture that was sent, as a picture, a record, a map or a page."""
    service = service_of(request)
    fields = single(request.query_params.multi_items())
    with service.work.admitted() as turn:
        sent = await read_sent(request, service.settings)
        fields = single([*fields.items(), *sent.fields.items()])
        model = model_named(service.models, fields.pop("model", None))
        form = chosen_format(fields.pop("format", None), request.headers.get("accept"))
        asked = parse_asked(fields, model, service.settings, check="region" if form == "html" else "none")
        return await while_connected(request, _answer(service, turn, model, sent.picture, asked, form))


async def _answer(
    service: Service, turn: Turn, model: Model, source: bytes, asked: Asked, form: str
) -> Response:
    picture = await service.read(model, source, asked)
    try:
        answer = await service.explain(turn, model, picture, asked)
    except Stop as stop:
        raise Refused(503, "the server ends, and this was not done", retry_after=RETRY) from stop
    kind, draw = FORMATS[form]
    content = await service.beside(partial(draw, answer))
    headers = {"Content-Security-Policy": PAGE_POLICY} if form == "html" else {}
    return Response(content, media_type=kind, headers=headers)
