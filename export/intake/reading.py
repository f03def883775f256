"""Any ONNX model in the form that gradients can be added to."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import inliner

from sise_rt.errors import ModelError

from ..ir.messages import gist
from .malformed import check_model
from .opset import raise_opset


def read_model(model: onnx.ModelProto | str | Path) -> onnx.ModelProto:
    """A copy of a model, or a file with its weights, without functions and of opset 18 or newer.

    Raises:
        ModelError: there is no such file, it is no model, it is larger than 2 GiB, or it cannot be raised.
    """
    if isinstance(model, onnx.ModelProto):
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
    else:
        copied = _read(Path(model))
    if not copied.graph.node or not copied.opset_import:
        raise ModelError("the model has no nodes, or names no operator set: is it an ONNX model?")
    if copied.ByteSize() > onnx.checker.MAXIMUM_PROTOBUF:
        raise ModelError(
            "the model is larger than 2 GiB: leave its weights outside "
            "(onnx.load(path, load_external_data=False)) and save the result beside them"
        )
    check_model(copied)
    try:
        if copied.functions:
            copied = inliner.inline_local_functions(copied, convert_version=True)
    except Exception as error:
        raise ModelError(f"the model's functions cannot be inlined: {gist(error)}") from error
    return raise_opset(copied)


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise ModelError(f"no such model file: {path}")
    try:
        return onnx.load(path)
    except Exception as error:
        raise ModelError(f"{path} is no ONNX model, or is damaged: {gist(error)}") from error
