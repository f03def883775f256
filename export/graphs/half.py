"""The score graph in half precision: its convolutions and what lies between them, for scoring on a GPU.

Masks are made in float32, as are averages, norms and softmaxes inside the network, the confidences, and every
input and output. What is not known to be safe in float16 stays in float32 too, with Casts around it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto

from sise_rt.errors import ModelError

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network, needed
from ..ir.nodes import operator
from ..ir.types import TensorType

PREFIX = f"{OWN_PREFIX}half/"
LARGEST = float(np.finfo(np.float16).max)
TINIEST = np.finfo(np.float16).smallest_subnormal
# Sums of products, which a GPU adds up in float32: they are always in half precision.
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Each value of the output is one of the inputs or constants, but for its sign: nothing is rounded.
EXACT = frozenset(
    "Abs Clip Concat DepthToSpace Expand Flatten Gather Identity Max MaxPool Min Neg Pad Relu Reshape Slice "
    "SpaceToDepth Split Squeeze Tile Transpose Unsqueeze Where".split()
)
# One value of the output for each of the input; in half precision where an input is.
POINTWISE = frozenset(
    "Add Celu Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish Mul PRelu Selu Sigmoid Softplus Sub Swish "
    "Tanh ThresholdedRelu".split()
)
LIMITS = frozenset({"Clip", "Max", "Min", "Pad"})  # their constants may stand for "no limit"


def score_in_half(network: Network, score: Graph) -> Graph:
    """The score graph with its network in float16; the halves of weights join the network's weights.

    Args:
        network: in float32; its own weights stay as they are.
        score: from `link.score_graph`.

    Returns:
        A graph of the same inputs and outputs, in float32 as before.

    Raises:
        ModelError: a weight is beyond what float16 holds, or the network is quantised.
    """
    halving = _Halving(network)
    trunk = needed(score.nodes, ["logits"], ["images"])
    if steps := next((node for node in trunk if node.op_type == "QuantizeLinear"), None):
        raise ModelError(
            f"the network is quantised already, as by node {steps.name or steps.output[0]!r}: float16 would "
            "round its steps once more; export it in fp32",
            settings=("precision",),
        )
    inside = {id(node) for node in trunk}
    for node in score.nodes:
        if id(node) in inside and halving.suits(node):
            halving.add(node)
        else:
            halving.add_as_it_is(node)
    return score.by(halving.op.nodes)


class _Halving:
    """The nodes of a graph in the making, and which of its tensors there are in float16."""

    def __init__(self, network: Network):
        self.op = Builder(f"{PREFIX}cast/", network.types, network.weights)
        self._network = network
        self._halves: dict[str, str] = {}
        self._only_half: set[str] = set()

    def suits(self, node: onnx.NodeProto) -> bool:
        """Whether a node of the network is to be computed in float16."""
        kind, weights = operator(node), self._network.weights
        computed = [name for name in node.input if name not in weights]
        if kind in PRODUCTS:
            return True
        # A computed divisor belongs to a norm, and may be too small for a half.
        follows = kind in EXACT or kind in POINTWISE or (kind == "Div" and node.input[1] in weights)
        return follows and any(name in self._halves for name in computed)

    def add_as_it_is(self, node: onnx.NodeProto) -> None:
        """Add a node that computes in float32."""
        for name in node.input:
            if name in self._only_half:
                self._only_half.remove(name)
                self.op.Cast(self._halves[name], to=TensorProto.FLOAT, names=(name,))
        self.op.nodes.append(node)

    def add(self, node: onnx.NodeProto) -> None:
        """Add a node that computes in float16."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._half(name, node) if self._is_float(name) else name for name in node.input]
        for i, name in enumerate(node.output):
            if self._is_float(name):
                copy.output[i] = self._halves[name] = self._declared(name, self._network.types[name].shape)
                self._only_half.add(name)
        self.op.nodes.append(copy)

    def _is_float(self, name: str) -> bool:
        if name in self._network.weights:
            return bool(self._network.weights[name].dtype == np.float32)
        return name in self._network.types and self._network.types[name].element == TensorProto.FLOAT

    def _half(self, name: str, node: onnx.NodeProto) -> str:
        """The name of a float32 tensor in float16, which is made if need be."""
        limit = name in self._network.weights and operator(node) in LIMITS
        key = f"{name} as a limit" if limit else name
        if key in self._halves:
            return self._halves[key]
        if name in self._network.weights:
            value = _halved(name, self._network.weights[name], node, limit)
            self._halves[key] = self._declared(key, value.shape)
            self._network.weights[self._halves[key]] = value
        else:
            made = self._declared(name, self._network.types[name].shape)
            self._halves[name] = self.op.Cast(name, to=TensorProto.FLOAT16, names=(made,))
        return self._halves[key]

    def _declared(self, name: str, shape: tuple) -> str:
        self._network.types[PREFIX + name] = TensorType(TensorProto.FLOAT16, shape)
        return PREFIX + name


