"""`sise-rt demo`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from sise_rt.wording import installing

from .command import Command
from .console import say, summary
from .help_pages import WHERE_TO, option
from .progress import Progress
from .results import prepare_folder
from .shared_options import PROVIDER, THREADS
from .signals import starting


@click.command(cls=Command)
@option(
    "-o",
    "--out",
    heading=WHERE_TO,
    type=click.Path(path_type=Path),
    default="sise-demo",
    show_default=True,
    help="Output folder.",
)
@PROVIDER
@THREADS
def demo(out: Path, provider: str, threads: int | None, oversubscribe: bool) -> None:
    """Explain the built-in picture with the built-in model.

    Nothing else is needed.

    \b
    Example:
      sise-rt demo
    """
    from importlib import resources

    from sise_rt import load

    with resources.as_file(resources.files("sise_rt") / "demo") as folder:
        with starting():
            explainer = load(folder / "surface.sise", provider, threads, oversubscribe=oversubscribe)
        source = folder / "surface.png"
        prepare_folder(out, [(source.stem, str(source))], range(explainer.manifest.classes))
        with Progress().of(source.name) as progress:
            picture = explainer.prepare(source)
            explanation = explainer.explain(picture, progress=progress)
        files = explanation.save(out, picture, blocks=True)
    say(*summary(explanation, Path(explanation.name).name, files[0]))
    say(f"All blocks side by side: {files[-1]}")
    first = "" if find_spec("onnx") else f"{installing('export')}, then "
    say(f"Next, a model of your own: {first}sise-rt export --help")
