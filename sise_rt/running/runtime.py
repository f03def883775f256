"""ONNX Runtime, imported so that it sends nothing of its own."""

from __future__ import annotations

import os
from functools import cache
from importlib import metadata
from typing import Any

from sise_rt.errors import ProviderError
from sise_rt.wording import installing

NO_REPORTS = "ORT_DISABLE_TELEMETRY", "1"  # or it keeps a database in the home folder and calls its maker


def onnxruntime() -> Any:
    """Import ONNX Runtime.

    It sends reports of its use unless the environment says otherwise before it is imported; afterwards is too
    late. A program that has imported it before, or has set the variable itself, has decided that already.

    Raises:
        ProviderError: it is missing, or both of its wheels are installed and overwrite each other.
    """
    there = [name for name in ("onnxruntime", "onnxruntime-gpu") if installed(name)]
    if len(there) == 2:
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "uninstall both (pip uninstall onnxruntime onnxruntime-gpu), "
            "then install one of them, onnxruntime-gpu for CUDA"
        )
    os.environ.setdefault(*NO_REPORTS)
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"ONNX Runtime cannot be imported ({error}): {installing('cpu')}, or 'sise-rt[gpu]' for CUDA"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):  # a folder of that name, as an uninstall may leave
        places = ", ".join(map(str, onnxruntime.__path__))
        raise ProviderError(f"ONNX Runtime is not whole in {places}: remove that folder and install it again")
    return onnxruntime


def runtime_version() -> str:
    """ONNX Runtime's version."""
    return str(onnxruntime().__version__)


@cache
def installed(distribution: str) -> bool:
    """Whether a package is."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
