"""A model on its way to a bundle, up to where graphs are built: the same for an export and an examination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sise_rt.bundle import LATER, Block, Manifest, Preprocess
from sise_rt.errors import ModelError
from sise_rt.graphs import block_graph, head_graph
from sise_rt.manifest import GraphPaths, ImageInput, Origin, Parity
from sise_rt.wording import Note

from .canonical.blocks import find_blocks, named_blocks
from .canonical.form import canonical
from .canonical.layout import channels_first
from .intake.normalisation import own_normalisation
from .intake.source import Source
from .intake.sources import open_source
from .ir.memory import pass_bytes
from .ir.network import Network
from .labels import class_labels
from .proof.original import why_not
from .settings import image_size, normalisation_warning, preprocessing


@dataclass(frozen=True)
class Preparation:
    """What is known of a model before it is cut into blocks.

    Attributes:
        source: the model as it came.
        network: in canonical form.
        tensors: those of the source, in order.
        preprocess: of the bundle.
        labels: one a class, or empty if unknown.
        assumed: what the source did not say and the user did not give, but for the network's part.
        described: what was taken from the model's own files, a line each file.
        left_out: why the source's labels are, None if they are not.
    """

    source: Source
    network: Network
    tensors: tuple[str, ...]
    preprocess: Preprocess
    labels: tuple[str, ...]
    assumed: tuple[Note, ...]
    described: tuple[str, ...]
    left_out: str | None

    def find_blocks(self, names: Sequence[str] | None) -> tuple[Block, ...]:
        """The blocks of these names, or those that are found; their outputs become channels first.

        Raises:
            ModelError: there are none, or a name is unknown or no usable cut.
        """
        if names:
            blocks = named_blocks(self.network, names, self.source.modules, self.tensors)
        else:
            blocks = find_blocks(self.network)
        return tuple(channels_first(self.network, blocks))

    def every_assumption(self) -> tuple[Note, ...]:
        """What was assumed so far, a line each."""
        return (*self.source.assumed, *self.assumed, *self.network.assumed)

    def warnings(self) -> tuple[str, ...]:
        """What makes explanations mean something else than one would think, a line each."""
        return (*self.source.warnings, *self.network.warnings)

    def notes(self) -> Iterator[Note]:
        """What was decided, left out and assumed so far, a line each."""
        yield from map(Note, (*self.described, *self.source.notes, *self.network.notes))
        if self.left_out:
            yield Note(self.left_out, "labels")
        for note in self.every_assumption():
            if note not in self.source.warnings:
                yield Note(f"assumed: {note}", note.setting)

    def manifest(
        self,
        name: str,
        blocks: Sequence[Block],
        *,
        gradients: bool = True,
        precision: str = "fp32",
        licence: str | None = None,
    ) -> Manifest:
        """The manifest of a bundle that has every graph, before its files and its parity are known."""
        network, source = self.network, self.source
        indices = range(1, len(blocks) + 1)
        further = LATER if gradients else LATER[:1]
        channels, height, width = self.preprocess.input_size
        return Manifest(
            name=name,
            input=ImageInput(channels, height, width, network.layout, network.batch),
            preprocess=self.preprocess,
            activation=network.activation,
            labels=self.labels,
            classes=network.classes,
            blocks=tuple(blocks),
            graphs=GraphPaths(
                "features.onnx",
                "score.onnx",
                "classifier.onnx",
                tuple(f"{block_graph(index)}.onnx" for index in indices),
                tuple(f"{head_graph(index)}.onnx" for index in indices if gradients),
                **{graph: f"{graph}.onnx" for graph in further},
            ),
            opset=network.opsets[""],
            source=Origin(source.format, source.name, source.sha256, source.producer),
            parity=Parity(),
            assumed=tuple(map(str, self.every_assumption())),
            warnings=self.warnings(),
            licence=licence or source.description.value("licence"),
            files={},
            precision=precision,
            memory=pass_bytes(network),
            described=self.described,
            shared_forward=gradients and network.batch is None,
        )


def prepare(
    source: Any,
    scratch: Path,
    *,
    example: Any = None,
    weights: str | None = None,
    activation: str | None = None,
    labels: str | Path | Sequence[str] | None = None,
    output_name: str | None = None,
    input_size: tuple[int, int] | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> Preparation:
    """Open a model and bring it into canonical form.

    Args:
        source: as for `export`, as are the others.
        scratch: a folder that outlives the result, whose weights are mapped from files in it.
        example: images for a torch module.
        weights: for a model that is built here.
        activation: what the outputs are: `softmax`, `sigmoid` or `none`; None finds out.
        labels: of the classes, or a file of them.
        output_name: which output to explain.
        input_size: (height, width).
        preprocess: under timm's key names.

    Raises:
        ModelError: the model cannot be exported; says what, where and what would help.
    """
    opened = open_source(
        source, scratch, example=example, weights=weights, size=input_size, output=output_name
    )
    description, given = opened.description, _given(activation, labels, input_size, preprocess or {})
    description.require_settled(given)
    size, assumed_size = image_size(opened.ends, input_size, description)
    tensors = tuple(name for node in opened.model.graph.node for name in node.output)
    own = own_normalisation(opened.model, opened.ends, size, scratch)
    settings, assumed = preprocessing(size, preprocess or {}, description, own)
    if warning := normalisation_warning(settings, description.said.keys() | given, own):
        stated = description.said.get("scale") if "scale" not in given else None
        opened.warnings.append(f"{warning} ({stated.file}: {stated.key})" if stated else warning)
    network = _canonical(opened, scratch, size, activation, settings)
    named, assumed_labels, left_out = class_labels(labels, description, network.classes, network.two_sided)
    notes = tuple(note for note in (assumed_size, *assumed, assumed_labels) if note)
    described = tuple(description.taken(description.said.keys() - given))
    return Preparation(opened, network, tensors, settings, named, notes, described, left_out)


def _canonical(
    source: Source,
    scratch: Path,
    size: tuple[int, int, int],
    activation: str | None,
    settings: Preprocess,
) -> Network:
    """The model in canonical form, or what stands in the way and who said so."""
    said = None if activation else source.description.said.get("activation")
    meaning = said.value if said else activation
    try:
        return canonical(source.model, scratch, source.ends, size, meaning, settings)
    except ModelError as error:
        if said and "activation" in error.settings:
            raise ModelError(
                f"{said.file}: {said.key} says {said.value}, but {error.message}", settings=error.settings
            ) from error
        _blame_size(source, size, error)
        raise


def _given(
    activation: str | None,
    labels: str | Path | Sequence[str] | None,
    input_size: tuple[int, int] | None,
    preprocess: Mapping[str, Any],
) -> set[str]:
    """The settings of a description that the user gave."""
    named = {"activation": activation, "labels": labels, "input_size": input_size, **preprocess}
    return {setting for setting, value in named.items() if value is not None}


def _blame_size(source: Source, size: tuple[int, int, int], error: ModelError) -> None:
    """Tell what the model itself says of an input size that it leaves free, where that is in the way.

    Raises:
        ModelError: the model, as it came, does not run on such pictures.
    """
    _, height, width = size
    if None in source.ends.image_size and (reason := why_not(source.path, source.ends, size)):
        raise ModelError(
            f"the model does not run on {height}x{width} pixels, a size that it leaves free: give the "
            f"one that it was made for ({reason})",
            settings=("input_size",),
        ) from error
