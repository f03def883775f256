"""A client of `sise-rt serve`, with Python's own library: send a picture, watch the job, keep what it found.

    sise-rt serve resnet50.sise &
    python examples/ask_service.py cat.jpg --target tabby -o cat.explained.png

Ctrl-C stops the job, and the map so far is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import Request, urlopen

import click


def start(server: str, picture: bytes, **fields: str) -> str:
    """Start a job; gives its address. While the queue is full it waits as long as it is told to."""
    address = urljoin(server, f"jobs?{urlencode(fields)}")
    while True:
        try:
            with urlopen(Request(address, picture, method="POST")) as answer:
                return urljoin(address, f"jobs/{json.load(answer)['id']}")
        except HTTPError as error:
            with error:
                if error.code != 429:
                    raise click.ClickException(json.load(error)["error"]) from error
                time.sleep(int(error.headers["Retry-After"]))


def events(job: str) -> Iterator[tuple[str, dict]]:
    """What happens to a job: names and data of its events, to its end."""
    with urlopen(f"{job}/events") as stream:
        yield from parsed(stream)


def parsed(stream: HTTPResponse) -> Iterator[tuple[str, dict]]:
    """Server-sent events: lines of names and values, an empty one after each event."""
    name = ""
    for line in stream:
        key, _, value = line.decode().rstrip("\n").partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def watch(job: str) -> None:
    """Tell how far a job is, until it is over."""
    for name, data in events(job):
        if name == "prediction":
            best = data["best"][0]
            click.echo(f"the model sees {best['label']} (confidence {best['confidence']:.3f})")
        elif name == "progress":
            click.echo(f"{data['scored']} of {data['total']} masks", err=True)
        elif name == "failed":
            raise click.ClickException(data["error"])


@click.command()
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--server", default="http://127.0.0.1:8080/", show_default=True)
@click.option("--target", default="", help="Class index or label.")
@click.option("--preset", type=click.Choice(["exact", "fast"]), default="exact", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), default="explained.png", show_default=True)
def main(picture: Path, server: str, target: str, preset: str, out: Path) -> None:
    """Explain PICTURE by a service."""
    job = start(server, picture.read_bytes(), target=target, preset=preset)
    try:
        watch(job)
    except KeyboardInterrupt:
        urlopen(Request(job, method="DELETE")).close()
        watch(job)
    with urlopen(f"{job}/overlay.png") as answer:
        out.write_bytes(answer.read())
    click.echo(f"-> {out}")


if __name__ == "__main__":
    main()
