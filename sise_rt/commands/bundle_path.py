"""The bundle that a command is given, and what people give in its place."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from sise_rt.bundle import MANIFEST, parse_manifest
from sise_rt.errors import SiseError

from .command import Refusal
from .help_pages import WHAT, option

TORCH_WEIGHTS = (".pt", ".pth", ".ckpt", ".safetensors")
SPLITTING = set(" \t'\"`\\$&;|<>()*?[]#~!{}:")  # what means something to a shell
ZOOS = ("torchvision:", "timm:")


class BundlePath(click.ParamType):
    """The folder of a bundle; the bundle itself is read when the command runs."""

    name = "bundle"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Take it, unless it is a model, or a file of a bundle, and say what to do then.

        Raises:
            Refusal: in one line.
        """
        if instead := instead_of(str(value)):
            raise Refusal(instead)
        return Path(value)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        """Where a bundle comes from, for those who have none."""
        return "A bundle is what sise-rt export makes of a model."

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Folders, by the shell."""
        return [CompletionItem(incomplete, type="dir")]


def instead_of(given: str) -> str | None:
    """What to give in place of what is no bundle, None where it may be one."""
    path, export = Path(given), f"sise-rt export {shlex.quote(given)}"
    if given.startswith(ZOOS):
        return f"{given} is a model, not a bundle: export it first: {export}"
    if path.is_dir():
        holds_model = any((path / name).is_file() for name in ("config.json", "model.onnx"))
        if holds_model and not (path / MANIFEST).exists():
            return f"{given} holds a model and is no bundle: export it first: {export}"
        return None
    if path.is_file() and (path.parent / MANIFEST).is_file():
        return f"{given} is a file of a bundle: give the folder: {shlex.quote(str(path.parent))}"
    if path.suffix == ".onnx":
        if path.exists():
            return f"{given} is a model, not a bundle: export it first: {export}"
        return f"no such file: {given}; a model is exported before it is explained: {export}"
    if path.suffix in TORCH_WEIGHTS:
        return (
            f"{given} is a file of torch, not a bundle: export the model with its weights first: sise-rt "
            f"export timm:NAME --weights {shlex.quote(given)} (or torchvision:NAME, package.module:factory)"
        )
    return None


def labels_of(bundle: Any) -> Sequence[str]:
    """The labels of a bundle, none where it cannot be read; its files are not held against their hashes."""
    path = Path(bundle) / MANIFEST
    with suppress(SiseError, OSError, ValueError):
        return parse_manifest(path.read_text("utf-8"), str(path)).labels
    return ()


def complete_target(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labels that begin so, of the bundle that stands before; an index where a shell would split a label."""
    items = []
    for index, label in enumerate(labels_of(ctx.params.get("bundle") or "")):
        name = label.split(",")[0].strip()
        value = name if name and not set(name) & SPLITTING else str(index)
        if value.casefold().startswith(incomplete.casefold()):
            items.append(CompletionItem(value, help=label))
    return items


def of_model(kind: click.ParamType, text: str) -> Callable[..., Any]:
    """The option that names the model, of a kind that a command takes; `text` explains it."""
    return option(
        "-m", "--model", "bundle", heading=WHAT, metavar="BUNDLE", required=True, type=kind, help=text
    )


BUNDLE = of_model(BundlePath(), "The model, as sise-rt export makes it.")
