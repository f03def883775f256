"""A trained CNN in, one ONNX file out that explains its own predictions: `explain.onnx`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from sise_rt.bundle import MANIFEST, Manifest, read_bundle
from sise_rt.errors import ArgumentError, ModelError, OutputError
from sise_rt.files import make_folder, write_whole
from sise_rt.manifest import Origin
from sise_rt.phases.masked_picture import MASKS
from sise_rt.running.one_graph import TEST_EXTENT, SingleFile, self_test
from sise_rt.running.sessions import Sessions
from sise_rt.single_file import Facts, is_single_file
from sise_rt.wording import Note, in_bytes

from .assembly import assemble, limits_of_proof
from .graphs.cam import CAMS, cam_graph
from .graphs.ends import with_required_inputs
from .graphs.picture import refuse_preparation, with_preprocessing
from .graphs.single import require_standard, single_graph
from .ir.network import to_model
from .preparation import Preparation, prepare
from .proof.one_graph import Difference, compare, compare_preparation
from .proof.parity import probe_picture

METHODS = ("sise", *CAMS)
LARGEST = 2**31 - 2**20  # bytes of an ONNX file that holds its weights


@dataclass(frozen=True)
class SingleFileReport:
    """What was made.

    Attributes:
        path: the file.
        size: of the file in bytes.
        facts: what it says of itself.
        manifest: of the bundle that it was compared with.
        difference: from the runtime.
        notes: what was taken from where, assumed or decided, a line each.
        warnings: what makes it mean something else than one would think, a line each.
    """

    path: Path
    size: int
    facts: Facts
    manifest: Manifest
    difference: Difference
    notes: tuple[Note, ...]
    warnings: tuple[str, ...]


def export_single_file(
    source: Any,
    output: str | Path = "explain.onnx",
    *,
    method: str = "sise",
    preprocessing_inside: bool = False,
    required_inputs: bool = False,
    licence: str | None = None,
    blocks: Sequence[str] | None = None,
    overwrite: bool = False,
    **model: Any,
) -> SingleFileReport:
    """Export a classifier to one ONNX file that gives its own explanation.

    A bundle is made on the way, proven as any other, and the file has to explain as the bundle does.

    Args:
        source: as for `sise_rt.export.export`, or a bundle.
        output: the file, `.onnx`.
        method: `sise`, `grad-cam` or `grad-cam++`.
        preprocessing_inside: the graph takes pixels, uint8 (H0, W0, 3) of any size, and prepares them itself.
        required_inputs: the settings have no defaults and are given with every run, for languages whose ONNX
            Runtime cannot give what has one.
        licence: of the weights.
        blocks: as for `export`.
        overwrite: replace an earlier file of the kind.
        model: what else `export` takes of the model: `weights`, `activation`, `labels`, `output_name`,
            `input_size`, `preprocess`, `example`.

    Raises:
        ModelError: the model cannot be exported so; says what stands in the way.
        UnsupportedOperator: an operator on the gradient path has no rule.
        ParityError: the file's explanations differ from the runtime's; nothing is written.
        OutputError: the file cannot be written there.
        ArgumentError: there is no such method, or the output is no `.onnx`.
    """
    output = Path(output)
    if method not in METHODS:
        raise ArgumentError(
            f"{method!r} is no method of a single file: {', '.join(METHODS)}", settings=("method",)
        )
    refuse_occupied(output, overwrite)
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as name:
        scratch = Path(name)
        prepared, blocks, origin = _prepared(source, scratch, blocks, model)
        require_standard(prepared.network)
        if preprocessing_inside:
            refuse_preparation(prepared.preprocess)
        cuts = prepared.find_blocks(blocks)
        manifest = prepared.manifest(output.stem, cuts, licence=licence)
        manifest = replace(manifest, source=origin or manifest.source)
        folder = scratch / "bundle.sise"
        folder.mkdir()
        manifest, graphs, _ = assemble(folder, prepared, manifest)
        data, facts, difference = _made(
            prepared, manifest, folder, method, picture=preprocessing_inside, required=required_inputs
        )
        notes = (*prepared.notes(), *map(Note, (*graphs.notes, *limits_of_proof(manifest, prepared))))
    make_folder(output.parent)
    refuse_occupied(output, overwrite)  # again, as an export takes its time
    write_whole(output, data)
    return SingleFileReport(output, len(data), facts, manifest, difference, notes, manifest.warnings)


def _prepared(
    source: Any, scratch: Path, blocks: Sequence[str] | None, model: Mapping[str, Any]
) -> tuple[Preparation, Sequence[str] | None, Origin | None]:
    """The model on its way, its blocks' names, and where it came from; of a bundle it says so itself.

    Raises:
        ModelError: it cannot be exported, or is a bundle that says something else than was asked for.
    """
    is_bundle = isinstance(source, (str, Path)) and (Path(source) / MANIFEST).is_file()
    if not is_bundle:
        return prepare(source, scratch, **model), blocks, None
    if given := [name for name, value in {**model, "blocks": blocks}.items() if value]:
        raise ModelError(
            f"{source} is a bundle, which says of the model what there is to say: amend it, or export the "
            "model itself",
            settings=tuple(given),
        )
    manifest = read_bundle(source)
    if manifest.precision != "fp32" or not manifest.has_gradients or not manifest.graphs.forward:
        raise ModelError(
            f"{source} is of an older sise-rt, in float16 or without gradients, and a single file needs a "
            "bundle in float32 with gradients: export the model itself"
        )
    model_file = scratch / "of_bundle.onnx"
    forward = onnx.load(Path(source) / manifest.graphs.forward)
    forward.producer_name = manifest.source.producer
    onnx.save(forward, model_file)
    prepared = prepare(
        model_file,
        scratch,
        activation=manifest.activation,
        labels=manifest.labels or None,
        input_size=manifest.preprocess.input_size[1:],
    )
    prepared = replace(prepared, preprocess=manifest.preprocess, assumed=(), described=manifest.described)
    return prepared, [block.tensor for block in manifest.blocks], manifest.source


def _made(
    prepared: Preparation, manifest: Manifest, folder: Path, method: str, *, picture: bool, required: bool
) -> tuple[bytes, Facts, Difference]:
    """The file's content, what it says of itself, and its difference from the runtime.

    Raises:
        ParityError: it explains otherwise.
        ModelError: it cannot be built or run.
    """
    network, sessions = prepared.network, Sessions(folder, manifest, provider="cpu")
    graph = single_graph(network, manifest) if method == "sise" else cam_graph(network, manifest, method)
    facts = Facts(
        labels=manifest.labels,
        preprocessing=manifest.preprocess,
        version=metadata.version("sise-rt"),
        name=manifest.name,
        method=method,
        activation=manifest.activation,
        blocks=manifest.blocks,
        source=manifest.source,
        assumed=manifest.assumed,
        described=manifest.described,
        warnings=manifest.warnings,
        licence=manifest.licence,
        picture=picture,
    )
    model = to_model(graph, network)
    difference = compare(SingleFile(_content(model, facts), "the single file"), sessions)
    parity = {
        **manifest.parity.errors,
        **{f"single_{name}": value for name, value in asdict(difference).items()},
    }
    facts = replace(facts, parity={name: float(f"{value:.3g}") for name, value in parity.items()})
    if picture:
        model = with_preprocessing(model, manifest.preprocess)
        compare_preparation(SingleFile(_content(model, facts), "the single file"), sessions)
    small = _small_picture(manifest)
    most = MASKS if method == "sise" else 0
    own = SingleFile(_content(model, facts), "the single file")
    facts = replace(facts, self_test=self_test(own, small, most))
    if required:
        with_required_inputs(model)
    return _content(model, facts), facts, difference


def _small_picture(manifest: Manifest) -> np.ndarray:
    """A made picture (C, rows, columns) uint8 that is small to store."""
    channels, height, width = manifest.preprocess.input_size
    return probe_picture(channels, min(height, TEST_EXTENT), min(width, TEST_EXTENT), seed=0)


def _content(model: onnx.ModelProto, facts: Facts) -> bytes:
    """The model with its metadata, as a file holds it.

    Raises:
        ModelError: it is too large for one.
    """
    del model.metadata_props[:]
    for key, value in facts.properties().items():
        model.metadata_props.add(key=key, value=value)
    if (size := model.ByteSize()) > LARGEST:
        raise ModelError(
            f"the model takes {in_bytes(size)}, and an ONNX file holds 2 GB: export a bundle instead"
        )
    return model.SerializeToString(deterministic=True)


def refuse_occupied(output: Path, overwrite: bool) -> None:
    """Refuse to replace anything but an earlier single file.

    Raises:
        ArgumentError: it is not called `.onnx`.
        OutputError: there is something else, or it may not be replaced.
    """
    if output.suffix != ".onnx":
        raise ArgumentError(f"a single file is called something.onnx, not {str(output)!r}", settings=("out",))
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not is_single_file(output):
        raise OutputError(
            f"{output} exists already and is no single file of sise-rt, so it stays as it is: choose another "
            "name"
        )
    if not overwrite:
        raise OutputError(
            f"{output} exists already, and is replaced only if that is asked for", settings=("overwrite",)
        )
