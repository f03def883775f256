"""`sise-rt explain -m explain.onnx`, and what else commands do with a single file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from sise_rt.bulk.items import Item, Outcome, failure_of
from sise_rt.bulk.keeping import Keep, Written, write_files
from sise_rt.bulk.ledger import has_run
from sise_rt.bulk.listing import from_arguments, is_run
from sise_rt.errors import BundleError
from sise_rt.methods import Request
from sise_rt.pictures.picture import prepare
from sise_rt.running.one_graph import TOLERANCES, open_single_file, verify_single_file
from sise_rt.running.verify import failures
from sise_rt.self_explained import explain_by_file, manifest_of
from sise_rt.single_file import is_single_file
from sise_rt.wording import counted

from .bundle_path import BundlePath, of_model
from .classes import best_classes, named_classes
from .console import FAILED_IMAGES, complain, parity_line, say, say_json
from .drawing_options import Drawing
from .machine_options import Machine
from .results import name_of, prepare_folder, problems_of, records, replaced, say_outcome, without_evidence
from .signals import starting
from .writing_options import Writing

# What `explain` takes for a single file too: the graph has decided how much is scored, and no run is kept.
APPLIES = frozenset(
    "images bundle targets top_k methods mu fusion out outputs blocks report map_size size outline palette "
    "plain transparent compare as_json quiet bit_depth max_pixels provider threads".split()
)
# Those that make a bundle score fewer masks, which a single file does by a higher mu.
FEWER = frozenset("preset max_passes max_seconds".split())
# The arguments that it arrives in.
ARGUMENTS = "images targets top_k methods mu fusion writing drawing machine bit_depth max_pixels".split()


class BundleOrSingleFile(BundlePath):
    """The folder of a bundle, or a model that explains itself."""

    name = "bundle|file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Take it, unless it is neither."""
        path = Path(value)
        return path if is_single_file(path) else super().convert(value, param, ctx)


MODEL = of_model(
    BundleOrSingleFile(), "The model, as sise-rt export makes it; also a single file, explain.onnx."
)


def or_by_single_file(command: Callable[..., None]) -> Callable[..., None]:
    """Let `explain` explain by a single file as well."""

    @wraps(command)
    def by_either(*, bundle: Path, **given: Any) -> None:
        if bundle.suffix == ".onnx":
            _refuse_options(bundle)
            explain_images(bundle, **{name: given[name] for name in ARGUMENTS})
        else:
            command(bundle=bundle, **given)

    return by_either


def explain_images(
    file: Path,
    *,
    images: Sequence[str],
    targets: Sequence[str],
    top_k: int,
    methods: Sequence[Request],
    mu: float | None,
    fusion: str | None,
    writing: Writing,
    drawing: Drawing,
    machine: Machine,
    bit_depth: int | None,
    max_pixels: int,
) -> None:
    """Explain pictures by a single file, one after the other, and write what `explain` writes of one picture.

    Raises:
        click.UsageError: an option asks for what the graph does not do, or a run of pictures is named.
        SystemExit: with 1 where pictures failed.
    """
    two = drawing.compare is not None
    top_k = best_classes(targets, top_k, two=two)
    items = _named_pictures(file, images, writing)
    with starting():
        single = open_single_file(
            file, "cpu" if machine.provider == "auto" else machine.provider, machine.threads
        )
    method = single.facts.method
    mu = _mu(file, method, methods, mu, fusion)
    manifest = manifest_of(single)
    indices = named_classes(targets, manifest, two=two)
    keep = Keep(
        folder=writing.out,
        outputs=writing.outputs,
        named=method != "sise",
        map_size=writing.map_size,
        draw=drawing.draw,
        compare=drawing.compare,
    )
    prepare_folder(
        keep.folder, [(item.stem, name_of(item)) for item in items], indices or range(manifest.classes)
    )

    def explained(item: Item) -> Outcome:
        picture = prepare(item.picture, manifest.preprocess, bit_depth=bit_depth, max_pixels=max_pixels)
        return Outcome(item, picture, {method: explain_by_file(single, picture, indices, top_k, mu)})

    failed = sum(_kept_and_told(item, explained, keep, writing) for item in items)
    if failed:
        complain(f"{failed} of {counted(len(items), 'image')} failed")
        raise SystemExit(FAILED_IMAGES)


def _named_pictures(file: Path, images: Sequence[str], writing: Writing) -> Sequence[Item]:
    """The pictures that are named, each by its own name.

    Raises:
        click.UsageError: there is none, or something else is named.
    """
    if not images:
        raise click.UsageError("Missing argument 'IMAGE...': name pictures")
    if many := next((image for image in images if is_run([image])), None):
        raise click.UsageError(f"{file} explains pictures that are named, and {many!r} is none: use a bundle")
    if has_run(writing.out):
        raise click.UsageError(
            f"{str(writing.out)!r} holds a run, which {file} cannot go on with: name another folder (-o)"
        )
    return from_arguments(images).items


def _kept_and_told(item: Item, explained: Callable[[Item], Outcome], keep: Keep, shown: Writing) -> bool:
    """Explain a picture, write and print what was found; whether something is missing.

    Raises:
        SiseError: not the picture's fault.
    """
    written = Written()
    try:
        outcome = explained(item)
        notes = [] if shown.quiet else list(replaced(outcome, keep))
        written = write_files(outcome, keep)
        say(*notes, err=True)
    except Exception as error:
        outcome = Outcome(item, error=failure_of(error))
    if shown.as_json:
        for record in records(outcome, written):
            say_json(record)
    elif not shown.quiet:
        say_outcome(outcome, written)
    missing = [*without_evidence(outcome), *problems_of(outcome, shown.check_option)]
    for line in missing:
        complain(line)
    return bool(missing)


def _refuse_options(file: Path) -> None:
    """Refuse options that are given and are a bundle's alone."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in APPLIES and source not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP, None):
            fewer = ", or --mu for fewer masks" if name in FEWER else ""
            shown = "/".join((*parameter.opts[:1], *parameter.secondary_opts[:1]))
            raise click.UsageError(f"{shown} does not apply to {file}, a single file: use a bundle{fewer}")


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
    return mu if mu is not None else cast("float", chosen.get("mu", 0.0))


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
