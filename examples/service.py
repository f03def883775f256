"""Explanations inside a Python service: POST a picture, get the explanation back.

    python examples/service.py resnet50.sise --port 8000
    curl --data-binary @cat.jpg 'localhost:8000/?target=tabby' > cat.png

One explainer serves all threads. The picture never touches the disk, a bad one is answered with 400 and one
line.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import click

import sise_rt

LONGEST_BODY = 20_000_000  # bytes


def make_server(bundle: str, port: int, provider: str = "auto") -> ThreadingHTTPServer:
    """A server that explains with one bundle, on the loopback interface."""
    explainer = sise_rt.load(bundle, provider)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            length = int(self.headers.get("Content-Length", 0))
            if not 0 < length <= LONGEST_BODY:
                return self.answer(413, "text/plain", f"give 1 to {LONGEST_BODY} bytes".encode())
            try:
                picture = explainer.prepare(self.rfile.read(length))
                explanation = explainer.explain(
                    picture,
                    query.get("target", [None])[0],
                    mu=float(query.get("mu", ["0.3"])[0]),  # a quarter of the passes, nearly the same map
                )
            except (sise_rt.SiseError, ValueError) as error:
                return self.answer(400, "text/plain", str(error).encode())
            if query.get("format") == ["json"]:
                return self.answer(200, "application/json", json.dumps(explanation.record()).encode())
            return self.answer(200, "image/png", explanation.png())

        def answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


@click.command()
@click.argument("bundle")
@click.option("--port", default=8000, show_default=True)
@click.option("--provider", default="auto", show_default=True)
def main(bundle: str, port: int, provider: str) -> None:
    """Serve explanations of BUNDLE."""
    with make_server(bundle, port, provider) as server:
        click.echo(f"POST pictures to http://127.0.0.1:{server.server_port}/?target=LABEL")
        server.serve_forever()


if __name__ == "__main__":
    main()
