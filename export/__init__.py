"""Export: a trained CNN in, a bundle out. Needs `onnx`, and torch only where torch is the source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sise_rt.bundle import Manifest
from sise_rt.errors import ModelError
from sise_rt.running.runtime import onnxruntime
from sise_rt.running.sessions import Sessions
from sise_rt.wording import Note, installing
from sise_rt.writing import new_bundle, write_manifest

try:
    import onnx  # noqa: F401

    onnxruntime()  # the modules below import it as they are read; its own words are clearer than theirs
except ImportError as error:
    raise ModelError(f"exporting needs onnx: {installing('export')}") from error

from .assembly import assemble, limits_of_proof
from .gate_folder import gate_pictures
from .preparation import prepare
from .proof.gate import Progress, judge

if TYPE_CHECKING:
    import torch

__all__ = ["Report", "export"]


@dataclass(frozen=True)
class Report:
    """What an export made.

    Attributes:
        path: the bundle.
        manifest: as written.
        notes: what was taken from where, assumed or decided, a line each, and which argument says otherwise.
        warnings: what makes the bundle mean something else than one would think, a line each; to be shown
            even where notes are not.
    """

    path: Path
    manifest: Manifest
    notes: tuple[Note, ...]
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

    `export("resnet-50/", "resnet-50.sise")` takes the folder of a published model (timm, Hugging Face,
    Ultralytics, Custom Vision, Windows ML, OpenVINO's Model API, Teachable Machine) as it is. Of labels,
    preprocessing, input size, activation and licence an argument counts first, then what the model's own
    files say, then a convention; `Report.notes` and the manifest's `described` and `assumed` tell which.

    Args:
        source: a torch module, the path of an ONNX file, the folder of a published model,
            `torchvision:NAME`, `timm:NAME` or `package.module:factory`.
        output: folder of the bundle, by custom `NAME.sise`.
        example: for a torch module, float images (N, C, H, W) of the size it is deployed with.
        weights: for a model that is built here: a file (.safetensors, .npz, .pth), `DEFAULT` or `none`.
        activation: what the outputs are: logits of one label (`softmax`) or of several (`sigmoid`), or
            what is explained as it is (`none`), as an age; None finds out, assumes, or asks.
        labels: one a class, or a file: one a line, JSON, or CSV with a heading.
        blocks: tensor names of the block outputs (or torch module names); None finds them.
        gradients: without them, the bundle keeps every map; for a model with an operator that has no rule.
        output_name: which output to explain, where an ONNX file has several.
        input_size: (height, width), where the model leaves it free.
        preprocess: overrides under timm's key names: mean, std, scale, bit_depth, crop_pct, crop_mode,
            interpolation, color.
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
        ModelError: the model cannot be exported, or its files say what no bundle can follow; says what, where
            and what would help.
        UnsupportedOperator: an operator on the gradient path has no rule.
        ParityError: the bundle's numbers differ from the source's, or explanations in `fp16` from those in
            `fp32`; nothing is left on disk.
        ImageError: one of `gate_images` cannot be read.
        OutputError: the bundle cannot be written there.
        ArgumentError: `precision` and `gate_images` do not go together, or are none.
    """
    output = Path(output)
    pictures = gate_pictures(precision, gate_images)
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as name, new_bundle(output, overwrite) as folder:
        prepared = prepare(
            source,
            Path(name),
            example=example,
            weights=weights,
            activation=activation,
            labels=labels,
            output_name=output_name,
            input_size=input_size,
            preprocess=preprocess,
        )
        cuts = prepared.find_blocks(blocks)
        bundle = output.name.removesuffix(".sise")
        manifest = prepared.manifest(bundle, cuts, gradients=gradients, precision=precision, licence=licence)
        manifest, graphs, offsets = assemble(folder, prepared, manifest)
        if pictures:
            sessions = Sessions(folder, manifest, provider="cpu")
            pair = (graphs.score, graphs.shipped_score)
            judged = judge(sessions, prepared.network, pair, offsets, pictures, progress)
            manifest = replace(manifest, parity=replace(manifest.parity, gate=judged.record()))
        write_manifest(folder, manifest)
    notes = (*prepared.notes(), *map(Note, (*graphs.notes, *limits_of_proof(manifest, prepared))))
    return Report(output, manifest, notes, tuple(_warnings(manifest)))


def _warnings(manifest: Manifest) -> Iterator[str]:
    """What makes the bundle mean something else than one would think."""
    yield from manifest.warnings
    if {"tangents", "differences"} <= set(manifest.parity.unproven):
        yield "the gradient scores were compared with nothing: no slope of this model can be measured"
    if not manifest.has_gradients:
        maps = sum(block.channels for block in manifest.blocks)
        yield f"without gradients no map is selected: up to {maps} masks are scored for an image"
