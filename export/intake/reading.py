"""Any ONNX model in the form that gradients can be added to."""

from __future__ import annotations

from pathlib import Path

import onnx

from sise_rt.errors import ModelError

from ..ir.messages import gist
from .malformed import check_model
from .opset import raise_opset
from .spelling import dense_weights, in_own_operators, one_domain, without_functions


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
    one_domain(copied)
    check_model(copied)
    dense_weights(copied, Path())  # nothing lies outside any more
    copied = without_functions(copied)
    in_own_operators(copied)
    return raise_opset(copied)


def _read(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise ModelError(f"no such model file: {path}")
    try:
        return onnx.load(path)
    except Exception as error:
        raise ModelError(f"{path} is no ONNX model, or is damaged: {gist(error)}") from error
