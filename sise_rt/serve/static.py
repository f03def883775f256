"""The page's own files, read once, and served under their names."""

from __future__ import annotations

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

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
    """A route for each file of the page; the index is `/`."""
    folder, routes = resources.files(__package__) / "page", []
    if not folder.is_dir():
        return []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        kind = TYPES.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            path = "/" if file.name == INDEX else f"/{file.name}"
            routes.append(Route(path, _serve(file.read_bytes(), kind), name=path))
    return routes


def _serve(content: bytes, kind: str):
    async def serve(request: Request) -> Response:
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return Response(content, media_type=kind, headers=headers)

    return serve
