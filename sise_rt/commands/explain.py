"""`sise-rt explain`, thin over `Explainer.explain_methods`."""

from __future__ import annotations

import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click

from sise_rt.errors import BundleError, MethodError, ProviderError, SiseError
from sise_rt.wording import counted

from .command import Command
from .console import (
    FAILED_IMAGES,
    MAX_PIXELS,
    MEMORY,
    PROVIDER,
    QUIET,
    THREADS,
    complain,
    progress_bar,
    rate,
)
from .interrupt import Interrupt
from .results import check_writable, write_results

PRESETS: dict[str, dict[str, Any]] = {"exact": {}, "fast": {"budget": 0.1}}


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


def _number(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):  # a range lets them pass
        raise click.BadParameter(f"{value} is no number")
    return value


@click.command(cls=Command)
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
    callback=_number,
    help="Selection threshold of sise, 0 by default: higher scores fewer masks, 0.3 about a quarter.",
)
@click.option("--fusion", type=click.Choice(["otsu", "otsu-soft"]), help="Of sise and ada-sise.")
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    help="Of sise: exact, as by default, or fast, which scores a tenth of the masks as --budget 0.1 does.",
)
@click.option(
    "--budget",
    type=click.FloatRange(0, 1, min_open=True),
    callback=_number,
    help="Of sise: the share of the masks to score.",
)
@click.option("--max-passes", type=click.IntRange(1), help="Of sise: forward passes at most.")
@click.option(
    "--max-seconds",
    type=click.FloatRange(0, min_open=True),
    callback=_number,
    help="Of sise: score for so long at most, features included; loading and fusion come on top.",
)
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
@MEMORY
@click.option("--tf32", is_flag=True, help="Let CUDA round to TensorFloat-32, which is faster.")
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
    preset: str | None,
    budget: float | None,
    max_passes: int | None,
    max_seconds: float | None,
    methods: list[str],
    check: bool,
    blocks: bool,
    provider: str,
    batch_size: int | None,
    threads: int | None,
    memory: int | None,
    tf32: bool,
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
      sise-rt explain cat.jpg -m resnet50.sise --preset fast
      sise-rt explain cat.jpg -m resnet50.sise --json --mu 0.3 | jq .confidence
      sise-rt explain cat.jpg -m resnet50.sise --method sise,grad-cam,rise:masks=1000 --check
    """
    from sise_rt import Stop, load
    from sise_rt.methods import WITH_BLOCKS, parse_method, settings_of
    from sise_rt.targets import resolve_target

    if targets and top_k > 1:
        raise click.UsageError("--top-k explains the best classes and -t the named ones: give one of them")
    clashes = [stem for stem, count in Counter(image.stem for image in images).items() if count > 1]
    if clashes:
        raise click.UsageError(
            f"several images are called {clashes[0]!r} and would overwrite each other's results in {out}"
        )
    if blocks and not any(parse_method(method)[0] in WITH_BLOCKS for method in methods):
        raise click.UsageError(f"--blocks: no maps of single blocks from {', '.join(methods)}")
    alone = methods == ["sise"]
    if preset and budget is not None:
        raise click.UsageError(f"--preset {preset} and --budget {budget:g} both say how much: give one")
    chosen = PRESETS[preset or "exact"]
    if chosen and not any("budget" in settings_of(parse_method(text)[0]) for text in methods):
        raise click.UsageError(f"--preset {preset} says nothing to {', '.join(methods)}")
    given = {
        "mu": mu,
        "fusion": fusion,
        "budget": budget,
        "max_passes": max_passes,
        "max_seconds": max_seconds,
    }
    own = {key for text in methods for key in parse_method(text)[1]}
    if clash := own & chosen.keys():
        both = f"--preset {preset} and {', '.join(methods)} both set {', '.join(clash)}"
        raise click.UsageError(f"{both}: give one of them")
    methods = _with_options(methods, chosen | {k: v for k, v in given.items() if v is not None})
    explainer = load(bundle, provider, threads, memory, tf32)
    if mu and not explainer.manifest.has_gradients:
        raise click.UsageError(
            f"{bundle} was exported without gradients, so --mu has nothing to select by: leave it out"
        )
    explainer.check_methods(methods)
    if check:
        explainer.engine.require("forward")
    indices = list(dict.fromkeys(resolve_target(target, explainer.manifest) for target in targets))
    check_writable(out)
    failed, start = 0, time.perf_counter()
    for image in images:
        problems, interrupt = [], Interrupt()
        try:
            with progress_bar(image.name, hidden=quiet or as_json) as show, interrupt:
                found = explainer.explain_methods(
                    image,
                    indices or None,
                    methods,
                    top_k=min(top_k, explainer.manifest.classes),
                    batch_size=batch_size,
                    progress=interrupt.progress(show),
                    max_pixels=max_pixels,
                )
            problems += write_results(
                explainer, found, out, not alone, interrupt.asked, check, blocks, as_json, quiet
            )
        except MethodError as error:
            raise click.UsageError(str(error)) from error
        except (BundleError, ProviderError):  # not this picture's fault: the next one would fail too
            raise
        except Stop:  # of a method that has nothing to show before its end
            raise KeyboardInterrupt from None
        except SiseError as error:
            problems.append(str(error))
        except MemoryError:
            problems.append("out of memory; try --batch-size 1")
        for problem in problems:
            complain(problem if str(image) in problem else f"{image}: {problem}")
        failed += bool(problems)
        if interrupt.asked:
            raise KeyboardInterrupt
    done, seconds = len(images) - failed, time.perf_counter() - start
    if done > 1 and not (as_json or quiet):
        click.echo(rate(done, seconds))
    if failed:
        complain(f"{failed} of {counted(len(images), 'image')} failed")
        raise SystemExit(FAILED_IMAGES)


def _with_options(methods: list[str], options: dict[str, Any]) -> list[str]:
    """The methods with the options that they have and do not set themselves."""
    from sise_rt.methods import parse_method, settings_of

    parsed = {text: parse_method(text) for text in methods}
    for key, value in options.items():
        option = f"--{key.replace('_', '-')}"
        takers = [t for t, (name, given) in parsed.items() if key in settings_of(name) and key not in given]
        if not takers and (own := [text for text, (_, given) in parsed.items() if key in given]):
            raise click.UsageError(f"{option} {value}, but {', '.join(own)} says otherwise: give one of them")
        if not takers:
            raise click.UsageError(f"{option} says nothing to {', '.join(methods)}")
        texts = [f"{t}:{key}={value}" if t in takers else t for t in parsed]
        parsed = {t: parse_method(t) for t in texts}
        settings = [(name, settings_of(name, given)) for name, given in parsed.values()]
        if len(parsed) < len(texts) or any(one in settings[:i] for i, one in enumerate(settings)):
            raise click.UsageError(f"{option} {value} makes two of the methods the same")
    return list(parsed)
