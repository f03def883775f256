"""What a model does to pixels itself, before its first layer: found in its operators, and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.network import SHAPE_READERS, image_dependent, needed
from ..ir.nodes import operator, rewire
from .interface import Interface
from .weight_files import is_external

WORDS = {"Add": "adds", "Div": "divides by", "Mul": "multiplies by", "Sub": "subtracts"}
REVERSED = {"Sub": "subtracts from"}  # where the constant comes first
MOVES = frozenset(  # of values that stay what they are
    "Concat Expand Flatten Gather Pad Reshape Resize Slice Split Squeeze Transpose Unsqueeze Upsample".split()
)
# They only change how values are stored, or keep them within what they are meant to be.
STORAGE = frozenset("Cast Clip DequantizeLinear Dropout Floor Identity QuantizeLinear Round".split())
LARGEST_SCALED_MEAN = 2.0  # of pixels in [0, 1] or [-1, 1]; anything larger is meant for unscaled ones
LARGEST_SCALED_STD = 20.0
SHOWN = 4  # different numbers of a constant


@dataclass(frozen=True)
class Normalisation:
    """The (x - mean) / std that a model applies to its input x.

    Attributes:
        mean: the largest by amount.
        std: likewise.
        steps: what does it, for people to read.
        channels: the (gain, offset) of each channel, as the first layer takes them; empty where that is no
            picture of as many.
    """

    mean: float
    std: float
    steps: str
    channels: tuple[tuple[float, float], ...] = ()

    @property
    def of_whole_pixels(self) -> bool:
        """Whether only pixels of 0 to 255 (or more bits) can be meant, as pixels in [0, 1] would vanish."""
        return self.mean > LARGEST_SCALED_MEAN or self.std > LARGEST_SCALED_STD

    def confirms(self, ranges: Sequence[Sequence[float]]) -> bool:
        """Whether it brings what each channel may be to all of [-1, 1] or [0, 1], which is no accident.

        So does torchvision's `transform_input`, which brings one normalisation to another.
        """
        if len(self.channels) != len(ranges):
            return False
        made = [
            [gain * end + offset for end in ends]
            for (gain, offset), ends in zip(self.channels, ranges, strict=True)
        ]
        return any(np.allclose(made, [low, 1.0], atol=1e-3) for low in (-1.0, 0.0))


def own_normalisation(
    model: onnx.ModelProto, ends: Interface, size: tuple[int, int, int], folder: Path
) -> Normalisation | None:
    """What constants a model applies to the picture before anything else is computed of it.

    Followed are sums, differences, products and quotients with constants, through casts and moved values; a
    BatchNormalization is a layer. The mean and std are measured: by an input of zeros, and one of ones.

    Args:
        model: the source, with Constant nodes and initializers.
        ends: its input and output.
        size: (channels, height, width).
        folder: of the external weights.

    Returns:
        None where the first layer takes the picture as it is.
    """
    nodes = needed(model.graph.node, [ends.output])
    dependent = image_dependent(nodes, [ends.image])
    constants = _constants(model)
    prefix, steps, read = list[onnx.NodeProto](), dict[str, tuple[str, ...]](), set[str]()
    renamed = {}
    steps[ends.image] = ()
    for node in nodes:
        data = [name for name in node.input if name in dependent]
        if not data or node.op_type in SHAPE_READERS:
            continue
        kind = operator(node)
        if not all(name in steps for name in data):
            read |= steps.keys() & set(data)
        elif kind in WORDS and len(data) == 1 and not (kind == "Div" and node.input[1] in dependent):
            prefix.append(node)
            steps[node.output[0]] = (*steps[data[0]], _told(node, data[0], constants))
        elif kind in STORAGE and node.input[0] in dependent:
            renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
            steps[node.output[0]] = steps[data[0]]
        elif kind in MOVES:
            prefix.append(node)
            steps |= dict.fromkeys(node.output, max((steps[name] for name in data), key=len))
        else:
            read |= set(data)
    ready = sorted(read & steps.keys())
    if not ready or not all(steps[name] for name in ready):
        return None
    return _measured(model, ends, size, folder, _Prefix(nodes, prefix, renamed, ready), steps[ready[0]])


@dataclass(frozen=True)
class _Prefix:
    nodes: list[onnx.NodeProto]  # of the model
    followed: list[onnx.NodeProto]
    renamed: dict[str, str]  # what was only stored in another way
    ends: list[str]


def _measured(
    model: onnx.ModelProto,
    ends: Interface,
    size: tuple[int, int, int],
    folder: Path,
    prefix: _Prefix,
    steps: tuple[str, ...],
) -> Normalisation | None:
    own = {id(node) for node in prefix.followed}
    dependent = image_dependent(prefix.nodes, [ends.image])
    kept = [
        onnx.NodeProto.FromString(node.SerializeToString())
        for node in prefix.nodes
        if id(node) in own or node.op_type in SHAPE_READERS or not dependent.intersection(node.output)
    ]
    rewire(kept, prefix.renamed)
    outputs = sorted({prefix.renamed.get(name, name) for name in prefix.ends})
    kept = needed(kept, outputs)
    channels, height, width = size
    shape = (1, height, width, channels) if ends.layout == "NHWC" else (1, *size)
    used = {name for node in kept for name in node.input}
    graph = helper.make_graph(
        kept,
        "normalisation",
        [helper.make_tensor_value_info(ends.image, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [weight for weight in model.graph.initializer if weight.name in used],
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=max(4, model.ir_version))
    try:
        session = open_session(made.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), folder)
        zeros, ones = (session.run(None, {ends.image: np.full(shape, value, np.float32)}) for value in (0, 1))
    except Exception:  # what does not run in this part does not run at all, which is told of the whole model
        return None
    low, gains = zeros[0].astype(np.float64), ones[0].astype(np.float64) - zeros[0]
    offset = np.concatenate([np.asarray(part, np.float64).reshape(-1) for part in zeros])
    gain = np.concatenate([np.asarray(part, np.float64).reshape(-1) for part in ones]) - offset
    offset, gain = offset[gain != 0], gain[gain != 0]  # a padding has none
    if not len(gain) or not np.isfinite(gain).all() or (np.allclose(gain, 1) and np.allclose(offset, 0)):
        return None
    by_channel = ()
    if len(outputs) == 1 and low.shape == (1, *size):
        by_channel = tuple((float(g.mean()), float(o.mean())) for g, o in zip(gains[0], low[0], strict=True))
    mean, std = abs(offset / gain).max(), abs(1 / gain).max()
    return Normalisation(float(mean), float(std), ", then ".join(steps), by_channel)


def _constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Small constants by name."""
    named = {weight.name: weight for weight in model.graph.initializer if not is_external(weight)}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            named[node.output[0]] = node.attribute[0].t
        elif node.op_type in ("Cast", "Identity", "Reshape", "Unsqueeze") and node.input[0] in named:
            named[node.output[0]] = named[node.input[0]]
    return named


def _told(node: onnx.NodeProto, data: str, constants: dict[str, onnx.TensorProto]) -> str:
    """A step in words: `divides by 127.5 (node '/Div')`."""
    name = node.input[1] if node.input[0] == data else node.input[0]
    words = WORDS[node.op_type] if node.input[0] == data else REVERSED.get(node.op_type, WORDS[node.op_type])
    number = "a constant" if name not in constants else _numbers(numpy_helper.to_array(constants[name]).flat)
    return f"{words} {number} (node {node.name or node.output[0]!r})"


def _numbers(values: Iterable[float]) -> str:
    listed = [f"{value:g}" for value in values]
    if len(set(listed)) == 1:
        return listed[0]
    return ",".join(listed) if len(listed) <= SHOWN else "a constant"
