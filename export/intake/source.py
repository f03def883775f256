"""A model as it came: what every kind of source is opened to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from sise_rt.wording import Note

from ..origins.description import Description
from .interface import Interface


@dataclass
class Source:
    """A model as ONNX, and what its origin says of it.

    Attributes:
        path: the model as an ONNX file in the scratch folder.
        model: the file's content; its large weights are references to a file beside it.
        ends: its image input and the output to explain.
        name: for the bundle.
        format: `onnx`, `torch`, `torchvision` or `timm`.
        sha256: of the file and its external weights (`external.source_sha256`), or of the torch module's
            weights.
        producer: what wrote the model.
        description: what the model's own files say of it.
        modules: for each torch module name, the tensor it gives; empty where that was fused away.
        program: torch's exported program, for autograd as the reference.
        parked: what the program's weights are mapped to, to be unloaded after it ran.
        raw: the file before it was brought to float32, None if it was in float32.
        precision: what it was in, as `float16`, `uint8`.
        assumed: what neither the origin nor the user said.
        notes: what was decided on the way.
        warnings: what changes the meaning of the bundle.
    """

    path: Path
    model: onnx.ModelProto
    ends: Interface
    name: str
    format: str
    sha256: str
    producer: str
    description: Description = field(default_factory=Description)
    modules: Mapping[str, str] = field(default_factory=dict)
    program: Any = None
    parked: list[np.ndarray] = field(default_factory=list)
    raw: Path | None = None
    precision: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    assumed: list[Note] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
