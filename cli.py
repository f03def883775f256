"""The `sise-rt` command: its subcommands, and what every one of them ends with."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from sise_rt.commands.console import (
    INTERRUPTED,
    PROVIDER,
    THREADS,
    UNUSABLE,
    complain,
    parity_line,
    progress_bar,
    summary,
)
from sise_rt.commands.evaluate import evaluate
from sise_rt.commands.explain import explain
from sise_rt.commands.export import export, inspect
from sise_rt.commands.methods import methods
from sise_rt.errors import BundleError, SiseError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sise-rt")
def cli() -> None:
    """Explain what a deployed CNN looked at, on ONNX Runtime alone.

    Export a model once; from then on its bundle explains single predictions without any training framework.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 images failed, 2 wrong use or unusable model, 130 interrupted."""
    # An exception, so that half-made files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    try:
        sys.exit(cli.main(arguments, prog_name="sise-rt", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(UNUSABLE)
    except SiseError as error:
        complain(str(error))
        sys.exit(UNUSABLE)
    except MemoryError:
        complain("out of memory")
        sys.exit(UNUSABLE)
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted; what was finished is kept")
        sys.exit(INTERRUPTED)


@cli.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="sise-demo",
    show_default=True,
    help="Output folder.",
)
@PROVIDER
@THREADS
def demo(out: Path, provider: str, threads: int | None) -> None:
    """Explain the built-in picture with the built-in model; nothing else is needed.

    \b
    Example:
      sise-rt demo
    """
    from importlib import resources

    from sise_rt import load

    with resources.as_file(resources.files("sise_rt") / "demo") as folder:
        explainer = load(folder / "surface.sise", provider, threads)
        with progress_bar("surface.png", hidden=False) as progress:
            explanation = explainer.explain(folder / "surface.png", progress=progress)
        files = explanation.save(out, "surface", blocks=True)
    click.echo(summary(explanation, files[0]))
    click.echo(f"All blocks side by side: {files[-1]}. Next: sise-rt export YOUR_MODEL.onnx")


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@PROVIDER
@THREADS
def verify(bundle: Path, provider: str, threads: int | None) -> None:
    """Check a bundle's hashes and schema, and measure its parity with the source again, without the source.

    \b
    Example:
      sise-rt verify resnet50.sise
    """
    from sise_rt import load
    from sise_rt.running.verify import failures, tolerances, verify

    explainer = load(bundle, provider, threads)
    manifest = explainer.manifest
    click.echo(f"{len(manifest.files)} files match their hashes, schema {manifest.schema_version}")
    errors = verify(explainer.engine)
    click.echo(parity_line(errors, tolerances(manifest)))
    if failed := failures(errors, tolerances(manifest)):
        raise BundleError(f"{bundle} does not give its source's numbers on this machine: {'; '.join(failed)}")
    click.echo(f"{bundle} is sound on {explainer.engine.provider}")


for command in (export, inspect, explain, methods, evaluate):
    cli.add_command(command)
