"""The source's own numbers for an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from sise_rt.errors import ModelError

from ..intake.interface import Interface
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.messages import gist
from ..ir.network import Network

INPUTS = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True)
class Reference:
    """What a source gives for an image; of the blocks, those that it has a tensor for.

    Attributes:
        output: (1, classes) or less, as the source gives it.
        maps: (1, K, h, w) by block tensor.
        alphas: gradient scores (1, K) by block tensor; empty where it has no gradients.
        rounding: how far these may be off in float32, by block tensor; empty likewise.
        image_gradient: (1, C, H, W) of the target's log-odds, None likewise.
    """

    output: np.ndarray
    maps: Mapping[str, np.ndarray]
    alphas: Mapping[str, np.ndarray] = field(default_factory=dict)
    rounding: Mapping[str, float] = field(default_factory=dict)
    image_gradient: np.ndarray | None = None


def by_file(
    path: Path, ends: Interface, network: Network, image: np.ndarray, tensors: Sequence[str]
) -> Reference:
    """What an ONNX file gives.

    Args:
        path: of the file.
        ends: its input and output.
        network: that was made of it.
        image: (1, C, H, W) float32.
        tensors: of the blocks.

    Raises:
        ModelError: it does not run.
    """
    model = onnx.load(path, load_external_data=False)
    produced = {name for node in model.graph.node for name in node.output}
    shared = [tensor for tensor in tensors if tensor in produced]
    outputs = {value.name for value in model.graph.output}
    wanted = dict.fromkeys((ends.output, *shared))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in outputs)
    try:
        output, *values = _run(model, path.parent, ends, image, shared)
    except Exception as error:
        raise ModelError(f"the original model does not run: {gist(error)}") from error
    # Only tensors of the same layout can be compared: NHWC maps went through a transposition on the way.
    types, by_name = network.types, dict(zip(shared, values, strict=True))
    maps = {name: v[:1] for name, v in by_name.items() if v.shape[1:] == types[name].shape[1:]}
    return Reference(output.reshape(ends.dims[0] or 1, -1)[:1], maps)


def why_not(path: Path, ends: Interface, size: tuple[int, int, int]) -> str | None:
    """Why an ONNX file does not run on pictures of (channels, height, width); None where it does."""
    try:
        _run(onnx.load(path, load_external_data=False), path.parent, ends, np.zeros((1, *size), np.float32))
    except Exception as error:  # whatever the runtime says
        return gist(error)
    return None


def _run(
    model: onnx.ModelProto, folder: Path, ends: Interface, image: np.ndarray, tensors: Sequence[str] = ()
) -> list[np.ndarray]:
    """The output for an image (1, C, H, W) float32, and further tensors that the model gives."""
    session = open_session(model.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), folder)
    if ends.layout == "NHWC":
        image = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    image = np.repeat(image, ends.dims[0] or 1, axis=0)  # the original may have a fixed batch
    image = image.astype(INPUTS[session.get_inputs()[0].type])
    return session.run([ends.output, *tensors], {ends.image: image})
