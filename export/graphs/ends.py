"""What graphs that explain by themselves take and give, whatever their method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from sise_rt.bundle import BEST

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from ..ir.nodes import copied
from ..ir.types import TensorType
from .link import confidences_of

NAME = "explain"
FINE, SILENT, FLAT, NOT_FINITE, IMPOSSIBLE = range(5)  # values of `status`
LARGEST = float(np.finfo(np.float32).max)
INDEX = TensorType(TensorProto.INT64, ())
SOUND_LOGITS = f"{OWN_PREFIX}sound_logits"


@dataclass(frozen=True)
class Answer:
    """The class that is explained, by the names of tensors.

    Attributes:
        target: its index, int64 (1,); that of the best class where the one that was asked for is none.
        possible: whether that is one, bool ().
    """

    target: str
    possible: str


def answered(op: Builder, network: Network, features: Sequence[onnx.NodeProto]) -> Answer:
    """Add the nodes of a pass for the class `target`, int64 (), -1 for the best one.

    Args:
        op: adds the nodes.
        network: of the classes.
        features: nodes from `images` and `targets` to `logits` and whatever else.
    """
    best = op.constant(BEST)
    above = op.GreaterOrEqual("target", best)
    possible = op.And(above, op.Less("target", op.constant(network.classes)))
    op.Reshape(op.Where(possible, "target", best), op.constant([1]), names=("targets",))
    op.nodes.extend(features)
    highest = op.ArgMax("logits", axis=1, keepdims=0)
    return Answer(op.Where(op.Less("targets", op.constant(0)), highest, "targets"), possible)


def tell_class(op: Builder, network: Network, answer: Answer, finite: str) -> None:
    """Add the outputs `class` and `confidence` of the answer, and `logits`; -1 and zeros where there is none.

    Args:
        op: adds the nodes.
        network: says what logits mean.
        answer: as it was asked for.
        finite: whether every number is, bool ().
    """
    known = op.And(finite, answer.possible)
    op.Where(known, op.Squeeze(answer.target), op.constant(-1), names=("class",))
    confidence = op.Gather(confidences_of(op, network), answer.target, axis=1)
    op.Where(known, op.Squeeze(confidence), op.constant(0.0), names=("confidence",))
    logits = op.Squeeze("logits", op.constant([0]))
    op.Where(finite, logits, op.constant(0.0), names=(SOUND_LOGITS,))


def tell_status(op: Builder, *, possible: str, finite: str, speaks: str, shaped: str) -> None:
    """Add the output `status`.

    Args:
        op: adds the nodes.
        possible: whether all inputs are within their ranges, bool ().
        finite: whether every number is, bool ().
        speaks: whether anything speaks for the class, bool ().
        shaped: whether the explanation has a shape, bool of one element.
    """
    status = op.Where(op.Squeeze(shaped), op.constant(FINE), op.constant(FLAT))
    status = op.Where(speaks, status, op.constant(SILENT))
    status = op.Where(finite, status, op.constant(NOT_FINITE))
    op.Where(possible, status, op.constant(IMPOSSIBLE), names=("status",))


def are_finite(op: Builder, tensors: Sequence[str]) -> str:
    """Whether all numbers of some tensors are, bool (): a sum of amounts is not where one of them is not."""
    sums = [op.Reshape(op.ReduceL1(name, keepdims=0), op.constant([1])) for name in tensors]
    finite = op.LessOrEqual(op.Concat(*sums, axis=0), op.constant(LARGEST))
    return op.Equal(op.ReduceMin(op.Cast(finite, to=TensorProto.INT32), keepdims=0), one32(op))


def one32(op: Builder) -> str:
    """1 in int32."""
    return op.constant(np.array(1, np.int32))


def explaining_graph(
    network: Network,
    nodes: Sequence[onnx.NodeProto],
    defaults: Mapping[str, np.ndarray],
    further: Mapping[str, TensorType],
) -> Graph:
    """The graph from `image`, and settings that need not be given, to the outputs.

    Args:
        network: takes over the defaults as weights, which inputs of their names replace.
        nodes: from `image` or `images`, and the settings, to the outputs.
        defaults: of the settings.
        further: outputs beside `explanation`, `confidence`, `class`, `logits` and `status`.
    """
    _, height, width = network.image_size
    outputs = {
        "explanation": TensorType(TensorProto.FLOAT, (height, width)),
        "confidence": TensorType(TensorProto.FLOAT, ()),
        "class": INDEX,
        "logits": TensorType(TensorProto.FLOAT, (network.classes,)),
        **further,
        "status": INDEX,
    }
    inputs = {"image": TensorType(TensorProto.FLOAT, (1, *network.image_size))}
    inputs |= {
        name: TensorType(onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in defaults.items()
    }
    network.weights |= defaults
    names = {"images": "image", "logits": f"{OWN_PREFIX}logits", SOUND_LOGITS: "logits"}
    return Graph(NAME, tuple(copied(nodes, names)), tuple(inputs), tuple(outputs), inputs | outputs)


def with_required_inputs(model: onnx.ModelProto) -> None:
    """Take their defaults from a model's inputs: not every runtime can give what has one."""
    inputs = {value.name for value in model.graph.input}
    kept = [weight for weight in model.graph.initializer if weight.name not in inputs]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
