"""The `sise-rt` command, thin over `sise_rt` and `sise_rt.export`; heavy imports wait for their command."""

from __future__ import annotations

import io
import json
import math
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sise_rt.console import (
    MAX_PIXELS,
    PROVIDER,
    QUIET,
    THREADS,
    block_table,
    complain,
    described,
    parity_line,
    progress_bar,
    summary,
)
from sise_rt.errors import (
    BundleError,
    MethodError,
    ModelError,
    NoEvidence,
    OutputError,
    ProviderError,
    SiseError,
)
from sise_rt.evaluation.command import evaluate
from sise_rt.wording import counted

FAILED_IMAGES, UNUSABLE, INTERRUPTED = 1, 2, 130


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


# -------------------- option values


class Numbers(click.ParamType):
    """Comma-separated finite numbers, one a channel."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse `0.485,0.456,0.406`."""
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no comma-separated list of numbers", param, ctx)


class Size(click.ParamType):
    """`224`, or height x width as `240x320`."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Parse the size as (height, width)."""
        parts = str(value).lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no size: give 224, or height x width as 240x320", param, ctx)
        return int(parts[0]), int(parts[-1])


class Batch(click.ParamType):
    """`auto`, or a number of masks."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Parse to None for `auto`."""
        if value is None or value == "auto":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither auto nor a positive number", param, ctx)
        return int(value)


