"""What a model does to pixels itself, before its first layer: found in its operators, and measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
BATCH_NORM = "BatchNormalization"
REVERSED = {"Sub": "subtracts from"}  # where the constant comes first
MOVES = frozenset(  # of values that stay what they are
    "Concat Expand Flatten Gather Pad Reshape Resize Slice Split Squeeze Transpose Unsqueeze Upsample".split()
)
# They only change how values are stored, or keep them within what they are meant to be.
STORAGE = frozenset("Cast Clip DequantizeLinear Dropout Floor Identity QuantizeLinear Round".split())
LARGEST_SCALED_MEAN = 2.0  # of pixels in [0, 1] or [-1, 1]; anything larger is meant for unscaled ones
LARGEST_SCALED_STD = 40.0
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
        bits: of the pixels, where one of the steps divides by their largest, or by half of it.
    """

    mean: float
    std: float
    steps: str
    channels: tuple[tuple[float, float], ...] = ()
    bits: int | None = None

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

    Followed are sums, differences, products and quotients with constants, through casts and moved values. A
    BatchNormalization counts where its mean or std is of whole pixels, else it is a layer. The mean and std
    are measured: by an input of zeros, and one of ones.

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
    followed, steps, taken = list[onnx.NodeProto](), {ends.image: tuple[str, ...]()}, set[str]()
    layers = set[str]()  # tensors of a layer that may be the normalisation of whole pixels
    same: dict[str, str] = {}  # tensors that are another one, stored in another way
    for node in nodes:
        data = [name for name in node.input if name in dependent]
        kind = operator(node)
        if not data or kind in SHAPE_READERS:
            followed.append(node)
        elif not all(name in steps for name in data):
            taken |= steps.keys() & set(data)
        elif kind in WORDS and len(data) == 1 and not (kind == "Div" and node.input[1] in dependent):
            followed.append(node)
            steps[node.output[0]] = (*steps[data[0]], _told(node, data[0], constants))
        elif kind == BATCH_NORM and len(data) == 1:
            followed.append(node)
            steps[node.output[0]] = (*steps[data[0]], f"normalises (node {node.name or node.output[0]!r})")
            layers.add(node.output[0])
        elif kind in STORAGE and node.input[0] in dependent:
            same[node.output[0]] = same.get(node.input[0], node.input[0])
            steps[node.output[0]] = steps[data[0]]
        elif kind in MOVES:
            followed.append(node)
            steps |= dict.fromkeys(node.output, max((steps[name] for name in data), key=len))
        else:
            taken |= set(data)
    if not taken or not all(steps[name] for name in taken):
        return None
    outputs = sorted({same.get(name, name) for name in taken})
    prefix = [onnx.NodeProto.FromString(node.SerializeToString()) for node in followed]
    rewire(prefix, same)
    channels, height, width = size
    shape = (1, height, width, channels) if ends.layout == "NHWC" else (1, *size)
    values = _zeros_and_ones(model, needed(prefix, outputs), ends.image, shape, outputs, folder)
    own = values and _normalisation(*values, ", then ".join(steps[min(taken)]), size)
    if own is None or (layers and not own.of_whole_pixels):
        return None
    applied = [node for node in followed if dependent.intersection(node.input)]
    return replace(own, bits=_bits(applied, constants))


Values = list[np.ndarray]  # of each tensor that a first layer takes


def _zeros_and_ones(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    image: str,
    shape: tuple[int, ...],
    outputs: Sequence[str],
    folder: Path,
) -> tuple[Values, Values] | None:
    """What nodes of a model make of an input of zeros, and of one of ones; None where they do not run."""
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "normalisation",
        [helper.make_tensor_value_info(image, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [weight for weight in model.graph.initializer if weight.name in used],
    )
    made = helper.make_model(graph, opset_imports=model.opset_import, ir_version=max(4, model.ir_version))
    try:
        session = open_session(made.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL), folder)
        zeros, ones = (
            [np.asarray(value, np.float64) for value in session.run(None, {image: filled})]
            for filled in (np.zeros(shape, np.float32), np.ones(shape, np.float32))
        )
    except Exception:  # what does not run alone is refused, or not, with the whole model
        return None
    return zeros, ones


def _normalisation(
    zeros: Values, ones: Values, steps: str, size: tuple[int, int, int]
) -> Normalisation | None:
    """The normalisation that gives these values; None where it changes nothing."""
    offset = np.concatenate([value.reshape(-1) for value in zeros])
    gain = np.concatenate([value.reshape(-1) for value in ones]) - offset
    offset, gain = offset[gain != 0], gain[gain != 0]  # a padding has none
    if not len(gain) or not np.isfinite(gain).all() or (np.allclose(gain, 1) and np.allclose(offset, 0)):
        return None
    by_channel = tuple[tuple[float, float], ...]()
    if len(zeros) == 1 and zeros[0].shape == (1, *size):
        pairs = zip(ones[0][0] - zeros[0][0], zeros[0][0], strict=True)
        by_channel = tuple((float(gains.mean()), float(offsets.mean())) for gains, offsets in pairs)
    return Normalisation(float(abs(offset / gain).max()), float(abs(1 / gain).max()), steps, by_channel)


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


def _bits(nodes: Sequence[onnx.NodeProto], constants: dict[str, onnx.TensorProto]) -> int | None:
    """The bits of pixels whose largest, or half of it, a node divides by."""
    for node in nodes:
        for name in node.input if node.op_type in ("Div", "Mul") else ():
            values = numpy_helper.to_array(constants[name]).reshape(-1) if name in constants else np.zeros(0)
            if len(set(values.tolist())) != 1 or not values[0] > 0:
                continue
            largest = float(values[0]) if node.op_type == "Div" else 1 / float(values[0])
            for bits in range(8, 17):
                if np.isclose([largest, 2 * largest], 2**bits - 1, rtol=1e-5).any():
                    return bits
    return None


def _numbers(values: Iterable[float]) -> str:
    listed = [f"{value:g}" for value in values]
    if len(set(listed)) == 1:
        return listed[0]
    return ",".join(listed) if len(listed) <= SHOWN else "a constant"
