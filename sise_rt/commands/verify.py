"""`sise-rt verify`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sise_rt.errors import BundleError
from sise_rt.running.providers import PRECISIONS
from sise_rt.wording import counted

from .by_single_file import BundleOrSingleFile, verify_file
from .command import Command
from .console import parity_line, say
from .help_pages import WHAT, option
from .progress import Progress
from .shared_options import PROVIDER, THREADS
from .signals import starting

if TYPE_CHECKING:
    from sise_rt.running.engine import Engine


@click.command(cls=Command)
@click.argument("bundle", type=BundleOrSingleFile())
@option(
    "--images",
    heading=WHAT,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Of --precision bf16: pictures of the kind that the model is for; at most 20 are taken.",
)
@option(
    "--precision",
    heading=WHAT,
    type=click.Choice(PRECISIONS),
    default=PRECISIONS[0],
    show_default=True,
    help="Also compare scores of masked copies in bf16 with those in fp32.",
)
@PROVIDER
@THREADS
def verify(
    bundle: Path,
    provider: str,
    precision: str,
    images: Path | None,
    threads: int | None,
    oversubscribe: bool,
) -> None:
    """Check that a bundle is whole and gives its source's numbers.

    Its hashes and its schema are checked, and its parity with the source is measured again, without the
    source.

    With --precision bf16 also compare explanations of pictures with those in float32, on this machine. The
    figures are kept beside the bundle, as in model.sise.bf16.json, and explain warns where there are none.

    Of a single file, explain.onnx, its own picture is explained again, and compared with what was found then.

    \b
    Examples:
      sise-rt verify resnet50.sise
      sise-rt verify explain.onnx
      sise-rt verify resnet50.sise --precision bf16 --images photos/
    """
    if bundle.suffix == ".onnx":
        if precision != "fp32" or images is not None:
            raise click.UsageError(f"--precision and --images do not apply to {bundle}, which is in float32")
        verify_file(bundle, provider, threads)
        return
    if (precision == "fp32") != (images is None):
        raise click.UsageError("--precision bf16 and --images go together: pictures are what it is judged by")
    with starting():
        from sise_rt import load
        from sise_rt.phases.gate import drawn_pictures
        from sise_rt.running.verify import failures, tolerances, verify

        pictures = [] if images is None else drawn_pictures(images, "images")
        opened = partial(load, bundle, threads=threads, oversubscribe=oversubscribe)
        rounded = opened(provider=provider, precision=precision).engine if pictures else None
        engine = opened(provider=rounded.provider if rounded else provider).engine
    manifest = engine.manifest
    say(f"{len(manifest.files)} files match their hashes, schema {manifest.schema_version}")
    errors = verify(engine)
    say(parity_line(errors, tolerances(manifest)))
    if failed := failures(errors, tolerances(manifest)):
        raise BundleError(f"{bundle} does not give its source's numbers on this machine: {'; '.join(failed)}")
    if rounded:
        _compare(engine, rounded, pictures)
    say(f"{bundle} is sound on {engine.provider}")


def _compare(exact: Engine, rounded: Engine, pictures: list[Path]) -> None:
    """Judge the lower precision by pictures, and say what came of it."""
    from sise_rt.phases.rounded_scoring import judge
    from sise_rt.running.gate_record import records_file

    with Progress().of("explaining in both precisions") as progress:
        figures = judge(exact, rounded, pictures, progress).figures()
    mean, lowest, jaccard = (figures[name] for name in ("correlation", "lowest_correlation", "jaccard"))
    say(
        f"{rounded.sessions.precision} against fp32 on {counted(len(pictures), 'picture')}: explanations "
        f"correlate at {mean:.4f} in the mean, {lowest:.4f} at worst; Jaccard index of kept maps "
        f"{jaccard:.4f}: kept in {records_file(rounded.folder)}"
    )
