"""Looking at a model before it is exported: its blocks, and whatever an export would refuse."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sise_rt.bundle import Block
from sise_rt.errors import ModelError, SiseError
from sise_rt.wording import counted

from .canonical.blocks import find_blocks, named_blocks
from .canonical.form import canonical
from .canonical.layout import channels_first
from .gradients.reverse import missing_rules
from .graphs.heads import heads
from .graphs.split import split
from .intake.sources import open_source
from .settings import class_labels, image_size


@dataclass(frozen=True)
class Examination:
    """What an export of a model would find.

    Attributes:
        size: (channels, height, width) of the input, or None if the model was refused before.
        classes: the number of classes, or None likewise.
        activation: `softmax` or `sigmoid`, or None likewise.
        blocks: the block outputs; empty if there are none or the model was refused before.
        notes: what would be assumed.
        refusals: why the export would fail, a line each; empty if it would not.
        only_gradients: whether an export without gradients would go through all the same.
    """

    size: tuple[int, int, int] | None
    classes: int | None
    activation: str | None
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    refusals: tuple[str, ...]
    only_gradients: bool = False


def examine(
    source: str | Path,
    *,
    weights: str | None = None,
    output_name: str | None = None,
    input_size: tuple[int, int] | None = None,
    blocks: Sequence[str] | None = None,
) -> Examination:
    """Go through an export without writing a bundle, and collect what stands in its way.

    Args:
        source: an ONNX file, `torchvision:NAME`, `timm:NAME` or `package.module:factory`.
        weights: as for `export`; torchvision and timm models get random ones if None, enough for blocks.
        output_name: which output to explain, where there are several.
        input_size: (height, width), where the model leaves it free.
        blocks: tensor names of the block outputs; None finds them.
    """
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        try:
            if weights is None and str(source).startswith(("torchvision:", "timm:")):
                weights = "none"
            opened = open_source(source, Path(scratch), weights=weights, size=input_size, output=output_name)
            size, assumed = image_size(opened.ends, input_size, opened.metadata)
            source_tensors = [name for node in opened.model.graph.node for name in node.output]
            network = canonical(opened.model, Path(scratch), opened.ends, size, None)
        except SiseError as error:
            return Examination(None, None, None, (), (), (str(error),))
        assumptions = [f"assumed: {note}" for note in (assumed, *network.assumed) if note]
        _, _, left_out = class_labels(None, opened.metadata, network.classes, False)
        notes = (*opened.notes, *network.notes, *([left_out] if left_out else []), *assumptions)
        known = (size, network.classes, network.activation)
        try:
            found = tuple(
                named_blocks(network, blocks, opened.modules, source_tensors)
                if blocks
                else find_blocks(network)
            )
        except ModelError as error:
            return Examination(*known, (), notes, (str(error),))
        found = tuple(channels_first(network, found))
        missing = missing_rules(network.graph.nodes, ["logits"], [found[0].tensor])
        if not missing:
            try:
                heads(network, split(network, found), found)
            except ModelError as error:  # a rule that does not cover the way its operator is used
                return Examination(*known, found, notes, (str(error),), only_gradients=True)
        counts = Counter(f"{node.domain}.{node.op_type}".lstrip(".") for node in missing)
        first = {f"{node.domain}.{node.op_type}".lstrip("."): node.name for node in reversed(missing)}
        refusals = tuple(
            f"no gradient rule for operator {op} ({counted(count, 'node')}, the first is {first[op]!r})"
            for op, count in sorted(counts.items())
        )
        return Examination(*known, found, notes, refusals, only_gradients=bool(refusals))
