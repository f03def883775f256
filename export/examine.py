"""Looking at a model before it is exported: its blocks, and whatever an export would refuse."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sise_rt.bundle import Block, Preprocess
from sise_rt.errors import ModelError, SiseError, UnsupportedOperator
from sise_rt.wording import Note, counted

from .assembly import assemble, limits_of_proof
from .gradients.path import missing_rules
from .graphs.building import build_graphs
from .ir.network import Network
from .ir.nodes import operator
from .preparation import Preparation, prepare

NOT_COMPARED = Note(
    "not tried: whether the bundle gives the model's numbers, as the weights here are random; an export does"
)


@dataclass(frozen=True)
class Examination:
    """What an export of a model would find.

    Attributes:
        size: (channels, height, width) of the input, or None if the model was refused before.
        classes: the number of classes, or None likewise.
        activation: `softmax`, `sigmoid` or `none`, or None likewise.
        blocks: the block outputs; empty if there are none or the model was refused before.
        notes: what would be decided and assumed, a line each.
        refusals: why the export would fail; empty if it would not.
        only_gradients: whether an export without gradients would go through all the same.
        warnings: what would make explanations mean something else than one would think.
        preprocess: what would be done to pictures, or None if the model was refused before.
    """

    size: tuple[int, int, int] | None
    classes: int | None
    activation: str | None
    blocks: tuple[Block, ...]
    notes: tuple[Note, ...]
    refusals: tuple[SiseError, ...]
    only_gradients: bool = False
    warnings: tuple[str, ...] = ()
    preprocess: Preprocess | None = None


def examine(
    source: str | Path,
    *,
    weights: str | None = None,
    activation: str | None = None,
    labels: str | Path | Sequence[str] | None = None,
    output_name: str | None = None,
    input_size: tuple[int, int] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    blocks: Sequence[str] | None = None,
) -> Examination:
    """Go through an export that leaves no bundle, and collect what stands in its way.

    What an export compares with the source is compared here too, but for random weights.

    Args:
        source: an ONNX file, the folder of a published model, `torchvision:NAME`, `timm:NAME` or
            `package.module:factory`.
        weights: as for `export`; torchvision and timm models get random ones if None, enough for blocks.
        activation: as for `export`, as are the next four.
        labels: one a class, or a file of them.
        output_name: which output to explain, where there are several.
        input_size: (height, width), where the model leaves it free.
        preprocess: under timm's key names; by pictures prepared so it is found out what the outputs mean.
        blocks: tensor names of the block outputs; None finds them.
    """
    random = weights is None and str(source).startswith(("torchvision:", "timm:"))
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        try:
            prepared = prepare(
                source,
                Path(scratch),
                weights="none" if random else weights,
                activation=activation,
                labels=labels,
                output_name=output_name,
                input_size=input_size,
                preprocess=preprocess,
            )
        except SiseError as error:
            return Examination(None, None, None, (), (), (error,))
        network = prepared.network
        # Random weights, where none were named, are no more than this examination's.
        warnings = prepared.warnings() if weights is not None else tuple(network.warnings)
        examined = Examination(
            prepared.preprocess.input_size,
            network.classes,
            network.activation,
            (),
            (),
            (),
            warnings=warnings,
            preprocess=prepared.preprocess,
        )
        try:
            cuts = prepared.find_blocks(blocks)
        except ModelError as error:
            return replace(examined, notes=tuple(prepared.notes()), refusals=(error,))
        examined = replace(examined, blocks=cuts, notes=tuple(prepared.notes()))
        missing = _without_rules(network, cuts[0])
        notes, warnings, refusals = ((), (), missing) if missing else _tried(prepared, cuts, random)
        if not refusals:
            notes, warnings = (*examined.notes, *notes), (*examined.warnings, *warnings)
            return replace(examined, notes=notes, warnings=warnings)
        *_, others = _tried(prepared, cuts, random, gradients=False)
        return replace(examined, refusals=refusals, only_gradients=not others)


def _tried(
    prepared: Preparation, cuts: Sequence[Block], random: bool, gradients: bool = True
) -> tuple[tuple[Note, ...], tuple[str, ...], tuple[SiseError, ...]]:
    """What building a bundle says: notes, warnings, why it fails; random weights are held against nothing."""
    manifest = prepared.manifest("model", cuts, gradients=gradients)
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
        try:
            if random:
                return (*map(Note, build_graphs(prepared.network, manifest).notes), NOT_COMPARED), (), ()
            known = manifest.warnings
            manifest, graphs, _ = assemble(Path(folder), prepared, manifest)
        except SiseError as error:
            return (), (), (error,)
    notes = tuple(map(Note, (*graphs.notes, *limits_of_proof(manifest, prepared))))
    return notes, manifest.warnings[len(known) :], ()


def _without_rules(network: Network, first: Block) -> tuple[SiseError, ...]:
    """A refusal for each operator behind the first block that has no gradient rule."""
    missing = missing_rules(network.graph.nodes, ["logits"], [first.tensor])
    counts = Counter(map(operator, missing))
    example = {operator(node): node.name for node in reversed(missing)}
    return tuple(
        UnsupportedOperator(
            f"no gradient rule for operator {kind} ({counted(count, 'node')}, the first is {example[kind]!r})"
        )
        for kind, count in sorted(counts.items())
    )
