"""`sise-rt serve`."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Any

import click

from sise_rt.errors import ArgumentError, ProviderError
from sise_rt.methods import PRESETS
from sise_rt.wording import counted, installing, reason

from .bundle_path import BundlePath
from .command import Command
from .console import say, warn
from .help_pages import HOW_MUCH, MACHINE, WHAT, option
from .shared_options import PRECISION, PROVIDER, THREADS, Bytes
from .signals import starting

LISTENS, LIMITS, ENDS = "Where it listens", "Limits", "Jobs, and the end"
MOUNTED = "/mnt/models"  # where KServe puts what STORAGE_URI names
NAME = re.compile(r"\*|\w[\w.-]*", re.ASCII)  # of a host


class Served(BundlePath):
    """A bundle, a folder of them, or one with a name before it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take it as it is, unless it is a model, or a file of a bundle."""
        text = str(value)
        super().convert(text if Path(text).exists() else text.rpartition("=")[2], param, ctx)
        return text


@click.command(cls=Command)
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1, type=Served())
@option(
    "--model-name",
    "--model_name",
    "model_name",
    heading=WHAT,
    metavar="NAME",
    help="What the one bundle is called.",
)
@PROVIDER
@PRECISION
@THREADS
@option(
    "--memory",
    heading=MACHINE,
    type=Bytes(),
    help="That the images of a pass may take, besides the model, as in 800MB; 1GB by default.",
)
@option("--host", heading=LISTENS, default="127.0.0.1", show_default=True, help="0.0.0.0 for all interfaces.")
@option(
    "--port",
    "--http_port",
    "port",
    heading=LISTENS,
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 for any that is free.",
)
@option(
    "--root-path", heading=LISTENS, default="", metavar="PATH", help="That a proxy puts before all paths."
)
@option(
    "--token-file",
    heading=LISTENS,
    type=click.Path(path_type=Path),
    help="File with the token that requests have to bear.",
)
@option(
    "--allow-host",
    "hosts",
    heading=LISTENS,
    multiple=True,
    metavar="NAME",
    help="A name that browsers may reach it by, * for any; may be repeated. On the loopback interface, where "
    "no token is asked for, it is localhost alone.",
)
@option(
    "--allow-origin",
    "origins",
    heading=LISTENS,
    multiple=True,
    metavar="ORIGIN",
    help="Another site whose pages may use it; may be repeated.",
)
@option("--preset", heading=HOW_MUCH, type=click.Choice(list(PRESETS)), help="Of requests that name none.")
@option(
    "--max-seconds",
    heading=HOW_MUCH,
    type=click.FloatRange(0, 86400),
    help="That a request may take, waiting included; 300 by default, 0 for any time.",
)
@option(
    "--queue",
    heading=HOW_MUCH,
    type=click.IntRange(0, 10000),
    default=16,
    show_default=True,
    help="Requests that may wait.",
)
@option(
    "--workers",
    heading=HOW_MUCH,
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Explanations at a time on the device.",
)
@option(
    "--max-body",
    heading=LIMITS,
    type=Bytes(),
    default="20MB",
    show_default=True,
    help="Refuse larger requests.",
)
@option(
    "--max-pixels",
    heading=LIMITS,
    type=click.IntRange(1),
    default=25_000_000,
    show_default=True,
    help="Refuse larger pictures.",
)
@option(
    "--body-seconds",
    heading=LIMITS,
    type=click.FloatRange(0, 3600, min_open=True),
    default=30.0,
    show_default=True,
    help="Within which a request has to arrive.",
)
@option(
    "--keep",
    heading=ENDS,
    type=click.FloatRange(0, 86400, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds that the result of a job is kept.",
)
@option(
    "--grace",
    heading=ENDS,
    type=click.FloatRange(0, 3600),
    default=25.0,
    show_default=True,
    help="Seconds from SIGTERM or Ctrl-C to the end, in which what was begun is finished.",
)
@option("--predictor_host", "predictor_host", heading=WHAT, hidden=True, help="Of KServe; not needed.")
def serve(
    bundles: tuple[str, ...],
    model_name: str | None,
    provider: str,
    precision: str,
    threads: int | None,
    oversubscribe: bool,
    memory: int | None,
    host: str,
    port: int,
    token_file: Path | None,
    predictor_host: str | None,
    **limits: Any,
) -> None:
    """Explain over HTTP: a page for people, routes for programs, jobs with progress.

    BUNDLE is a bundle, a folder of bundles, or NAME=BUNDLE; without any, the built-in model is served. It
    listens once all models are loaded. docs/serve.md has the routes.

    \b
    Examples:
      sise-rt serve
      sise-rt serve resnet50.sise --host 0.0.0.0 --token-file token --preset fast
      sise-rt serve models/ steel=surface.sise --max-seconds 30
      curl --data-binary @cat.jpg 'localhost:8080/explain?target=tabby' > cat.png
    """
    with starting():
        _require_extra()
        from sise_rt.serve.models import find_bundles

        settings = _settings(limits, token_file, host)
        given = bundles or _mounted()
        found = find_bundles(given)
        if model_name is not None:
            if len(found) != 1:
                raise click.UsageError(
                    f"a name for one bundle, and there are {len(found)}: {', '.join(found)}"
                )
            found = find_bundles([f"{model_name}={next(iter(found.values()))}"])
        _serve(
            found,
            host,
            port,
            settings,
            example=not given,
            provider=provider,
            threads=threads,
            memory=memory,
            precision=precision,
            oversubscribe=oversubscribe,
        )


def _serve(
    found: dict[str, Path], host: str, port: int, settings: Any, *, example: bool, **options: Any
) -> None:
    """Load the bundles, and serve them until a signal."""
    from sise_rt.serve.app import make_app
    from sise_rt.serve.logs import log_lines
    from sise_rt.serve.models import load_models
    from sise_rt.serve.server import Server, bound_socket

    with bound_socket(host, port) as listening:
        models = load_models(found, **options)
        if not _is_loopback(host) and not settings.token:
            warn(f"whoever reaches {host} can use this server: --token-file asks for a token")
        number = listening.getsockname()[1]
        address = f"http://{f'[{host}]' if ':' in host else host}:{number}{settings.root_path}/"
        told = f"serving {counted(len(models), 'model')} ({', '.join(models)}) at {address}"
        log_lines()
        server = Server(make_app(models, settings, example=example), lambda: say(told))
        server.run([listening])
        if not server.service.ended(server.left()):
            _leave()


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _leave() -> None:
    """End the process while a thread works on what nobody waits for; Python itself would wait for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _settings(limits: dict[str, Any], token_file: Path | None, host: str) -> Any:
    from sise_rt.serve.settings import Settings

    token = "" if token_file is None else _token(token_file)
    root_path = limits.pop("root_path").rstrip("/")
    if root_path and not root_path.startswith("/"):
        raise click.UsageError(f"--root-path {root_path} begins with a slash")
    hosts = _hosts(limits.pop("hosts"), closed=_is_loopback(host) and not token)
    return Settings(token=token, root_path=root_path, hosts=hosts, **limits)


def _hosts(given: tuple[str, ...], *, closed: bool) -> tuple[str, ...]:
    """The names that it answers to; any, where none are given and others than this machine are let in."""
    for name in given:
        if not NAME.fullmatch(name):
            raise click.UsageError(f"--allow-host {name!r} is no name: without scheme, port or path")
    return ("localhost", *(name.rstrip(".") for name in given)) if given or closed else ("*",)


def _token(file: Path) -> str:
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{file} cannot be read: {reason(error)}", settings=("token_file",)) from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        example = secrets.token_urlsafe(24)
        raise ArgumentError(
            f"{file} holds no token: one word of letters and digits, as {example}", settings=("token_file",)
        )
    return token


def _mounted() -> tuple[str, ...]:
    """Where KServe puts the bundles, where it was told of any."""
    return (MOUNTED,) if os.environ.get("STORAGE_URI") else ()


def _require_extra() -> None:
    """Refuse where the packages of the extra are missing."""
    try:
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ProviderError(f"{error.name} is missing: {installing('serve')}") from error
