"""Export: a trained CNN in, a bundle out. Needs `onnx`, and torch only where torch is the source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sise_rt.bundle import LATER, MANIFEST, PROBE, Block, Manifest, sha256
from sise_rt.errors import ModelError
from sise_rt.running.sessions import Sessions, onnxruntime
from sise_rt.wording import counted

try:
    import onnx  # noqa: F401

    onnxruntime()  # the modules below import it as they are read; its own words are clearer than theirs
except ImportError as error:
    raise ModelError(
        "exporting needs onnx: pip install 'sise-rt[export]', or 'sise-rt[torch]' for torch models"
    ) from error

from .canonical.blocks import find_blocks, named_blocks
from .canonical.form import canonical
from .canonical.layout import channels_first
from .graphs.half import score_in_half
from .graphs.heads import heads
from .graphs.link import features_graph, score_graph
from .graphs.split import split
from .graphs.vjps import forward_graph, gradient_graphs
from .intake.sources import Source, open_source
from .ir.memory import pass_bytes
from .ir.network import Network
from .proof.gate import Progress, gate
from .proof.parity import measure, save_probe
from .settings import class_labels, gate_pictures, image_size, preprocessing
from .write import new_bundle, write_graphs, write_manifest

if TYPE_CHECKING:
    import torch

__all__ = ["Report", "export"]


@dataclass(frozen=True)
class Report:
    """What an export made.

    Attributes:
        path: the bundle.
        manifest: as written.
        notes: what was assumed or decided, a line each.
        warnings: what makes the bundle mean something else than one would think, a line each; to be shown
            even where notes are not.
    """

    path: Path
    manifest: Manifest
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def export(
    source: str | Path | torch.nn.Module,
    output: str | Path,
    *,
    example: Any = None,
    weights: str | None = None,
    activation: str | None = None,
    labels: str | Path | Sequence[str] | None = None,
    blocks: Sequence[str] | None = None,
    gradients: bool = True,
    output_name: str | None = None,
    input_size: tuple[int, int] | None = None,
    preprocess: Mapping[str, Any] | None = None,
    licence: str | None = None,
    precision: str = "fp32",
    gate_images: str | Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Report:
    """Export a classifier to a bundle.

    Args:
        source: a torch module, the path of an ONNX file, `torchvision:NAME`, `timm:NAME` or
            `package.module:factory`.
        output: folder of the bundle, by custom `NAME.sise`.
        example: for a torch module, float images (N, C, H, W) of the size it is deployed with.
        weights: for a model that is built here: a file (.safetensors, .npz, .pth), `DEFAULT` or `none`.
        activation: `softmax` (one label) or `sigmoid` (several); None takes what the model ends in, else
            assumes.
        labels: one a class, or a file with one a line.
        blocks: tensor names of the block outputs (or torch module names); None finds them.
        gradients: without them, the bundle keeps every map; for a model with an operator that has no rule.
        output_name: which output to explain, where an ONNX file has several.
        input_size: (height, width), where the model leaves it free.
        preprocess: overrides under timm's key names: mean, std, scale, crop_pct, crop_mode, interpolation,
            color.
        licence: of the weights.
        precision: `fp32`, or `fp16` to score masked copies on a GPU faster; the network alone is in float16,
            and only in the graph that scores.
        gate_images: folder of pictures that the model is for; `fp16` is refused where it changes their
            explanations.
        progress: called with (pictures done, pictures) of these.
        overwrite: replace an existing bundle.

    Returns:
        What was made, and what had to be assumed.

    Raises:
        ModelError: the model cannot be exported; says what, where and what would help.
        UnsupportedOperator: an operator on the gradient path has no rule.
        ParityError: the bundle's numbers differ from the source's, or explanations in `fp16` from those in
            `fp32`; nothing is left on disk.
        ImageError: one of `gate_images` cannot be read.
        OutputError: the bundle cannot be written there.
    """
    output = Path(output)
    pictures = gate_pictures(precision, gate_images)
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as name, new_bundle(output, overwrite) as folder:
        scratch = Path(name)
        opened = open_source(
            source, scratch, example=example, weights=weights, size=input_size, output=output_name
        )
        size, assumed_size = image_size(opened.ends, input_size, opened.metadata)
        source_tensors = [name for node in opened.model.graph.node for name in node.output]
        settings, assumed = preprocessing(size, preprocess or {}, opened.metadata)
        network = canonical(opened.model, scratch, opened.ends, size, activation)
        two_sided = "negative_logit" in network.types
        named, assumed_labels, left_out = class_labels(labels, opened.metadata, network.classes, two_sided)
        found = (
            named_blocks(network, blocks, opened.modules, source_tensors) if blocks else find_blocks(network)
        )
        found = channels_first(network, found)
        pieces = split(network, found)
        gradient_heads = heads(network, pieces, found) if gradients else []
        score = score_graph(network, pieces)
        shipped = score_in_half(network, score) if precision == "fp16" else score
        linked = [features_graph(pieces, gradient_heads, found), shipped]
        others = [forward_graph(network)]
        if gradients:
            gradients_of, without = gradient_graphs(network, found)
            others += gradients_of
            network.notes.extend(without)
        offsets = write_graphs(folder, network, [*pieces, *gradient_heads, *linked, *others])
        all_assumed = (*opened.assumed, assumed_size, *assumed, assumed_labels, *network.assumed)
        manifest = Manifest(
            name=output.name.removesuffix(".sise"),
            input=dict(zip(("channels", "height", "width"), size, strict=True))
            | {"layout": network.layout}
            | ({"batch": network.batch} if network.batch else {}),
            preprocess=settings,
            activation=network.activation,
            labels=named,
            classes=network.classes,
            blocks=tuple(found),
            graphs={
                "features": "features.onnx",
                "score": "score.onnx",
                "classifier": "classifier.onnx",
                "blocks": [f"{piece.name}.onnx" for piece in pieces[:-1]],
                "heads": [f"{head.name}.onnx" for head in gradient_heads],
                **dict.fromkeys(LATER, ""),
                **{graph.name: f"{graph.name}.onnx" for graph in others},
            },
            opset=network.opsets[""],
            source={
                "format": opened.format,
                "name": opened.name,
                "sha256": opened.sha256,
                "producer": opened.producer,
            },
            memory=pass_bytes(network),
            parity={},
            assumed=tuple(note for note in all_assumed if note),
            licence=licence or opened.metadata.get("licence"),
            files=_hashes(folder),
            precision=precision,
        )
        manifest = _gated(folder, manifest, opened, network, found)
        if pictures:
            sessions = Sessions(folder, manifest, provider="cpu")
            judged = gate(sessions, network, (score, shipped), offsets, pictures, progress)
            manifest = replace(manifest, parity={**manifest.parity, "gate": judged.record()})
        write_manifest(folder, manifest)
    warnings = list(opened.warnings)
    if not gradients:
        maps = sum(block.channels for block in found)
        warnings.append(f"without gradients no map is selected: up to {maps} masks are scored for an image")
    return Report(output, manifest, tuple(_notes(opened, network, manifest, left_out)), tuple(warnings))


def _gated(
    folder: Path, manifest: Manifest, opened: Source, network: Network, blocks: Sequence[Block]
) -> Manifest:
    """The manifest with the parity that was measured, whose probe is stored beside the graphs.

    Raises:
        ParityError: the graphs' numbers differ from the source's.
        ModelError: they cannot be run.
    """
    sessions = Sessions(folder, manifest, provider="cpu")
    try:
        parity, stored = measure(sessions, opened, network, blocks)
    except MemoryError as error:
        pixels = f"{manifest.input['height']}x{manifest.input['width']} pixels"
        raise ModelError(
            f"images of {pixels} need more memory than there is: set a smaller --input-size"
        ) from error
    save_probe(folder, stored)
    return replace(manifest, parity=parity, files={**manifest.files, PROBE: sha256(folder / PROBE)})


def _notes(opened: Source, network: Network, manifest: Manifest, left_out: str | None) -> Iterator[str]:
    """What was found, left out and assumed, and what the parity does not cover."""
    yield from (*opened.notes, *network.notes, *([left_out] if left_out else []))
    yield from (f"assumed: {note}" for note in manifest.assumed if note not in opened.warnings)
    compared, blocks = manifest.parity["compared"]["alpha"], len(manifest.blocks)
    if manifest.has_gradients and opened.program is not None and compared < blocks:
        yield f"alpha compared with torch autograd for {compared} of {counted(blocks, 'block')}"
    if manifest.parity.get("quantised"):
        yield (
            "the model is quantised: its gradients pass straight through the rounding, as in training; "
            "they are not compared with central differences, as a step function has none"
        )


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(folder).as_posix(): sha256(path) for path in files}