def _halved(name: str, weight: np.ndarray, node: onnx.NodeProto, limit: bool) -> np.ndarray:
    weight = np.asarray(weight)
    with np.errstate(over="ignore"):
        value = weight.astype(np.float16)
    beyond = np.isinf(value) & np.isfinite(weight)
    if beyond.any() and not limit:
        raise ModelError(
            f"weight {name!r} of node {node.name or node.output[0]!r} ({operator(node)}) reaches "
            f"{np.abs(weight[beyond]).max():.3g}, and float16 ends at {LARGEST:.0f}: "
            "export it in fp32",
            settings=("precision",),
        )
    if weight.size == 1 and weight.any() and not value.any():  # what keeps a sum from being zero, say
        value = np.copysign(np.full_like(value, TINIEST), weight).astype(np.float16)
    return value


def rounded(network: Network, half: Graph) -> Graph:
    """What a GPU computes of a graph in half precision, for a CPU: in float32, with every result rounded.

    ONNX Runtime has no float16 kernels for most CPUs, and computes whole stretches of such a graph in
    float32, where neither rounding nor an overflow shows.
    """
    op = Builder(f"{PREFIX}rounded/", network.types, network.weights)
    wide: dict[str, str] = {}

    def widened(name: str) -> str:
        if name not in wide:
            wide[name] = op.Cast(name, to=TensorProto.FLOAT)
        return wide[name]

    for node in half.nodes:
        written = [name for name in node.output if _is_half(network, name)]
        if node.op_type == "Cast" or not written:
            op.nodes.append(node)
            continue
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [widened(name) if _is_half(network, name) else name for name in node.input]
        exact = {name: f"{name} unrounded" for name in written}
        copy.output[:] = [exact.get(name, name) for name in node.output]
        op.nodes.append(copy)
        for name in written:
            op.Cast(exact[name], to=TensorProto.FLOAT16, names=(name,))
    return half.by(op.nodes)


def with_peaks(network: Network, score: Graph, half: Graph) -> tuple[Graph, list[str]]:
    """The float32 score graph with one output more, `peaks` (P,), and the names of P tensors.

    A peak is the largest absolute value of a tensor that is in float16 in the other graph.
    """
    op = Builder(f"{PREFIX}peaks/", network.types, network.weights)
    names = [
        name.removeprefix(PREFIX)
        for node in half.nodes
        for name in node.output
        if node.op_type not in EXACT and _is_half(network, name)
    ]
    one = op.constant([1])
    peaks = [op.Reshape(op.ReduceMax(op.Abs(name), keepdims=0), one) for name in names]
    op.Concat(*peaks, axis=0, names=("peaks",))
    network.adopt(op)
    declared = {**score.declared, "peaks": TensorType(TensorProto.FLOAT, (len(names),))}
    wider = replace(score, outputs=(*score.outputs, "peaks"), declared=declared)
    return wider.by([*score.nodes, *op.nodes]), names


def _is_half(network: Network, name: str) -> bool:
    return name in network.types and network.types[name].element == TensorProto.FLOAT16
