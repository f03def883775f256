"""The page's own files, read once, and served under their names; for programs `/` says that it is alive."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .replies import Json

INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes() -> list[Route]:
    """A route for each file of the page; the index is `/`, which is there without the others too."""
    folder, index = resources.files(__package__) / "page", b""
    routes = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name) if folder.is_dir() else ():
        kind = TYPES.get(file.name[file.name.rfind(".") :])
        if file.name == INDEX:
            index = file.read_bytes()
        elif kind is not None:
            routes.append(Route(f"/{file.name}", _serve(file.read_bytes(), kind), name=f"/{file.name}"))
    return [Route("/", _greet(index), name="/"), *routes]


def _greet(index: bytes):
    page = _serve(index, TYPES[".html"])

    async def greet(request: Request) -> Response:
        """The page for browsers, which name HTML among what they accept; else what KServe's clients ask."""
        if index and "text/html" in request.headers.get("accept", ""):
            response = await page(request)
        else:
            response = Json({"status": "alive"})
        response.headers["Vary"] = "Accept"
        return response

    return greet


def _serve(content: bytes, kind: str):
    async def serve(request: Request) -> Response:
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return Response(content, media_type=kind, headers=headers)

    return serve
