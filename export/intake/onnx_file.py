"""Opening an ONNX file: checked, its large weights beside it, in float32."""

from __future__ import annotations

from pathlib import Path

import onnx

from sise_rt.errors import ModelError

from ..ir.messages import gist
from ..origins.openvino import class_output
from .external import external_files, source_sha256, take_out
from .float32 import in_float32
from .interface import declared_shape, drop_unneeded, interface, zipped_labels
from .malformed import check_model, check_no_loops
from .rank_three import with_rank_four
from .source import Source
from .spelling import dense_weights, in_own_operators, one_domain, without_functions

PROTOBUF_BYTES = 1 << 31


def open_onnx(path: Path, output: str | None, scratch: Path) -> Source:
    """Open an ONNX file; its large weights go to a file in `scratch`, and the model stays small."""
    if not path.is_file():
        raise ModelError(f"no such model file: {path}")
    if path.stat().st_size >= PROTOBUF_BYTES:
        raise ModelError(
            f"{path} is larger than the 2 GB that protobuf can read: save the model with external data "
            "(onnx.save_model(..., save_as_external_data=True))"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise ModelError(f"{path} is no ONNX model, or is damaged: {gist(error)}") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"{path} is no ONNX model, or is empty")
    try:
        one_domain(model)
        check_model(model)
        check_no_loops(model)
        sha256 = source_sha256(path, external_files(model, path.parent))
        dense_weights(model, path.parent)
        notes = with_rank_four(model)
        model = take_out(model, path.parent, scratch / "opened.bin")
        opened = scratch / "opened.onnx"
        opened.write_bytes(model.SerializeToString())
        if precision := in_float32(model, scratch):
            raised = scratch / "float32.onnx"
            raised.write_bytes(model.SerializeToString())
        model = without_functions(model)  # behind what is written, which parity takes for the source
        in_own_operators(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", settings=error.settings) from error
    except (OSError, ValueError) as error:  # ValueError: no large weights, and still too large for protobuf
        raise ModelError(f"{path}: {gist(error)}") from error
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    labels, zipped = zipped_labels(model, output)
    taken = None if zipped or output else _described_output(model)
    ends = interface(model, zipped or output or (taken and taken[0]))
    drop_unneeded(model, ends.output)
    source = Source(opened, model, ends, path.stem, "onnx", sha256, producer, notes=notes)
    if zipped:
        source.description.say("labels", labels, "the model's ZipMap", "classlabels")
        source.notes.append(f"explained is {zipped!r}, the scores that the model gives as a dictionary")
    if taken:
        name, why = taken
        source.notes.append(f"explained is {name!r}, {why}; the model's metadata is of OpenVINO's Model API")
    if precision:
        _brought_to_float32(source, raised, precision)
    return source


def _described_output(model: onnx.ModelProto) -> tuple[str, str] | None:
    """The one of several outputs that holds the classes by the metadata, and why; None where that is open."""
    if len(model.graph.output) < 2:
        return None
    properties = {entry.key: entry.value for entry in model.metadata_props}
    return class_output(properties, {value.name: declared_shape(value) for value in model.graph.output})


def _brought_to_float32(source: Source, raised: Path, precision: tuple[str, ...]) -> None:
    """Let a source be its file in float32, and say so."""
    source.path, source.raw, source.precision = raised, source.path, precision
    source.notes.append(f"the model was brought from {' and '.join(precision)} to float32")


def take_whole_pixels(source: Source) -> None:
    """Let nothing be done to the values of pixels for a model that takes them whole."""
    said, unscaled = source.description.said, {"mean": 0.0, "std": 1.0, "scale": 1.0}
    files = {said[setting].file: None for setting in unscaled if setting in said}
    for file in files:
        stated = ", ".join(name for name in unscaled if name in said and said[name].file == file)
        source.notes.append(f"{stated} in {file} are left out: it takes whole pixels (uint8)")
    for setting, value in unscaled.items():
        source.description.say(setting, value, "the model's uint8 input")
