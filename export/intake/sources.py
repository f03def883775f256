"""Where models come from: an ONNX file, a published folder, a torch module, torchvision, timm, a factory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from sise_rt.bundle import MANIFEST
from sise_rt.errors import ArgumentError, ModelError
from sise_rt.wording import Note

from ..ir.messages import gist
from ..origins import timm
from ..origins.description import Description
from ..origins.kinds import describe
from ..origins.published import Choice, Published, home_of, model_of
from .onnx_file import open_onnx, take_whole_pixels
from .sizes import SIZE, check_size
from .source import Source

if TYPE_CHECKING:
    import torch


def open_source(
    source: str | Path | torch.nn.Module,
    scratch: Path,
    *,
    example: Any = None,
    weights: str | None = None,
    size: tuple[int, int] | None = None,
    output: str | None = None,
) -> Source:
    """Open whatever the user named.

    Args:
        source: a torch module, a path of an ONNX file, the folder of a published model, `torchvision:NAME`,
            `timm:NAME` or `package.module:factory`.
        scratch: a folder that outlives the source.
        example: (N, C, H, W) float images for a torch module; None makes one from `size` and the first
            convolution.
        weights: a file, `DEFAULT` or `none`; for models that are built here.
        size: (height, width) of the input, where the model leaves it free.
        output: which output to explain, where an ONNX file has several.

    Raises:
        ArgumentError: the source, its weights and its example do not go together.
        ModelError: there is no such source, or it cannot be read or exported.
    """
    if not isinstance(source, (str, Path)):
        if weights is not None:
            raise ArgumentError(
                "weights go with a model that is built here: load them into the module instead",
                settings=("weights",),
            )
        return _torch_source(source, "model", "torch", Description(), scratch, Wanted(example, size, output))
    text, wanted = str(source), Wanted(example, size, output)
    path = Path(text)
    if path.suffix == ".sise" or (path / MANIFEST).is_file():
        raise ArgumentError(f"{text} is a bundle already: export the model that it was made from")
    if path.suffix == ".onnx" or path.is_file() or path.is_dir():
        if weights is not None:
            raise ArgumentError(
                "weights go with a torch model; a model file or folder holds its own", settings=("weights",)
            )
        if path.is_dir() and path.suffix != ".onnx":
            return _published_source(path, scratch, wanted)
        return _described_source(path, scratch, wanted)
    if not text.partition(":")[2]:
        raise ModelError(
            f"no such model file: {text}; a source is model.onnx, the folder of a published model, "
            "torchvision:NAME, timm:NAME or package.module:factory"
        )
    return _built_source(text, weights, scratch, wanted)


def _published_source(folder: Path, scratch: Path, wanted: Wanted) -> Source:
    """Open the model of a published folder, whose files describe it."""
    choice = model_of(folder)
    if choice.model.suffix == ".onnx":
        opened = open_onnx(choice.model, wanted.output, scratch)
        _describe(opened, choice.model, choice.folder, wanted)
    else:
        opened = _weights_source(choice, scratch, wanted)
    opened.name = folder.resolve().name
    if choice.others:
        model = choice.model.relative_to(folder)
        opened.notes.append(f"{model} of {folder} is taken; beside it lie {', '.join(choice.others)}")
    return opened


def _described_source(path: Path, scratch: Path, wanted: Wanted) -> Source:
    """Open an ONNX file, which files beside it may describe."""
    opened = open_onnx(path, wanted.output, scratch)
    home, why_none = home_of(path)
    try:
        beside = describe(Published(home or path.parent, path)).said
    except ModelError as error:  # a file of the same name may be of something else
        home, beside, why_none = None, {}, None
        opened.notes.append(f"not read beside the model: {error.message}")
    _describe(opened, path, home, wanted)
    if why_none and beside:
        names = ", ".join(sorted({said.file for said in beside.values()}))
        opened.notes.append(f"{names} beside the model not read: {why_none}")
    return opened


def _describe(opened: Source, model: Path, folder: Path | None, wanted: Wanted) -> None:
    """Let a source be described by its properties and by the files around it."""
    channels, *sides = opened.ends.image_size
    height, width = (own or given for own, given in zip(sides, wanted.size or (None, None), strict=True))
    properties = {entry.key: entry.value for entry in opened.model.metadata_props}
    described = describe(Published(folder, model, properties, (channels, height, width)))
    opened.description = opened.description.with_more(described)
    opened.notes.extend(described.notes)
    if "uint8" in opened.precision:
        take_whole_pixels(opened)


def _weights_source(choice: Choice, scratch: Path, wanted: Wanted) -> Source:
    """Build the model of a published folder that holds no graph, but weights for a model of timm."""
    published = Published(choice.folder, choice.model, size=(None, *(wanted.size or (None, None))))
    model = timm.model_for(published)
    description = describe(published)
    from . import from_torch

    try:
        module, _ = from_torch.timm_model(model.architecture, str(choice.model), **model.options)
    except ModelError:
        raise
    except Exception as error:  # options that this architecture does not have, in timm's or torch's words
        raise ModelError(
            f"{choice.folder}: timm cannot build {model.architecture} as config.json says: {gist(error)}"
        ) from error
    opened = _parked_source(module, model.architecture, "timm", description, scratch, wanted)
    opened.notes.extend(description.notes)
    return opened


def _built_source(text: str, weights: str | None, scratch: Path, wanted: Wanted) -> Source:
    """Build a model of torchvision, timm or a factory."""
    from . import from_torch

    kind, _, name = text.partition(":")
    if kind in ("torchvision", "timm") and weights is None:
        raise ArgumentError(
            f"{text} needs weights: a file, DEFAULT (the published ones) or none (random, for trials)",
            settings=("weights",),
        )
    if kind == "torchvision":
        module, description = from_torch.torchvision_model(name, str(weights))
    elif kind == "timm":
        module, description = from_torch.timm_model(name, str(weights))
    else:
        module, description, kind = from_torch.factory_model(text, weights), Description(), "torch"
    opened = _parked_source(module, name, kind, description, scratch, wanted)
    if weights == "none":
        line = Note("WEIGHTS ARE RANDOM (none were asked for): explanations of this bundle mean nothing")
        opened.assumed.append(line)
        opened.warnings.append(line)
    return opened


def _parked_source(
    module: torch.nn.Module, name: str, kind: str, description: Description, scratch: Path, wanted: Wanted
) -> Source:
    """Open a module that was built here, so that nobody else holds its weights."""
    opened = _torch_source(module, name, kind, description, scratch, wanted)
    if opened.program is not None:
        from .parking import park

        opened.parked = park(module, opened.program, scratch / "torch.bin")
    return opened


class Wanted(NamedTuple):
    """What the user says of a torch module: an example or a size, and which of its results to explain."""

    example: Any
    size: tuple[int, int] | None
    output: str | None


def _torch_source(
    module: torch.nn.Module, name: str, kind: str, description: Description, scratch: Path, wanted: Wanted
) -> Source:
    from . import from_torch
    from .from_torch import torch
    from .torch_modules import unwrapped
    from .torch_weights import fingerprint

    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(f"a source is a path, a name or a torch.nn.Module, not {type(module).__name__}")
    module = unwrapped(module)
    example, assumed = wanted.example, None
    if example is None:
        extents, assumed = _example_size(module, description, wanted.size)
        example = torch.randn((2, *extents), generator=torch.Generator().manual_seed(0))
    example = torch.as_tensor(example)
    if example.ndim != 4 or not example.is_floating_point():
        raise ArgumentError(
            f"the example input must be float images (N, C, H, W), not {example.dtype} {tuple(example.shape)}"
        )
    sha256 = fingerprint(module)
    with TemporaryDirectory(dir=scratch) as folder:  # opening copies the weights
        exported = from_torch.to_onnx(module, example, Path(folder), wanted.output)
        inner = None if exported.chosen else wanted.output
        opened = open_onnx(exported.path, inner, scratch)
    opened.name, opened.format, opened.sha256 = name, kind, sha256
    opened.description = description
    opened.modules = exported.modules
    opened.program = exported.program if inner is None else None  # which gives its own output only
    opened.notes.extend(exported.notes)
    if assumed:
        opened.assumed.append(assumed)
    opened.warnings.extend(exported.warnings)
    return opened


def _example_size(
    module: torch.nn.Module, description: Description, size: tuple[int, int] | None
) -> tuple[tuple[int, int, int], Note | None]:
    """(channels, height, width) of an example input, and a note if height and width had to be assumed."""
    from .from_torch import input_channels

    described = description.value("input_size")
    channels = described[0] if described else input_channels(module)
    height, width = size or (described or (channels, SIZE, SIZE))[1:]
    check_size(channels, height, width)
    if size or (described and not description.of_other_weights):
        return (channels, height, width), None
    origin = f", as for {description.said['input_size'].file}" if described else ""
    return (channels, height, width), Note(f"input size {height}x{width}{origin}", "input_size")
