"""The routes of the server, in one table."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from . import health, job_routes, openapi, plain, v1, v2
from .guard import Guard
from .models import Model
from .refusals import Refused
from .service import Service
from .settings import Settings
from .static import page_routes

ROUTES = (
    Route("/models", plain.list_models),
    Route("/models/{name}/labels", plain.find_labels),
    Route("/explain", plain.explain, methods=["POST"]),
    Route("/jobs", job_routes.start_job, methods=["POST"]),
    Route("/jobs/{id}", job_routes.show_job, methods=["GET"]),
    Route("/jobs/{id}", job_routes.stop_job, methods=["DELETE"]),
    Route("/jobs/{id}/events", job_routes.watch_job),
    Route("/jobs/{id}/blocks/{number}.png", job_routes.show_block),
    Route("/jobs/{id}/{part}", job_routes.show_part),
    Route("/v1/models", v1.list_models),
    Route("/v1/models/{name}:explain", v1.explain, methods=["POST"]),
    Route("/v1/models/{name}:predict", v1.predict_only, methods=["POST"]),
    Route("/v1/models/{name}", v1.show_model),
    Route("/v2", v2.show_server),
    Route("/v2/health/live", health.live),
    Route("/v2/health/ready", health.ready),
    Route("/v2/models", v2.list_models),
    Route("/v2/models/{name}", v2.show_model),
    Route("/v2/models/{name}/ready", v2.ready_model),
    Route("/v2/models/{name}/infer", v2.infer, methods=["POST"]),
    Route("/v2/models/{name}/versions/{version}", v2.show_model),
    Route("/v2/models/{name}/versions/{version}/ready", v2.ready_model),
    Route("/v2/models/{name}/versions/{version}/infer", v2.infer, methods=["POST"]),
    Route("/openapi.json", openapi.show),
    Route("/metrics", health.metrics),
)
PROBES = ("/v2/health/live", "/v2/health/ready")  # what asks them bears no token, and uses any name


def make_app(models: Mapping[str, Model], settings: Settings, *, example: bool = False) -> Starlette:
    """The application.

    Args:
        models: by name, loaded.
        settings: of the operator.
        example: whether the picture that ships is served, as the model that ships is.
    """
    service, page = Service(models, settings, example=example), page_routes()
    routes = [*ROUTES, *page]
    if example:
        routes.append(Route("/example.png", plain.show_example))
    public = frozenset((*PROBES, *(route.path for route in page)))
    middleware = [Middleware(Guard, service=service, public=public, probes=frozenset(PROBES))]
    if settings.origins:
        middleware.insert(
            0,
            Middleware(
                CORSMiddleware,
                allow_origins=settings.origins,
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
                expose_headers=["Location", "Retry-After", "X-Request-ID"],
            ),
        )
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: _refuse})
    app.router.redirect_slashes = False
    app.state.service = service
    return app


WORDS = {404: "there is nothing at this address", 405: "this address does not take that method"}


async def _refuse(request: Request, error: Exception) -> Response:
    """What the routes themselves refuse, as everything else is refused."""
    assert isinstance(error, HTTPException)
    response = Refused(error.status_code, WORDS.get(error.status_code, error.detail)).response()
    response.headers.update(error.headers or {})
    return response
