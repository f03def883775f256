"""What each graph of a bundle takes and gives: names, element types and shapes, derived from the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from .manifest import LATER, Manifest
from .wording import counted

FLOAT, INDEX = "float32", "int64"
BATCH, TARGETS = "N", "T"  # extents that are free: the images of a pass, and the targets of one image


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph.

    Attributes:
        name: of the tensor.
        dtype: NumPy's name of the element type.
        shape: extents; a name is an extent that is free.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def fits(self, name: str, dtype: str, shape: tuple[int | str | None, ...]) -> bool:
        """Whether a tensor is the one described; its first extent is the user's, whatever a file calls it."""
        return (name, dtype, shape[1:]) == (self.name, self.dtype, self.shape[1:])


Ends = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]  # inputs and outputs


@dataclass(frozen=True)
class GraphSpec:
    """A graph of a bundle: its name, its file in the bundle, and its inputs and outputs in their order."""

    name: str
    path: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def misfit(self, inputs: Mapping[str, np.ndarray], outputs: Sequence[Any]) -> str | None:
        """What is wrong with the outputs of a run, in words; None if they are those described.

        Args:
            inputs: of the run, by name. Extents that are free have in the outputs what they have here.
            outputs: in their order; whatever the run gave, arrays or not.
        """
        if len(outputs) != len(self.outputs):
            return f"it gives {counted(len(outputs), 'tensor')}, and {len(self.outputs)} are described"
        free: dict[int | str, int] = {}
        for taken in self.inputs:
            free |= zip(taken.shape, inputs[taken.name].shape, strict=True)
        for tensor, value in zip(self.outputs, outputs, strict=True):
            shape = tuple(free.get(extent, extent) for extent in tensor.shape)
            if not isinstance(value, np.ndarray):
                return f"{tensor.name} is no array, and {tensor.dtype} {shape} is described"
            if (value.dtype, value.shape) != (tensor.dtype, shape):
                return (
                    f"{tensor.name} is {value.dtype} {value.shape}, and {tensor.dtype} {shape} is described"
                )
        return None


def block_graph(index: int) -> str:
    """The name of the graph from one block's output to that of block `index` (from 1)."""
    return f"blocks/{index:02d}"


def head_graph(index: int) -> str:
    """The name of the gradient-score head of block `index` (from 1)."""
    return f"heads/{index:02d}"


def gradient_name(index: int) -> str:
    """The gradient of the log-odds at the output of block `index` (from 1), shaped like the output."""
    return f"gradient_{index}"


def alpha_name(index: int) -> str:
    """The gradient scores of block `index` (from 1), shaped (N, K)."""
    return f"alpha_{index}"


def graph_specs(manifest: Manifest) -> dict[str, GraphSpec]:
    """The graphs that a bundle has, by name.

    `features` runs a forward pass, and a backward pass for each target: images (N, C, H, W) and targets (T,),
    of which -1 is the class with the highest logit, -2 the next and so on, to every block's maps A_b
    (N, K, h, w), gradient scores alpha_b (T, K), and logits (N, classes). N is T, or 1 where a bundle shares
    the forward pass. `score` makes, applies and scores masks: an image (1, C, H, W), feature maps at their
    own resolution (N, 1, h, w) and targets (T,) to confidences (N, T) and to each resized map's minimum,
    maximum and area once normalised, all (N,). `forward`, `last_block_gradient` and `image_gradient` serve
    other methods; a gradient there is that of sum(cotangents * logits), cotangents (N, classes).

    The files of blocks and heads are `features` in pieces: `blocks/01` ... and `classifier` lead from one
    block's output to the next, `heads/01` ... from a block's maps and the gradient at the next block (the
    last: from its maps and the targets) to the gradient at the block and its gradient scores.

    N is 1 in a bundle that takes one image at a time.
    """
    ends = _linked(manifest) | _pieces(manifest)
    graphs = manifest.graphs
    paths = {name: getattr(graphs, name) for name in ("features", "score", "classifier", *LATER)}
    paths |= {block_graph(index): path for index, path in enumerate(graphs.blocks, 1)}
    paths |= {head_graph(index): path for index, path in enumerate(graphs.heads, 1)}
    return {name: GraphSpec(name, path, *ends[name]) for name, path in paths.items() if path}


def _linked(manifest: Manifest) -> dict[str, Ends]:
    """Inputs and outputs of the graphs that the runtime runs."""
    images, maps, logits = _images(manifest), _maps(manifest), _logits(manifest)
    batch, *size = images.shape
    cotangents = replace(logits, name="cotangents")
    at_last_block = replace(maps[-1], name="last_block_gradient")
    masked = (
        TensorSpec("image", FLOAT, (1, *size)),
        TensorSpec("maps", FLOAT, (batch, 1, "h", "w")),
        TensorSpec("targets", INDEX, (TARGETS,)),
    )
    scores = (
        TensorSpec("confidences", FLOAT, (batch, TARGETS)),
        *(TensorSpec(name, FLOAT, (batch,)) for name in ("minimum", "maximum", "area")),
    )
    return {
        "features": _features(manifest),
        "score": (masked, scores),
        "forward": ((images,), (logits,)),
        "last_block_gradient": ((images, cotangents), (maps[-1], at_last_block, logits)),
        "image_gradient": ((images, cotangents), (replace(images, name="image_gradient"), logits)),
    }


def _features(manifest: Manifest) -> Ends:
    """Inputs and outputs of the features graph."""
    images, maps, logits = _images(manifest), _maps(manifest), _logits(manifest)
    if not manifest.has_gradients:
        return (images,), (*maps, logits)
    several = TARGETS if manifest.shared_forward else images.shape[0]
    alphas = (replace(alpha, shape=(several, alpha.shape[1])) for alpha in _alphas(maps))
    return (images, TensorSpec("targets", INDEX, (several,))), (*maps, *alphas, logits)


def _pieces(manifest: Manifest) -> dict[str, Ends]:
    """Inputs and outputs of the graphs that the linked ones are made of."""
    images, maps, logits = _images(manifest), _maps(manifest), _logits(manifest)
    chain = [images, *maps, logits]
    names = [*(block_graph(index) for index in range(1, len(maps) + 1)), "classifier"]
    ends: dict[str, Ends] = {name: ((a,), (b,)) for name, (a, b) in zip(names, pairwise(chain), strict=True)}
    gradients = [replace(block, name=gradient_name(index)) for index, block in enumerate(maps, 1)]
    ahead = [*gradients[1:], TensorSpec("targets", INDEX, images.shape[:1])]
    for index, taken in enumerate(zip(maps, ahead, strict=True), 1):
        ends[head_graph(index)] = taken, (gradients[index - 1], _alphas(maps)[index - 1])
    return ends


def _images(manifest: Manifest) -> TensorSpec:
    return TensorSpec("images", FLOAT, (manifest.input.batch or BATCH, *manifest.preprocess.input_size))


def _maps(manifest: Manifest) -> list[TensorSpec]:
    batch = manifest.input.batch or BATCH
    return [TensorSpec(b.tensor, FLOAT, (batch, b.channels, b.height, b.width)) for b in manifest.blocks]


def _logits(manifest: Manifest) -> TensorSpec:
    return TensorSpec("logits", FLOAT, (manifest.input.batch or BATCH, manifest.classes))


def _alphas(maps: Sequence[TensorSpec]) -> list[TensorSpec]:
    return [TensorSpec(alpha_name(index), FLOAT, block.shape[:2]) for index, block in enumerate(maps, 1)]