class Methods(click.ParamType):
    """Comma-separated methods, each with its options."""

    name = "methods"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Parse `sise,rise:masks=1000:seed=1`."""
        from sise_rt.methods import parse_method, settings_of

        if isinstance(value, list):
            return value
        methods = [part.strip() for part in str(value).split(",") if part.strip()]
        try:
            parsed = [(name, settings_of(name, given)) for name, given in map(parse_method, methods)]
        except MethodError as error:
            self.fail(str(error), param, ctx)
        if not parsed or any(one in parsed[:i] for i, one in enumerate(parsed)):
            self.fail("name at least one method, and none twice", param, ctx)
        return methods


def _mu(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and math.isnan(value):  # a range lets it pass
        raise click.BadParameter("mu must lie in [0, 1)")
    return value


def _names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


OUTPUT_NAME = click.option(
    "--output", "output_name", metavar="NAME", help="Which output to explain, if there are several."
)
INPUT_SIZE = click.option(
    "--input-size", type=Size(), help="224 or HEIGHTxWIDTH, where the model leaves it free."
)
BLOCKS = click.option(
    "--blocks",
    metavar="A,B,C",
    callback=_names,
    help="Block outputs: tensor names, or module names of a torch model. Found by default.",
)


# -------------------- demo


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


# -------------------- export


@cli.command()
@click.argument("source")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The bundle, a folder; by default NAME.sise here."
)
@click.option("--weights", metavar="FILE|DEFAULT|none", help="For torchvision:, timm: and factories.")
@click.option(
    "--activation", type=click.Choice(["softmax", "sigmoid"]), help="What turns logits into confidences."
)
@click.option("--labels", type=click.Path(path_type=Path), help="File with one label a line.")
@BLOCKS
@OUTPUT_NAME
@INPUT_SIZE
@click.option("--mean", type=Numbers(), help="One a channel, after --scale; for example 0.485,0.456,0.406.")
@click.option("--std", type=Numbers(), help="One a channel, after --scale.")
@click.option("--scale", type=float, help="Pixels are divided by it: 255 for [0, 1], 1 for none.")
@click.option("--crop-pct", type=float, help="Share of the resized side that is cropped, as 0.875.")
@click.option("--crop-mode", type=click.Choice(["center", "squash"]), help="squash ignores the aspect ratio.")
@click.option("--interpolation", type=click.Choice(["bilinear", "bicubic"]))
@click.option(
    "--color", type=click.Choice(["RGB", "BGR", "GRAY"], case_sensitive=False), help="Channel order."
)
@click.option(
    "--without-gradients",
    is_flag=True,
    help="For a model with an operator that has no gradient rule: all maps are kept, none is selected.",
)
@click.option("--licence", help="Of the weights, kept in the bundle.")
@click.option("--overwrite", is_flag=True, help="Replace an existing bundle.")
@QUIET
def export(
    source: str,
    out: Path | None,
    weights: str | None,
    activation: str | None,
    labels: Path | None,
    blocks: list[str] | None,
    output_name: str | None,
    input_size: tuple[int, int] | None,
    without_gradients: bool,
    licence: str | None,
    overwrite: bool,
    quiet: bool,
    **preprocess: Any,
) -> None:
    """Export a trained CNN to a bundle.

    SOURCE is model.onnx, torchvision:NAME, timm:NAME, or package.module:factory (a function that returns a
    torch.nn.Module). What is not given comes from the source's own metadata, else from ImageNet's convention,
    and is printed and recorded as assumed.

    \b
    Examples:
      sise-rt export model.onnx -o model.sise --labels labels.txt
      sise-rt export torchvision:resnet50 --weights DEFAULT
      sise-rt export timm:regnety_004 --weights finetuned.safetensors --labels labels.txt
    """
    from sise_rt.export import export as export_bundle
    from sise_rt.export.parity import allowed_errors

    out = out or Path(f"{Path(source.rpartition(':')[2]).name.removesuffix('.onnx')}.sise")
    report = export_bundle(
        source,
        out,
        weights=weights,
        activation=activation,
        labels=labels,
        blocks=blocks,
        gradients=not without_gradients,
        output_name=output_name,
        input_size=input_size,
        preprocess=preprocess,
        licence=licence,
        overwrite=overwrite,
    )
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    if quiet:
        return
    for note in report.notes:
        click.echo(note, err=True)
    click.echo(described(report.manifest, report.path))
    parity = report.manifest.parity
    click.echo(parity_line(parity["errors"], allowed_errors(bool(parity.get("quantised")))))


# -------------------- inspect


@cli.command()
@click.argument("source", metavar="BUNDLE|SOURCE")
@click.option("--weights", metavar="FILE|DEFAULT|none", help="For torchvision: and timm:, random by default.")
@BLOCKS
@OUTPUT_NAME
@INPUT_SIZE
def inspect(
    source: str,
    weights: str | None,
    blocks: list[str] | None,
    output_name: str | None,
    input_size: tuple[int, int] | None,
) -> None:
    """Show the blocks of a bundle or a model, and what an export would refuse and why.

    \b
    Examples:
      sise-rt inspect resnet50.sise
      sise-rt inspect model.onnx
      sise-rt inspect torchvision:resnet50
    """
    path = Path(source)
    if path.is_dir() or path.suffix == ".sise":
        from sise_rt.bundle import read_bundle

        manifest = read_bundle(path)
        click.echo(described(manifest, path))
        settings = manifest.preprocess
        click.echo(
            f"preprocessing: {settings.crop_mode} crop {settings.crop_pct:g}, {settings.interpolation}, "
            f"{settings.color}, scale {settings.scale:g}, mean {settings.mean}, std {settings.std}"
        )
        if not manifest.has_gradients:
            click.echo("gradients: none (exported --without-gradients): every map that is not flat is a mask")
        origin = [f"{key} {value}" for key, value in manifest.source.items() if value]
        click.echo(f"source: {', '.join(origin) or 'unknown'}")
        click.echo(f"licence: {manifest.licence or 'unknown'}")
        for note in manifest.assumed:
            click.echo(f"assumed: {note}")
        return
    from sise_rt.export.examine import examine

    found = examine(source, weights=weights, output_name=output_name, input_size=input_size, blocks=blocks)
    if found.size:
        classes = counted(found.classes or 0, "class", "classes")
        click.echo(f"input {'x'.join(map(str, found.size))}, {classes}, {found.activation}")
    if found.blocks:
        click.echo(block_table(found.blocks))
    for note in found.notes:
        click.echo(note)
    for refusal in found.refusals:
        complain(refusal)
    if found.only_gradients:
        click.echo(f"all other steps work: sise-rt export {source} --without-gradients")
    if found.refusals:
        raise SystemExit(UNUSABLE)
    click.echo(f"can be exported: sise-rt export {source}")


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
    from sise_rt.verify import failures, tolerances, verify

    explainer = load(bundle, provider, threads)
    manifest = explainer.manifest
    click.echo(f"{len(manifest.files)} files match their hashes, schema {manifest.schema_version}")
    errors = verify(explainer.engine)
    click.echo(parity_line(errors, tolerances(manifest)))
    if failed := failures(errors, tolerances(manifest)):
        raise BundleError(f"{bundle} does not give its source's numbers on this machine: {'; '.join(failed)}")
    click.echo(f"{bundle} is sound on {explainer.engine.provider}")


# -------------------- explain


@cli.command()
def methods() -> None:
    """List the methods of explain and evaluate, and their options.

    \b
    Example:
      sise-rt methods
    """
    from sise_rt.methods import METHODS, settings_of

    for name, method in METHODS.items():
        what = next(iter((sys.modules[method.__module__].__doc__ or "").splitlines()), "")
        options = [f"{key}={_shown(key, value)}" for key, value in settings_of(name).items()]
        click.echo(f"{name:22} {what}")
        if options:
            click.echo(f"{'':22} options: {':'.join(options)}")


@cli.command()
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-m", "--model", "bundle", metavar="BUNDLE", required=True, type=click.Path(path_type=Path))
@click.option(
    "-t",
    "--target",
    "targets",
    metavar="TARGET",
    multiple=True,
    help="Class index or label; may be repeated.",
)
@click.option(
    "--top-k",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Without -t: explain the N best classes.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default="explanations",
    show_default=True,
    help="Output folder.",
)
@click.option(
    "--mu",
    type=click.FloatRange(0, 1, max_open=True),
    callback=_mu,
    help="Selection threshold of sise, 0 by default: higher scores fewer masks, 0.3 about a quarter.",
)
@click.option("--fusion", type=click.Choice(["otsu", "otsu-soft"]), help="Of sise and ada-sise.")
@click.option(
    "--method",
    "methods",
    type=Methods(),
    default="sise",
    show_default=True,
    metavar="A,B,...",
    help="Methods, with options as in sise:mu=0.3; several are also put side by side. See sise-rt methods.",
)
@click.option("--check", is_flag=True, help="Also record drop, increase, insertion and deletion.")
@click.option("--blocks", is_flag=True, help="Also write a strip: picture, every block's map, explanation.")
@PROVIDER
@click.option("--batch-size", type=Batch(), default="auto", show_default=True, help="Masks per forward pass.")
@THREADS
@MAX_PIXELS
@click.option("--json", "as_json", is_flag=True, help="One JSON record a line on standard output.")
@QUIET
def explain(
    images: tuple[Path, ...],
    bundle: Path,
    targets: tuple[str, ...],
    top_k: int,
    out: Path,
    mu: float | None,
    fusion: str | None,
    methods: list[str],
    check: bool,
    blocks: bool,
    provider: str,
    batch_size: int | None,
    threads: int | None,
    max_pixels: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Explain predictions: an overlay .png, the map as .npy, and a .json record for each image and target.

    Without -t the class with the highest confidence is explained. An image that fails is one line on standard
    error; the others are done, and the exit code is 1.

    \b
    Examples:
      sise-rt explain cat.jpg -m resnet50.sise
      sise-rt explain *.jpg -m resnet50.sise -t tabby -t 242 -o maps --blocks
      sise-rt explain cat.jpg -m resnet50.sise --json --mu 0.3 | jq .confidence
      sise-rt explain cat.jpg -m resnet50.sise --method sise,grad-cam,rise:masks=1000 --check
    """
    from sise_rt import load
    from sise_rt.check import check as check_map
    from sise_rt.targets import resolve_target

    if targets and top_k > 1:
        raise click.UsageError("--top-k explains the best classes and -t the named ones: give one of them")
    clashes = [stem for stem, count in Counter(image.stem for image in images).items() if count > 1]
    if clashes:
        raise click.UsageError(
            f"several images are called {clashes[0]!r} and would overwrite each other's results in {out}"
        )
    alone = methods == ["sise"]
    methods = _with_options(methods, {"mu": mu, "fusion": fusion})
    explainer = load(bundle, provider, threads)
    if mu and not explainer.manifest.has_gradients:
        raise click.UsageError(
            f"{bundle} was exported without gradients, so --mu has nothing to select by: leave it out"
        )
    explainer.check_methods(methods)
    indices = [resolve_target(target, explainer.manifest) for target in targets]
    _check_writable(out)
    failed = 0
    for image in images:
        problems = []
        try:
            with progress_bar(image.name, hidden=quiet or as_json) as progress:
                found = explainer.explain_methods(
                    image,
                    indices or None,
                    methods,
                    top_k=min(top_k, explainer.manifest.classes),
                    batch_size=batch_size,
                    progress=progress,
                    max_pixels=max_pixels,
                )
            for label, explanations in found.items():
                for explanation in explanations:
                    if isinstance(explanation, NoEvidence):
                        problems.append(f"{label}: {explanation}" if len(methods) > 1 else str(explanation))
                        continue
                    try:
                        explanation = check_map(explainer.engine, explanation) if check else explanation
                    except ModelError as error:  # the map is there all the same
                        problems.append(f"--check: {error}")
                    files = explanation.save(out, label="" if alone else label, blocks=blocks)
                    if as_json:
                        record = explanation.record() | {"files": list(map(str, files))}
                        click.echo(json.dumps(record, ensure_ascii=False))
                    elif not quiet:
                        click.echo(summary(explanation, files[0]))
            if len(methods) > 1:
                for strip in _side_by_side(found, out):
                    if not (as_json or quiet):
                        click.echo(f"side by side: {strip}")
        except MethodError as error:
            raise click.UsageError(str(error)) from error
        except (BundleError, ProviderError):  # not this picture's fault: the next one would fail too
            raise
        except SiseError as error:
            problems.append(str(error))
        except MemoryError:
            problems.append("out of memory; try --batch-size 1")
        for problem in problems:
            complain(problem if str(image) in problem else f"{image}: {problem}")
        failed += bool(problems)
    if failed:
        complain(f"{failed} of {counted(len(images), 'image')} failed")
        raise SystemExit(FAILED_IMAGES)


