"""ONNX Runtime sessions of the exporter: on the CPU, and silent, as what fails is raised."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

from sise_rt.errors import ModelError
from sise_rt.memory import give_back_memory as give_back_memory

from .messages import gist

Level = onnxruntime.GraphOptimizationLevel


def quiet_options(level: Any) -> onnxruntime.SessionOptions:
    """Options with an optimisation level, and no log on standard error."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    # Kernels would rearrange their weights into copies, which pays after many runs only.
    options.add_session_config_entry("session.disable_prepacking", "1")
    return options


def open_session(
    model: bytes, options: onnxruntime.SessionOptions, folder: Path | None = None
) -> onnxruntime.InferenceSession:
    """A session for a serialised model.

    Args:
        model: as ONNX.
        options: from `quiet_options`; changed where there is a folder.
        folder: of the model's external data; ONNX Runtime reads nothing outside it.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    if folder is not None:
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(folder.resolve())
        )
    # The transpose optimiser turns the residual stream of some networks to channels last.
    try:
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["TransposeOptimizer"]
        )
    except Exception as error:
        raise ModelError(f"ONNX Runtime cannot load the model: {gist(error)}") from error
