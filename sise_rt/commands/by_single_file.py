"""`sise-rt explain -m explain.onnx`, and what else commands do with a single file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sise_rt.errors import BundleError, ImageError, NoEvidence, SiseError
from sise_rt.methods import Request
from sise_rt.pictures.picture import prepare
from sise_rt.running.one_graph import TOLERANCES, open_single_file, verify_single_file
from sise_rt.running.verify import failures
from sise_rt.self_explained import explain_by_file, manifest_of
from sise_rt.single_file import is_single_file
from sise_rt.wording import counted

from .bundle_path import BundlePath
from .classes import best_classes, named_classes
from .command import spelt
from .console import FAILED_IMAGES, complain, parity_line, say
from .drawing_options import Drawing
from .help_pages import WHAT, option
from .results import Wanted, Written, prepare_folder, write_results

# What `explain` takes for a single file too; the graph has decided all else.
APPLIES = frozenset(
    "images bundle targets top_k methods mu fusion out blocks report drawing size outline palette plain "
    "transparent compare as_json quiet bit_depth max_pixels provider threads".split()
)


class BundleOrSingleFile(BundlePath):
    """The folder of a bundle, or a model that explains itself."""

    name = "bundle|file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Take it, unless it is neither."""
        path = Path(value)
        return path if is_single_file(path) else super().convert(value, param, ctx)


MODEL = option(
    "-m",
    "--model",
    "bundle",
    heading=WHAT,
    metavar="BUNDLE",
    required=True,
    type=BundleOrSingleFile(),
    help="The model, as sise-rt export makes it; also a single file, explain.onnx.",
)


def or_by_single_file(command: Callable[..., None]) -> Callable[..., None]:
    """Let `explain` explain by a single file as well."""

    @wraps(command)
    def by_either(*, bundle: Path, **given: Any) -> None:
        if bundle.suffix == ".onnx":
            refuse_decided(bundle)
            explain_images(bundle, **{name: given[name] for name in APPLIES & given.keys()})
        else:
            command(bundle=bundle, **given)

    return by_either


def explain_images(
    file: Path,
    *,
    images: Sequence[Path],
    targets: Sequence[str],
    top_k: int,
    methods: Sequence[Request],
    mu: float | None,
    fusion: str | None,
    out: Path,
    blocks: bool,
    report: bool,
    drawing: Drawing,
    as_json: bool,
    quiet: bool,
    bit_depth: int | None,
    max_pixels: int,
    provider: str,
    threads: int | None,
) -> None:
    """Explain pictures by a single file, and write what `explain` writes.

    Raises:
        click.UsageError: an option asks for what the graph does not do.
        SystemExit: with 1 where pictures failed.
    """
    two = drawing.compare is not None
    top_k = best_classes(targets, top_k, two=two)
    single = open_single_file(file, "cpu" if provider == "auto" else provider, threads)
    mu = _mu(file, single.facts.method, methods, mu, fusion)
    manifest = manifest_of(single)
    indices = named_classes(targets, manifest, two=two)
    prepare_folder(out, images, indices or range(manifest.classes))
    wanted = Wanted(
        out=out,
        named=single.facts.method != "sise",
        check=False,
        blocks=blocks,
        report=report,
        drawing=drawing,
        as_json=as_json,
        quiet=quiet,
    )
    failed = 0
    for image in images:
        written = Written()
        try:
            picture = prepare(image, manifest.preprocess, bit_depth=bit_depth, max_pixels=max_pixels)
            found = explain_by_file(single, picture, indices, top_k, mu)
            write_results(picture, {single.facts.method: found}, wanted, written, stopped=False)
        except BundleError:
            raise
        except SiseError as error:
            written.failure = error
        failed += _tell(image, written)
    if failed:
        complain(f"{failed} of {counted(len(images), 'image')} failed")
        raise SystemExit(FAILED_IMAGES)


def _tell(image: Path, written: Written) -> bool:
    """Print what was written of a picture and what went wrong with it; whether anything did."""
    for message in written.messages:
        message()
    for where, why in written.problems:
        complain(where + spelt(why))
    if isinstance(written.failure, SiseError):
        named = isinstance(written.failure, ImageError | NoEvidence)
        complain(spelt(written.failure) if named else f"{image}: {spelt(written.failure)}")
    return bool(written.problems or written.failure)


def refuse_decided(file: Path) -> None:
    """Refuse options that are given and that the graph has decided."""
    context = click.get_current_context()
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in APPLIES and source not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None):
            shown = next(p.opts[0] for p in context.command.params if p.name == name)
            raise click.UsageError(
                f"{shown} does not apply to {file}, whose graph has decided that: use a bundle"
            )


def _decided(what: str, file: Path) -> click.UsageError:
    return click.UsageError(f"{what} does not apply to {file}, whose graph has decided that: use a bundle")


def _mu(file: Path, own: str, methods: Sequence[Request], mu: float | None, fusion: str | None) -> float:
    """The value of mu, once it is seen that what else is asked for is what the graph does.

    Raises:
        click.UsageError: it is not.
    """
    given = click.get_current_context().get_parameter_source("methods") is not ParameterSource.DEFAULT
    names = [asked.method.name for asked in methods]
    if given and names != [own]:
        raise click.UsageError(f"{file} explains by {own}, and not by {', '.join(names)}: use a bundle")
    if own != "sise" and mu is not None:
        raise click.UsageError(f"--mu does not apply to {file}, which explains by {own}")
    settings = dict(methods[0].settings) if given else {}
    chosen = {name: value for name, value in settings.items() if name in methods[0].given}
    if other := sorted(set(chosen) - {"mu", "fusion"}):
        raise click.UsageError(
            f"{other[0]} does not apply to {file}, whose graph has decided that: use a bundle"
        )
    if (fusion or chosen.get("fusion", "otsu")) != "otsu":
        raise click.UsageError(f"{file} fuses by otsu, which is in its graph: use a bundle")
    return float(mu if mu is not None else chosen.get("mu", 0.0))


def verify_file(file: Path, provider: str, threads: int | None) -> None:
    """Run a single file's own test again, and tell what came of it.

    Raises:
        BundleError: it gives other numbers than where it was made.
    """
    single = open_single_file(file, "cpu" if provider == "auto" else provider, threads)
    errors = verify_single_file(single)
    say(parity_line(errors, TOLERANCES))
    if failed := failures(errors, TOLERANCES):
        raise BundleError(f"{file} gives other numbers than where it was made: {'; '.join(failed)}")
    say(f"{file} is sound on {single.provider.name}")