def _shown(key: str, value: Any) -> str:
    """An option's default, and what else it may be, as it is typed."""
    from sise_rt.methods import CHOICES

    if isinstance(value, tuple):
        return "+".join(map(str, value))
    others = [choice for choice in CHOICES.get(key, ()) if choice != value]
    return "|".join([str(value), *others])


cli.add_command(evaluate)


def _with_options(methods: list[str], options: dict[str, Any]) -> list[str]:
    """The methods with the options that they have and do not set themselves."""
    from sise_rt.methods import parse_method, settings_of

    parsed = {text: parse_method(text) for text in methods}
    for key, value in options.items():
        if value is None:
            continue
        takers = [t for t, (name, given) in parsed.items() if key in settings_of(name) and key not in given]
        if not takers:
            raise click.UsageError(f"--{key} says nothing to {', '.join(methods)}")
        texts = [f"{t}:{key}={value}" if t in takers else t for t in parsed]
        parsed = {t: parse_method(t) for t in texts}
        if len(parsed) < len(texts):
            raise click.UsageError(f"--{key} {value} makes two of the methods the same")
    return list(parsed)


def _side_by_side(found: dict[str, list[Any]], folder: Path) -> list[Path]:
    """Write one strip a target with the maps of all methods: `<stem>.<target>.methods.png`."""
    from sise_rt.explanation import compare
    from sise_rt.render import save_png

    files = []
    for explanations in zip(*found.values(), strict=True):
        shown = {
            k: None if isinstance(e, NoEvidence) else e for k, e in zip(found, explanations, strict=True)
        }
        first = next((e for e in shown.values() if e is not None), None)
        if first is not None:
            files.append(folder / f"{Path(first.name).stem}.{first.target}.methods.png")
            save_png(files[-1], compare(shown))
    return files


def _check_writable(folder: Path) -> None:
    """Find out before the work, not after it."""
    from sise_rt.files import write_whole

    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".sise-rt-writable"
        write_whole(probe, b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(f"output folder {str(folder)!r} cannot be written: {error}") from error
