"""Jobs over HTTP: started, watched, fetched in parts, stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sise_rt.drawing.png import encode_png

from .asked import parse_asked, single
from .bodies import read_sent, while_connected
from .explaining import Answer, block_painted, npy, page, painted, png, record_json
from .jobs import Job
from .models import model_named
from .plain import PAGE_POLICY
from .refusals import Refused
from .replies import Json
from .service import service_of


async def start_job(request: Request) -> Response:
    """Start a job for the picture that was sent; answers at once with where to find it."""
    service = service_of(request)
    fields = single(request.query_params.multi_items())
    turn = service.work.take()
    try:
        sent = await read_sent(request, service.settings)
        fields = single([*fields.items(), *sent.fields.items()])
        model = model_named(service.models, fields.pop("model", None))
        asked = parse_asked(fields, model, service.settings, check="region")
        picture = await while_connected(request, service.read(model, sent.picture, asked))
    except BaseException:
        service.work.leave(turn)
        raise
    job = service.start(model, picture, asked, turn)
    location = f"{request.scope.get('root_path', '')}/jobs/{job.id}"
    return Json({"id": job.id, "location": location}, 202, {"Location": location})


async def show_job(request: Request) -> Response:
    """Where a job stands."""
    return Json(_job(request).described())


async def watch_job(request: Request) -> Response:
    """The events of a job as they come, until it is over; a client that returns goes on where it was."""
    service, job = service_of(request), _job(request)
    last = request.headers.get("last-event-id", "")
    after = int(last) if last.isdecimal() and last.isascii() and len(last) < 18 else 0
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        job.stream(after, service.settings.return_seconds), media_type="text/event-stream", headers=headers
    )


async def stop_job(request: Request) -> Response:
    """End a job after this pass, and keep what it found; with `forget=1` let go of it at once."""
    fields = single(request.query_params.multi_items())
    if fields.get("forget", "0") not in ("0", "1"):
        raise Refused(400, "forget is 0 or 1", "forget")
    job = _job(request)
    job.turn.stop()
    if fields.get("forget") == "1":
        service_of(request).jobs.forget(job.id)
    return Response(status_code=204)


async def show_part(request: Request) -> Response:
    """A part of what a job found, drawn when it is asked for."""
    job, part = _job(request), request.path_params["part"]
    if part not in PARTS:
        raise Refused(404, f"no {part!r}; a job has {', '.join(PARTS)}", "part")
    kind, draw = PARTS[part]
    content = await service_of(request).beside(partial(draw, _answer(job, part)))
    headers = {"Content-Security-Policy": PAGE_POLICY} if part.endswith(".html") else {}
    return Response(content, media_type=kind, headers=headers)


async def show_block(request: Request) -> Response:
    """The map of a block over the picture; blocks count from 1."""
    job, given = _job(request), request.path_params["number"]
    answer = _answer(job, "maps of blocks")
    blocks = answer.explanation.blocks
    number = next((place for place in range(len(blocks)) if given == str(place + 1)), None)
    if number is None or blocks[number].visualization is None:
        raise Refused(404, f"the job has no map of a block {given}", "number")
    content = await service_of(request).beside(partial(block_painted, answer, number))
    return Response(content, media_type="image/png")


def _job(request: Request) -> Job:
    return service_of(request).jobs.named(request.path_params["id"])


def _answer(job: Job, wanted: str) -> Answer:
    if job.answer is None:
        why = "it found nothing" if job.over else "it is not done"
        raise Refused(404 if job.over else 409, f"the job has no {wanted}: {why}", "part")
    return job.answer


def _map_png(answer: Answer) -> bytes:
    return answer.explanation.transparent_png(palette=answer.palette)


def _blocks_png(answer: Answer) -> bytes:
    return encode_png(answer.explanation.strip())


def _picture_png(answer: Answer) -> bytes:
    return encode_png(answer.explanation.pixels())


def _check_json(answer: Answer) -> bytes:
    curves = {
        name: {"share": curve.share.tolist(), "confidence": curve.confidence.tolist(), "auc": curve.auc}
        for name, curve in answer.curves.items()
    }
    return json.dumps({"check": answer.record()["check"], "curves": curves}, allow_nan=False).encode()


PARTS: Mapping[str, tuple[str, Callable[[Answer], bytes]]] = {
    "overlay.png": ("image/png", png),
    "painted.png": ("image/png", painted),
    "map.png": ("image/png", _map_png),
    "map.npy": ("application/x-npy", npy),
    "record.json": ("application/json", record_json),
    "report.html": ("text/html; charset=utf-8", page),
    "blocks.png": ("image/png", _blocks_png),
    "picture.png": ("image/png", _picture_png),
    "check.json": ("application/json", _check_json),
}
"""What a job's answer can be fetched as: its media type, and what makes it."""
