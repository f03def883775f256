"""ONNX Runtime sessions of the exporter: on the CPU, and silent, as what fails is raised."""

from __future__ import annotations

from typing import Any

import onnxruntime

from sise_rt.errors import ModelError

from .messages import first_line

Level = onnxruntime.GraphOptimizationLevel


def quiet_options(level: Any) -> onnxruntime.SessionOptions:
    """Options with an optimisation level, and no log on standard error."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    return options


def open_session(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """A session for a serialised model.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    # The transpose optimiser turns the residual stream of some networks to channels last.
    try:
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["TransposeOptimizer"]
        )
    except Exception as error:
        raise ModelError(f"ONNX Runtime cannot load the model: {first_line(error)}") from error
